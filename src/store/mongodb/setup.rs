//! What is done once, in the background, when the server is first reached: indexes, and a changed retention.
//!
//! The index on `expire_at` is named after the retention it belongs to. If there is none of the present name, retention
//! has changed since: the old one is dropped, so that nothing goes by the old rule, then the documents' `expire_at` is
//! made right, and only then is the new index made, by which the next start knows that all is done.

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{DateTime, Document, RawDocument, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::IndexOptions;
use sluice_model::{RecordId, RunId, Timestamp};

use super::Shared;
use super::client::{COLLECTION, CallError, WRITE_CONCERN_TIMEOUT};
use super::document;

/// How long making an index may take until the server is asked again; it goes on by itself.
const INDEX_TIMEOUT: Duration = Duration::from_secs(600);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How many documents are looked at in one step.
const STEP_ROWS: usize = 1_000;
/// The collection is not there.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// Runs until all is done or the store is closed.
pub(super) fn run(shared: &Shared) {
    let mut failed = false;
    while !shared.connection.is_closed() {
        match set_up(shared) {
            Ok(()) => {
                shared.finish_setup();
                if failed {
                    log::info!("MongoDB is there, and its indexes are ready");
                }
                return;
            }
            Err(CallError::Closed) => return,
            Err(error) if !failed => {
                failed = true;
                log::warn!(error = error.unavailable().to_string().as_str(); "MongoDB is not ready; trying on");
            }
            Err(_) => {}
        }
        shared.connection.pause(PAUSE);
    }
}

fn set_up(shared: &Shared) -> Result<(), CallError> {
    let collection = shared.connection.collection()?;
    let keys = [
        doc! { "ns": 1, "_id": 1 },
        doc! { "severity": 1, "ns": 1, "_id": 1 },
        doc! { "service": 1, "ns": 1, "_id": 1 },
    ];
    let indexes: Vec<IndexModel> = keys.into_iter().map(|keys| IndexModel::builder().keys(keys).build()).collect();
    shared.connection.call(INDEX_TIMEOUT, async { collection.create_indexes(indexes).await })?;
    apply_retention(shared)
}

fn apply_retention(shared: &Shared) -> Result<(), CallError> {
    let wanted = shared.retention.map(|age| format!("expire_at_{}s", age.as_secs()));
    let present = expiry_indexes(shared)?;
    let collection = shared.connection.collection()?;
    for (name, _) in present.iter().filter(|(name, _)| Some(name) != wanted.as_ref()) {
        shared.connection.call(INDEX_TIMEOUT, async { collection.drop_index(name).await })?;
    }
    let (Some(age), Some(wanted)) = (shared.retention, wanted) else { return Ok(()) };
    if !present.iter().any(|(name, _)| *name == wanted) {
        correct_expiry(shared, age)?;
        make_expiry_index(shared, &wanted)?;
    }
    let expires = expiry_indexes(shared)?.iter().any(|(name, expires)| *name == wanted && *expires);
    if !expires {
        log::warn!("this MongoDB server has no TTL indexes: Sluice deletes old records itself");
    }
    Ok(())
}

/// The names of the indexes on `expire_at` alone, and whether the server deletes by them.
fn expiry_indexes(shared: &Shared) -> Result<Vec<(String, bool)>, CallError> {
    let collection = shared.connection.collection()?;
    let indexes = shared.connection.call(shared.read_timeout, async {
        let mut found = Vec::new();
        let mut cursor = match collection.list_indexes().await {
            Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => return Ok(found),
            cursor => cursor?,
        };
        while cursor.advance().await? {
            found.extend(expiry_index(cursor.current()));
        }
        Ok(found)
    })?;
    Ok(indexes)
}

fn expiry_index(index: &RawDocument) -> Option<(String, bool)> {
    let keys = index.get_document("key").ok()?;
    let alone = keys.iter().flatten().map(|(key, _)| key.as_str()).eq(["expire_at"]);
    let expires = index.get("expireAfterSeconds").is_ok_and(|seconds| seconds.is_some());
    let name = index.get_str("name").ok().filter(|_| alone)?;
    Some((name.to_owned(), expires))
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

fn make_expiry_index(shared: &Shared, name: &str) -> Result<(), CallError> {
    let collection = shared.connection.collection()?;
    let make = |expire_after: Option<Duration>| {
        let options = IndexOptions::builder().name(name.to_owned()).expire_after(expire_after).build();
        let index = IndexModel::builder().keys(doc! { "expire_at": 1 }).options(options).build();
        shared.connection.call(INDEX_TIMEOUT, async { collection.create_index(index).await })
    };
    match make(Some(Duration::ZERO)) {
        // A server that does not know the option: an ordinary index helps `delete_before`.
        Err(error) if error.command_code().is_some() => make(None).map(drop),
        made => made.map(drop),
    }
}

/// Gives every document that was there before this start the `expire_at` of the present retention.
fn correct_expiry(shared: &Shared, age: Duration) -> Result<(), CallError> {
    let end = RecordId { run: RunId::new(Timestamp::now(), 0), sequence: 0 }.to_string();
    let mut after = String::new();
    loop {
        let (last, updates) = read_expiry(shared, &after, &end, age)?;
        if !updates.is_empty() {
            update(shared, updates)?;
        }
        match last {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// The next documents by id: the last id of them, and updates for those that are wrong.
fn read_expiry(
    shared: &Shared,
    after: &str,
    end: &str,
    age: Duration,
) -> Result<(Option<String>, Vec<Document>), CallError> {
    let collection = shared.connection.collection()?;
    shared.connection.call(shared.read_timeout, async {
        let find = collection.find(doc! { "_id": { "$gt": after, "$lt": end } });
        let find = find.projection(doc! { "ns": 1, "arrival": 1, "expire_at": 1 });
        let mut cursor = find.sort(doc! { "_id": 1 }).limit(STEP_ROWS as i64).batch_size(STEP_ROWS as u32).await?;
        let (mut last, mut updates) = (None, Vec::new());
        while cursor.advance().await? {
            let document = cursor.current();
            let Ok(id) = document.get_str("_id") else { continue };
            updates.extend(correction(id, document, age));
            last = Some(id.to_owned());
        }
        Ok((last, updates))
    })
}

fn correction(id: &str, document: &RawDocument, age: Duration) -> Option<Document> {
    let ns = document.get_i64("ns").ok()?;
    let arrival = document.get_datetime("arrival").ok()?;
    let expire_at = DateTime::from_millis(document::expire_at_ms(ns, arrival.timestamp_millis(), age));
    if document.get_datetime("expire_at").ok() == Some(expire_at) {
        return None;
    }
    Some(doc! { "q": { "_id": id }, "u": { "$set": { "expire_at": expire_at } } })
}

fn update(shared: &Shared, updates: Vec<Document>) -> Result<(), CallError> {
    let database = shared.connection.database()?;
    let timeout_ms = WRITE_CONCERN_TIMEOUT.as_millis() as i64;
    let command = doc! {
        "update": COLLECTION,
        "updates": updates,
        "ordered": false,
        "writeConcern": { "w": "majority", "j": true, "wtimeout": timeout_ms },
    };
    shared.connection.call(shared.write_timeout, async {
        let answer = database.run_command(command).await?;
        let failed = ["writeErrors", "writeConcernError"].into_iter().any(|name| answer.contains_key(name));
        if failed { Err(Error::custom("an update of expire_at failed")) } else { Ok(()) }
    })
}
