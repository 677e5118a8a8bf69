//! A proxy in front of a real MongoDB-protocol server that can be slow, or make the server seem one that is not primary.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use mongodb::bson::{Document, doc};

use crate::proxy::{Act, Link, Meddler, Proxy};

/// What the proxy does to those who come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    /// Nothing.
    Fair,
    /// Each reply waits for [`DELAY`].
    Slow,
    /// Reads and writes are refused with code 10107, and `hello` says that it is no primary.
    NotPrimary,
}

/// How much a slow reply waits.
pub const DELAY: Duration = Duration::from_millis(100);

/// The one kind of message that today's drivers send.
const OP_MSG: u32 = 2013;
const HEADER_BYTES: usize = 16;
/// The header, the flags, and the kind of the first section.
const DOCUMENT_AT: usize = HEADER_BYTES + 4 + 1;

/// Commands that a server which is not primary refuses.
const REFUSED: &[&str] = &["insert", "find", "getMore", "update", "delete", "aggregate", "createIndexes"];

/// The running proxy.
pub struct MongoProxy {
    proxy: Proxy,
    mood: Arc<AtomicU8>,
}

impl MongoProxy {
    /// Starts it before the server at `upstream`.
    pub fn start(upstream: SocketAddr) -> MongoProxy {
        let mood = Arc::new(AtomicU8::new(Mood::Fair as u8));
        let shared = mood.clone();
        let proxy = Proxy::start(
            move || Some(upstream),
            move || Link { requests: requests(shared.clone()), replies: replies(shared.clone()) },
        );
        MongoProxy { proxy, mood }
    }

    /// Changes what it does, to connections that are open too.
    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Relaxed);
    }

    /// The URI of `server` with its address replaced by the proxy's.
    pub fn uri(&self, uri: &str) -> String {
        let rest = uri.strip_prefix("mongodb://").and_then(|rest| rest.split_once('/'));
        let (_, rest) = rest.expect("a URI of the tests' own server");
        format!("mongodb://{}/{rest}", self.proxy.address())
    }
}

fn requests(mood: Arc<AtomicU8>) -> Meddler {
    let mut messages = Messages::default();
    Box::new(move |bytes| {
        let (mut on, mut back) = (Vec::new(), Vec::new());
        for message in messages.take(bytes) {
            let refuses = mood.load(Ordering::Relaxed) == Mood::NotPrimary as u8;
            match command(&message).filter(|name| refuses && REFUSED.contains(&name.as_str())) {
                Some(_) => back.extend(refusal(&message)),
                None => on.extend(message),
            }
        }
        // One request is under way on a connection at a time, so that a piece never has both.
        if back.is_empty() { Act::Forward(on) } else { Act::Answer(back) }
    })
}

fn replies(mood: Arc<AtomicU8>) -> Meddler {
    let mut messages = Messages::default();
    Box::new(move |bytes| {
        let whole = messages.take(bytes);
        let present = mood.load(Ordering::Relaxed);
        if present == Mood::Slow as u8 && !whole.is_empty() {
            thread::sleep(DELAY);
        }
        let demote = present == Mood::NotPrimary as u8;
        Act::Forward(whole.into_iter().flat_map(|message| if demote { demoted(message) } else { message }).collect())
    })
}

/// Cuts a stream of bytes into messages.
#[derive(Default)]
struct Messages {
    rest: Vec<u8>,
}

impl Messages {
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.rest.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while self.rest.len() >= HEADER_BYTES {
            let length = word(&self.rest, 0) as usize;
            assert!(length >= HEADER_BYTES, "not a message of MongoDB's protocol");
            if self.rest.len() < length {
                break;
            }
            whole.push(self.rest.drain(..length).collect());
        }
        whole
    }
}

/// The document of a message of the one kind, in its first section.
fn document(message: &[u8]) -> Option<Document> {
    let plain = word(message, 12) == OP_MSG && message.get(DOCUMENT_AT - 1) == Some(&0);
    Document::from_reader(message.get(DOCUMENT_AT..)?).ok().filter(|_| plain)
}

/// The name of a command: that of the first field.
fn command(message: &[u8]) -> Option<String> {
    document(message)?.keys().next().cloned()
}

/// What a server answers that is not primary.
fn refusal(request: &[u8]) -> Vec<u8> {
    let answer = doc! { "ok": 0.0, "code": 10107, "codeName": "NotWritablePrimary", "errmsg": "not primary" };
    message(0, word(request, 4), &answer)
}

/// The same reply, where it says that the server is primary, saying the contrary.
fn demoted(reply: Vec<u8>) -> Vec<u8> {
    let Some(mut document) = document(&reply) else { return reply };
    let names = ["isWritablePrimary", "ismaster"].iter().filter(|name| document.contains_key(**name));
    let names: Vec<&str> = names.copied().collect();
    if names.is_empty() {
        return reply;
    }
    names.iter().for_each(|name| drop(document.insert(*name, false)));
    message(word(&reply, 4), word(&reply, 8), &document)
}

fn message(id: u32, answers: u32, document: &Document) -> Vec<u8> {
    let document = document.to_vec().unwrap();
    let length = u32::try_from(DOCUMENT_AT + document.len()).unwrap();
    let mut message: Vec<u8> = [length, id, answers, OP_MSG, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    message.push(0);
    message.extend(document);
    message
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
