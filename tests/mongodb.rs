//! What is MongoDB's own: documents as people see them, clashes, indexes, and servers that go away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::mongodb::Client;
use ::mongodb::bson::{Document, doc};
use prometheus_client::registry::Registry;
use sluice::config::{MongoSettings, RetentionSettings};
use sluice::query::{Filter, Order, Query};
use sluice::store::mongodb::MongoStore;
use sluice::store::{Store, StoreError};
use sluice_model::{RecordId, Timestamp};

use crate::contract::model::{BASE, Sent, answer, block, block_at, rows, run, shown};
use crate::contract::{KEEP_ALL, search};
use crate::support::mongo::{MongoServer, poll};

const ALL: Query = Query {
    filter: Filter {
        range: sluice::query::TimeRange::ALL,
        severities: sluice::query::SeveritySet::ALL,
        services: Vec::new(),
        matching: sluice::query::Expr::All,
    },
    order: Order::Ascending,
    after: None,
    limit: None,
};

const DAY_NANOS: i64 = 86_400_000_000_000;

/// A database of a test's own: it looks into it past the store, and drops it at the end.
pub struct Database {
    pub uri: String,
    runtime: tokio::runtime::Runtime,
}

impl Database {
    pub fn new(uri: String) -> Database {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Database { uri, runtime }
    }

    fn with<T>(&self, work: impl AsyncFnOnce(::mongodb::Database) -> ::mongodb::error::Result<T>) -> T {
        let work = async {
            let client = Client::with_uri_str(&self.uri).await?;
            let database = client.default_database().expect("a database in the URI");
            let result = work(database).await;
            client.shutdown().immediate(true).await;
            result
        };
        self.runtime.block_on(work).expect("the server")
    }

    fn count(&self, filter: Document) -> u64 {
        self.with(async |database| database.collection::<Document>("logs").count_documents(filter).await)
    }

    fn index_names(&self) -> Vec<String> {
        let mut names = self.with(async |database| database.collection::<Document>("logs").list_index_names().await);
        names.sort();
        names
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.with(async |database| database.drop().await);
        }
    }
}

/// Opens the store at `uri`, with deadlines for an impatient test.
pub fn open_at(uri: &str, retention: RetentionSettings) -> Arc<MongoStore> {
    let settings = MongoSettings { write_timeout: Duration::from_secs(20), read_timeout: Duration::from_secs(20) };
    MongoStore::new(uri, &settings, retention, &mut Registry::default()).expect("a valid URI")
}

fn keep_days(days: u64) -> RetentionSettings {
    RetentionSettings { age: Some(Duration::from_secs(days * 86_400)), bytes: None }
}

fn unavailable<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

#[test]
fn people_query_attributes_by_their_path() {
    let Some(server) = MongoServer::shared("people_query_attributes_by_their_path") else { return };
    let database = Database::new(server.uri());
    let store = open_at(&database.uri, KEEP_ALL);
    let attributes = [("http.status", "500"), ("http.path", "\"/x\""), ("tags", "[\"a\",\"b\"]"), ("price", "1.10")];
    let attributes = attributes.map(|(name, json)| (name.to_owned(), json.to_owned())).to_vec();
    store
        .write(&block(run(1), 0, &[Sent { attributes, ..Sent::at(BASE, "m") }, Sent::at(BASE, "other")]))
        .expect("a write");
    for filter in [
        doc! { "attributes.http.status": 500 },
        doc! { "attributes.http.status": { "$gte": 500 } },
        doc! { "attributes.http.path": "/x" },
        doc! { "attributes.tags": "b" },
        doc! { "attributes.price": { "$gt": 1.0 } },
        doc! { "_id": RecordId { run: run(1), sequence: 0 }.to_string() },
        doc! { "timestamp": { "$type": "date" }, "message": "m" },
        doc! { "severity": 9, "level": "INFO", "ns": BASE, "message": "other" },
    ] {
        assert_eq!(database.count(filter.clone()), 1, "{filter}");
    }
}

#[test]
fn another_record_under_the_same_id_is_a_conflict() {
    let Some(server) = MongoServer::shared("another_record_under_the_same_id_is_a_conflict") else { return };
    let database = Database::new(server.uri());
    let store = open_at(&database.uri, KEEP_ALL);
    let first: Vec<Sent> = (0..4).map(|index| Sent::at(BASE + index, "first")).collect();
    let original = block(run(1), 0, &first);
    store.write(&original).expect("a write");
    let mut second = first.clone();
    second[1].message = "second".to_owned();
    second[3].attributes = vec![("a".to_owned(), "1".to_owned())];
    second.push(Sent::at(BASE + 9, "new"));
    let clashing = block(run(1), 0, &second);
    assert_eq!(store.write(&clashing), Err(StoreError::Conflict { rows: vec![1, 3] }));
    assert!(!store.durable().contains(clashing.id));
    let mut expected = rows(&original, &first);
    expected.extend(rows(&clashing, &second).pop());
    assert_eq!(shown(&search(&*store, &ALL).expect("a search")), answer(&expected, &ALL), "what was there stays");
}

#[test]
fn only_what_the_server_took_is_durable() {
    let Some(server) = MongoServer::shared("only_what_the_server_took_is_durable") else { return };
    let database = Database::new(server.uri());
    let store = open_at(&database.uri, KEEP_ALL);
    let records: Vec<Sent> = (0..6).map(|index| Sent::at(BASE, &format!("{index}"))).collect();
    let whole = block(run(1), 0, &records);
    store.write(&whole.slice(0, 3)).expect("a write");
    assert!(store.durable().contains(whole.slice(0, 3).id));
    assert!(!store.durable().contains(whole.id));
    store.write(&whole.slice(3, 3)).expect("a write");
    assert!(store.durable().contains(whole.id));
}

#[test]
fn documents_of_others_are_passed_over() {
    let Some(server) = MongoServer::shared("documents_of_others_are_passed_over") else { return };
    let database = Database::new(server.uri());
    let store = open_at(&database.uri, KEEP_ALL);
    let foreign = [doc! { "_id": "0", "hello": 1 }, doc! { "_id": "1", "ns": BASE, "level": "INFO" }];
    database.with(async |database| database.collection::<Document>("logs").insert_many(foreign).await);
    let records: Vec<Sent> = (0..3).map(|index| Sent::at(BASE + index, "ours")).collect();
    let ours = block(run(1), 0, &records);
    store.write(&ours).expect("a write");
    for limit in [None, Some(1), Some(2), Some(3), Some(4)] {
        let query = Query { limit, ..ALL };
        assert_eq!(
            shown(&search(&*store, &query).expect("a search")),
            answer(&rows(&ours, &records), &query),
            "{limit:?}"
        );
    }
}

#[test]
fn indexes_are_made_and_follow_a_changed_retention() {
    let Some(server) = MongoServer::shared("indexes_are_made_and_follow_a_changed_retention") else { return };
    let database = Database::new(server.uri());
    let within = Duration::from_secs(30);
    let order = ["_id_", "ns_1__id_1", "service_1_ns_1__id_1", "severity_1_ns_1__id_1"];
    let with = |expiry: &str| {
        let mut names: Vec<&str> = order.into_iter().chain([expiry]).collect();
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let now = Timestamp::now().as_nanos() / 1_000_000_000 * 1_000_000_000;
    let write = |store: &MongoStore, first| {
        let sent = Sent::at(now - 2 * DAY_NANOS, "two days old");
        let arrival = Timestamp::from_nanos(now - 2 * DAY_NANOS);
        store.write(&block_at(arrival, run(1), first, &[sent])).expect("a write");
    };
    let expiring_after = |days: i64| {
        let moment = ::mongodb::bson::DateTime::from_millis((now + (days - 2) * DAY_NANOS) / 1_000_000);
        database.count(doc! { "expire_at": moment })
    };

    let store = open_at(&database.uri, KEEP_ALL);
    write(&store, 0);
    assert!(poll(within, || database.index_names() == order), "{:?}", database.index_names());
    assert_eq!(database.count(doc! { "expire_at": { "$exists": true } }), 0);
    store.close().expect("it closes");

    let store = open_at(&database.uri, keep_days(30));
    write(&store, 1);
    assert!(poll(within, || database.index_names() == with("expire_at_2592000s")), "{:?}", database.index_names());
    assert_eq!(expiring_after(30), 2);
    store.close().expect("it closes");

    let store = open_at(&database.uri, keep_days(7));
    assert!(poll(within, || database.index_names() == with("expire_at_604800s")), "{:?}", database.index_names());
    assert_eq!(expiring_after(7), 2);
    store.close().expect("it closes");

    let store = open_at(&database.uri, KEEP_ALL);
    assert!(poll(within, || database.index_names() == order), "{:?}", database.index_names());
    store.close().expect("it closes");
}

#[test]
fn a_store_whose_server_is_not_there_opens_and_says_so_in_time() {
    let store = open_at("mongodb://127.0.0.1:1/x", KEEP_ALL);
    let start = Instant::now();
    assert!(unavailable(store.health()));
    assert!(unavailable(store.write(&block(run(1), 0, &[Sent::at(BASE, "m")]))));
    assert!(unavailable(search(&*store, &ALL)));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let start = Instant::now();
    store.close().expect("it closes");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(unavailable(store.health()), "a closed store does nothing more");
}

#[test]
fn what_was_written_survives_any_end_of_the_server() {
    let Some(mut server) = MongoServer::start("what_was_written_survives_any_end_of_the_server") else { return };
    let store = open_at(&server.uri_of("logdb"), KEEP_ALL);
    let records: Vec<Sent> = (0..200).map(|index| Sent::at(BASE + index, "kept")).collect();
    let whole = block(run(1), 0, &records);
    let written = rows(&whole, &records);
    for (part, end) in [(0, MongoServer::stop as fn(&mut MongoServer)), (100, MongoServer::kill)] {
        store.write(&whole.slice(part, 100)).expect("a write");
        end(&mut server);
        assert!(unavailable(store.health()));
        assert!(unavailable(store.write(&whole)));
        server.start_again();
        assert!(poll(Duration::from_secs(30), || store.health().is_ok()), "it does not come back");
        let found = shown(&search(&*store, &ALL).expect("a search"));
        assert_eq!(found, answer(&written[..part as usize + 100], &ALL));
    }
    store.write(&whole).expect("what is there is written");
    assert_eq!(shown(&search(&*store, &ALL).expect("a search")), answer(&written, &ALL));
}

#[test]
fn a_frozen_server_holds_no_call_past_its_deadline() {
    let Some(server) = MongoServer::start("a_frozen_server_holds_no_call_past_its_deadline") else { return };
    let settings = MongoSettings { write_timeout: Duration::from_secs(2), read_timeout: Duration::from_secs(2) };
    let uri = server.uri_of("logdb");
    let store = MongoStore::new(&uri, &settings, KEEP_ALL, &mut Registry::default()).expect("a valid URI");
    let frozen = block(run(1), 0, &[Sent::at(BASE, "m")]);
    assert!(poll(Duration::from_secs(30), || store.write(&frozen).is_ok()));
    server.freeze();
    let start = Instant::now();
    assert!(unavailable(store.write(&block(run(1), 1, &[Sent::at(BASE, "n")]))));
    assert!(unavailable(search(&*store, &ALL)));
    assert!(unavailable(store.health()));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    server.thaw();
    assert!(poll(Duration::from_secs(30), || store.write(&frozen).is_ok()));
}
