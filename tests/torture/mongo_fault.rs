//! Between the server and MongoDB: a proxy that understands as much of the wire protocol as it takes to refuse some
//! documents of an `insert`, as a server does that will never have them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mongodb::bson::{Document, RawDocument, doc};

use crate::proxy::{Act, Link, Meddler};

/// The operation of every message between present drivers and servers.
const OP_MSG: i32 = 2013;
/// A validator of the collection refuses the document.
const VALIDATION: i32 = 121;
/// The document is too large.
const TOO_LARGE: i32 = 10334;

const HEADER: usize = 16;

/// What is refused, and how; shared by all links.
pub struct Fault {
    /// Whether a document is refused, while there is a cause to.
    pub refuses: fn(&RawDocument) -> bool,
    /// Whether there is one.
    pub on: AtomicBool,
    /// Whether the whole command is, for the sake of one document; else the answer names the documents, and the others
    /// are written.
    pub whole: AtomicBool,
}

/// What a reply must be mended by: where in the command the refused documents stood, and where the others.
struct Withheld {
    refused: Vec<usize>,
    passed: Vec<usize>,
}

type Pending = Arc<Mutex<HashMap<i32, Withheld>>>;

/// A link that refuses.
pub fn link(fault: &Arc<Fault>) -> Link {
    let pending = Pending::default();
    Link { requests: requests(fault.clone(), pending.clone()), replies: replies(pending) }
}

fn requests(fault: Arc<Fault>, pending: Pending) -> Meddler {
    let mut buffer = Vec::new();
    Box::new(move |bytes| {
        buffer.extend_from_slice(bytes);
        let mut forward = Vec::new();
        while let Some(message) = next(&mut buffer) {
            match meddle(&fault, &pending, &message) {
                // A driver waits for each answer, so nothing else is on its way.
                Some(Act::Answer(answer)) => return Act::Answer(answer),
                Some(Act::Forward(changed)) => forward.extend(changed),
                _ => forward.extend(message),
            }
        }
        Act::Forward(forward)
    })
}

fn replies(pending: Pending) -> Meddler {
    let mut buffer = Vec::new();
    Box::new(move |bytes| {
        buffer.extend_from_slice(bytes);
        let mut forward = Vec::new();
        while let Some(message) = next(&mut buffer) {
            let withheld = pending.lock().unwrap().remove(&number(&message, 8));
            match withheld {
                Some(withheld) => forward.extend(mend(&message, &withheld)),
                None => forward.extend(message),
            }
        }
        Act::Forward(forward)
    })
}

/// What is done with a request other than to pass it on.
fn meddle(fault: &Fault, pending: &Pending, message: &[u8]) -> Option<Act> {
    if !fault.on.load(Ordering::Relaxed) {
        return None;
    }
    let (start, documents) = documents(message)?;
    let is_refused = |document: &&[u8]| RawDocument::from_bytes(*document).is_ok_and(fault.refuses);
    let at = |refused: bool| {
        let found = documents.iter().enumerate().filter(|(_, document)| is_refused(document) == refused);
        found.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let withheld = Withheld { refused: at(true), passed: at(false) };
    if withheld.refused.is_empty() {
        return None;
    }
    let request = number(message, 4);
    if fault.whole.load(Ordering::Relaxed) {
        let answer = doc! { "ok": 0.0, "code": TOO_LARGE, "codeName": "BSONObjectTooLarge", "errmsg": "too large" };
        return Some(Act::Answer(reply(request, &answer)));
    }
    if withheld.passed.is_empty() {
        return Some(Act::Answer(reply(request, &doc! { "n": 0, "writeErrors": errors(&withheld), "ok": 1.0 })));
    }
    let kept: Vec<u8> = withheld.passed.iter().flat_map(|index| documents[*index].iter().copied()).collect();
    let taken = documents.iter().map(|document| document.len()).sum::<usize>() - kept.len();
    // The section's kind and size, its name, the documents: it is the last one of the message, see `documents`.
    let name_from = start - b"documents\0".len();
    let mut changed = message[..name_from].to_vec();
    changed.extend_from_slice(&message[name_from..start]);
    changed.extend(kept);
    let size = number(message, name_from - 4) - taken as i32;
    changed[name_from - 4..name_from].copy_from_slice(&size.to_le_bytes());
    let length = changed.len() as i32;
    changed[..4].copy_from_slice(&length.to_le_bytes());
    pending.lock().unwrap().insert(request, withheld);
    Some(Act::Forward(changed))
}

/// The documents of an `insert`, and where the first of them begins; they are the last section.
fn documents(message: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    if number(message, 12) != OP_MSG {
        return None;
    }
    let name = b"documents\0";
    let start = message.windows(name.len()).position(|window| window == name)? + name.len();
    let body = message.get(HEADER + 5..)?;
    let command = RawDocument::from_bytes(body.get(..number(body, 0) as usize)?).ok()?;
    command.get_str("insert").ok()?;
    let mut rest = &message[start..];
    let mut documents = Vec::new();
    while rest.len() >= 4 {
        let (document, after) = rest.split_at(number(rest, 0) as usize);
        documents.push(document);
        rest = after;
    }
    Some((start, documents))
}

/// The reply of a server that was sent only the other documents, as if it had been sent all.
fn mend(message: &[u8], withheld: &Withheld) -> Vec<u8> {
    let Ok(mut answer) = Document::from_reader(&message[HEADER + 5..]) else { return message.to_vec() };
    let mut all = errors(withheld);
    for error in answer.get_array("writeErrors").cloned().unwrap_or_default() {
        let mut error = error.as_document().cloned().unwrap();
        let index = error.get_i32("index").unwrap() as usize;
        error.insert("index", withheld.passed[index] as i32);
        all.push(error);
    }
    answer.insert("writeErrors", all);
    reply(number(message, 8), &answer)
}

fn errors(withheld: &Withheld) -> Vec<Document> {
    let error = |index: &usize| doc! { "index": *index as i32, "code": VALIDATION, "errmsg": "failed validation" };
    withheld.refused.iter().map(error).collect()
}

fn reply(request: i32, answer: &Document) -> Vec<u8> {
    let body = answer.to_vec().unwrap();
    let length = (HEADER + 5 + body.len()) as i32;
    let mut message: Vec<u8> = [length, 1, request, OP_MSG, 0].iter().flat_map(|number| number.to_le_bytes()).collect();
    message.push(0);
    message.extend(body);
    message
}

/// Takes the next whole message.
fn next(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = if buffer.len() < HEADER { return None } else { number(buffer, 0) as usize };
    (buffer.len() >= length).then(|| buffer.drain(..length).collect())
}

fn number(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
