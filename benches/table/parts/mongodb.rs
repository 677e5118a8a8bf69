//! The MongoDB store against a bare loop of the driver with the same documents.

use std::time::Instant;

use ::mongodb::bson::{Document, RawDocumentBuf, doc};
use ::mongodb::options::{Acknowledgment, WriteConcern};
use ::mongodb::{Client, Collection};

use crate::Result;
use crate::bench::Bench;
use crate::data::Data;
use crate::http::Connection;
use crate::progress;
use crate::report::{Goal, Unit, shown};
use crate::samples::Samples;
use crate::server::Site;

/// A server as the tests find it.
#[allow(dead_code, clippy::expect_used, reason = "it is written for tests, which use more of it")]
#[path = "../../../tests/support/mongo.rs"]
mod support;

use support::MongoServer;

/// Documents in a call of the driver: as many as the store sends.
const CALL_DOCUMENTS: usize = 5_000;
/// Where the store keeps its records.
const COLLECTION: &str = "logs";

/// Measures both in turn, if there is a server. The first round does not count: a server that has only just begun is slow, and
/// the store would be the one to meet it.
pub fn measure(bench: &mut Bench) -> Result<()> {
    let work = "MongoDB store against a bare loop of `insert_many` with the same documents";
    let goal = Goal::at_least(0.85, Unit::Times);
    let Some(mongo) = MongoServer::shared("the MongoDB row") else {
        bench.report.missing(work, goal, "not measured: no MongoDB server");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = bench.extent.documents;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for number in 0..=bench.extent.runs {
        progress(format_args!("MongoDB {number}"));
        let uri = mongo.uri();
        let site = Site { flags: vec!["--store".to_owned(), uri.clone()], ..bench.site("mongodb") };
        let rate = through_the_store(&site, &bench.data, records)?;
        let bare = runtime.block_on(bare_loop(&uri))?;
        if number > 0 {
            ratios.push(rate / bare);
            rates.push(rate);
        }
    }
    let rate = shown(rates.into_iter().collect::<Samples>().median());
    bench.report.row(work, goal, ratios.into_iter().collect(), format!("{rate} records/s"));
    Ok(())
}

/// Records a second, from the first request until the store has all.
fn through_the_store(site: &Site, data: &Data, records: usize) -> Result<f64> {
    let server = site.start_empty()?;
    let mut connection: Connection = server.connect()?;
    // The indexes are there before the first record.
    connection.get_ok("/logs/count")?;
    let (mut body, mut sent) = (Vec::new(), 0);
    let begun = Instant::now();
    for number in 0..data.bodies() {
        data.read(number, 0, &mut body)?;
        let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').take(records - sent).collect();
        sent += lines.len();
        let answer = connection.post("/logs/batch", &lines.concat())?;
        if answer.status != 202 {
            return Err(format!("a body: {} {}", answer.status, String::from_utf8_lossy(answer.body)).into());
        }
        if sent >= records {
            break;
        }
    }
    server.drain()?;
    let seconds = begun.elapsed().as_secs_f64();
    server.stop()?;
    Ok(sent as f64 / seconds)
}

/// Documents a second that the driver alone writes into a collection with the same indexes.
async fn bare_loop(uri: &str) -> Result<f64> {
    let client = Client::with_uri_str(uri).await?;
    let database = client.default_database().ok_or("the URI has no database")?;
    let stored: Collection<RawDocumentBuf> = database.collection(COLLECTION);
    let mut documents = Vec::new();
    let mut cursor = stored.find(doc! {}).await?;
    while cursor.advance().await? {
        documents.push(cursor.current().to_owned());
    }
    let bare: Collection<RawDocumentBuf> = database.collection("bare");
    let mut indexes = stored.list_indexes().await?;
    while indexes.advance().await? {
        let index = indexes.deserialize_current()?;
        if index.keys != doc! { "_id": 1 } {
            bare.create_index(index).await?;
        }
    }
    let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let begun = Instant::now();
    for documents in documents.chunks(CALL_DOCUMENTS) {
        bare.insert_many(documents).ordered(false).write_concern(concern.clone()).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    database.collection::<Document>("bare").drop().await?;
    stored.drop().await?;
    Ok(documents.len() as f64 / seconds)
}
