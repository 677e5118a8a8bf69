//! Explaining queries.

use serde_json::{Value, json};

use super::shown;
use crate::support::mongo::MongoServer;
use crate::support::server::{Server, wait_for};

/// When the first record of [`on_disk`] happened, in seconds.
const BEGIN: i64 = 1_728_345_600;

/// A server with 3,000 records in three segments of three hours; every tenth is a WARN, every hundredth has a status.
fn on_disk() -> Server {
    let server = Server::start(&["--embedded-flush-rows", "1000"]);
    for hour in 0..3 {
        let line = |n: i64| {
            let level = if n % 10 == 0 { "WARN" } else { "INFO" };
            let status = if n % 100 == 0 { ",\"http\":{\"status\":500}" } else { "" };
            let time = BEGIN + hour * 3600 + n;
            format!(
                "{{\"ts\":{time},\"level\":\"{level}\",\"service\":\"s{hour}\",\"message\":\"request {n}\"{status}}}\n"
            )
        };
        let lines: String = (0..1000).map(line).collect();
        assert_eq!(server.http.post("/logs/batch", &lines).status, 202);
        wait_for("the flush", || (metric(&server, "sluice_store_segments ") == hour + 1).then_some(()));
    }
    wait_for("an empty memory", || (metric(&server, "sluice_store_memory_rows ") == 0).then_some(()));
    server
}

fn metric(server: &Server, name: &str) -> i64 {
    let text = server.http.get("/metrics").text().to_owned();
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(-1, |value| value.parse().unwrap())
}

fn explain(server: &Server, parameters: &[(&str, &str)]) -> Value {
    let answer = server.http.ask("/query/explain", parameters);
    assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.text());
    answer.json()
}

/// The only search of the run, of which every part adds up.
fn search(explained: &Value) -> &Value {
    let searches = explained["run"]["searches"].as_array().unwrap();
    assert_eq!(searches.len(), 1, "{explained}");
    for part in ["chunks", "segments", "row_groups"] {
        let part = &searches[0][part];
        let pruned: u64 = part["pruned"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(part["scanned"].as_u64().unwrap() + pruned, part["total"].as_u64().unwrap(), "{explained}");
    }
    &searches[0]
}

#[test]
fn the_tree_the_filter_and_the_plan_are_shown_without_a_run() {
    let server = Server::start(&[]);
    let q = "timestamp<2024-10-09 level>=error (timeout OR /re(set|fused)/) http.status>=500 -service=shop user.id=7";
    let parameters = [("q", q), ("minLevel", "warn"), ("start", "2024-10-08"), ("limit", "10"), ("run", "false")];
    let mut explained = explain(&server, &parameters);
    assert!(explained.get("run").is_none());
    insta::assert_snapshot!("explained", serde_json::to_string_pretty(&explained.take()).unwrap());
    assert_eq!(explain(&server, &[("run", "false")])["query"], json!({ "text": "*", "tree": "all" }));
}

#[test]
fn a_word_that_is_nowhere_is_ruled_out_by_token_filters_alone() {
    let server = on_disk();
    let explained = explain(&server, &[("q", "nowhere")]);
    let search = search(&explained);
    assert_eq!((&explained["run"]["matches"], &explained["run"]["more"]), (&json!(0), &json!(false)));
    assert_eq!(search["segments"], json!({ "total": 3, "scanned": 3, "pruned": {} }));
    assert_eq!(search["row_groups"], json!({ "total": 3, "scanned": 0, "pruned": { "tokens": 3 } }));
    assert_eq!((&search["steps"], &search["rows_fetched"]), (&json!([]), &json!(0)));
    let filters = search["bytes_read"].as_u64().unwrap();
    // The same again: the segments are open, so all that is read are three filters, within a block or two of 4 KiB each.
    let again = explain(&server, &[("q", "nowhere")]);
    let again = self::search(&again);
    assert_eq!((&again["opened"], &again["cache_hits"]), (&json!(0), &json!(3)));
    assert!((3..=6 * 4096).contains(&again["bytes_read"].as_u64().unwrap()), "{again}");
    assert!(again["bytes_read"].as_u64().unwrap() <= filters);
}

#[test]
fn every_reason_to_pass_something_over_is_told() {
    let server = on_disk();
    let hour = (BEGIN + 3600).to_string();
    let until = (BEGIN + 7199).to_string();
    for (parameters, part, pruned) in [
        (vec![("start", hour.as_str()), ("end", until.as_str())], "segments", json!({ "time": 2 })),
        (vec![("level", "fatal")], "segments", json!({ "severity": 3 })),
        (vec![("service", "s1")], "segments", json!({ "service": 2 })),
        (vec![("q", "level=error level=info")], "segments", json!({ "query": 3 })),
        (vec![("q", "nobody=1")], "row_groups", json!({ "attribute": 3 })),
        (vec![("q", "nowhere"), ("service", "s1")], "row_groups", json!({ "tokens": 1 })),
        (vec![("limit", "5")], "segments", json!({ "limit": 2 })),
        (vec![("limit", "5"), ("order", "asc")], "segments", json!({ "limit": 2 })),
        (vec![("limit", "5"), ("q", "level=warn"), ("service", "s1")], "segments", json!({ "service": 2 })),
    ] {
        let explained = explain(&server, &parameters);
        assert_eq!(search(&explained)[part]["pruned"], pruned, "{parameters:?}: {explained}");
    }
}

#[test]
fn each_step_tells_what_it_looked_at_and_the_page_is_that_of_a_retrieve() {
    let server = on_disk();
    let parameters = [("q", "level=warn http.status=500 request"), ("limit", "25")];
    let explained = explain(&server, &parameters);
    let run = &explained["run"];
    assert_eq!((&run["matches"], &run["more"]), (&json!(25), &json!(true)));
    assert_eq!(server.http.ask("/logs/retrieve", &parameters).json().as_array().unwrap().len(), 25);
    let search = search(&explained);
    assert_eq!((&search["matches"], &search["rows_fetched"]), (&json!(26), &json!(26)));
    assert_eq!(
        search["steps"],
        json!([
            // Those of other levels stand elsewhere.
            { "step": "keys", "rows": 300, "read": 300, "passed": 300 },
            { "step": "fields", "rows": 300, "read": 300, "passed": 30 },
            { "step": "message", "rows": 30, "read": 0, "passed": 30 },
        ])
    );
    for clock in ["queue_ms", "search_ms", "plan_ms", "scan_ms", "fetch_ms"] {
        assert!(search[clock].as_f64().is_some_and(|ms| ms >= 0.0), "{clock}: {search}");
    }
    let spent = ["plan_ms", "scan_ms", "fetch_ms"].map(|clock| search[clock].as_f64().unwrap()).iter().sum::<f64>();
    assert!(spent <= search["search_ms"].as_f64().unwrap() + 0.01, "{search}");
    assert!(search["search_ms"].as_f64() <= run["total_ms"].as_f64(), "{explained}");
}

#[test]
fn records_in_memory_are_looked_at_in_one_step() {
    let server = super::with_original_batch();
    let explained = explain(&server, &[("q", "timeout"), ("level", "error")]);
    let search = search(&explained);
    assert_eq!(search["chunks"], json!({ "total": 1, "scanned": 1, "pruned": {} }));
    assert_eq!(search["steps"], json!([{ "step": "memory", "rows": 3, "read": 3, "passed": 1 }]));
    assert_eq!(search["bytes_read"], 0);
    let pruned = explain(&server, &[("level", "fatal")]);
    assert_eq!(self::search(&pruned)["chunks"]["pruned"], json!({ "severity": 1 }));
}

#[test]
fn what_a_retrieve_refuses_is_refused() {
    let server = Server::start(&[]);
    for (parameters, expected) in [
        (vec![("q", "a OR")], "q: column 5"),
        (vec![("run", "maybe")], "use true or false"),
        (vec![("ran", "true")], "did you mean `run`?"),
        (vec![("limit", "0")], "use 1 to 10000"),
        (vec![("cursor", "x")], "not a cursor"),
    ] {
        let answer = server.http.ask("/query/explain", &parameters);
        assert_eq!(answer.status, 400, "{parameters:?}");
        assert!(answer.text().contains(expected), "{}", answer.text());
    }
    insta::assert_snapshot!("explain_takes_get", shown(&server.http.post("/query/explain", "{}")));
}

#[test]
fn the_filter_that_mongodb_gets_is_shown_and_what_it_gave() {
    let Some(mongo) = MongoServer::shared("the_filter_that_mongodb_gets_is_shown_and_what_it_gave") else { return };
    let server = Server::start(&["--store", &mongo.uri()]);
    assert_eq!(server.http.post("/logs/batch?ack=stored", super::ORIGINAL_BATCH).status, 202);
    let parameters = [("level", "error,warn"), ("start", "2024-10-07T21:00:00Z"), ("end", "2024-10-07T23:00:00Z")];
    let explained = explain(&server, &parameters);
    let second = 1_000_000_000_i64;
    let ns = |hour: i64| json!({ "$numberLong": ((1_728_334_800 + hour * 3600) * second).to_string() });
    let find = json!({
        "filter": { "ns": { "$gte": ns(0), "$lte": ns(2) }, "severity": { "$in": [13, 17] } },
        "sort": { "ns": -1, "_id": -1 },
        "limit": 1001,
    });
    assert_eq!(explained["plan"], json!({ "store": "mongodb", "pushed_down": find, "exact": true, "evaluated": [] }));
    let search = &explained["run"]["searches"][0];
    let counts =
        |search: &Value| ["cursors", "documents", "foreign", "decoded", "passed"].map(|name| search[name].as_u64());
    assert_eq!(counts(search), [1, 2, 0, 2, 2].map(Some));
    assert!(search["bytes_read"].as_u64() > Some(100) && search["wait_ms"].as_f64() > Some(0.0), "{search}");

    let explained = explain(&server, &[("q", "\"connection timeout\" NOT nobody:*")]);
    let plan = &explained["plan"];
    assert_eq!(plan["exact"], false);
    let pattern = "[cC][oO][nN][nN][eE][cC][tT][iI\u{130}][oO][nN]";
    assert_eq!(plan["pushed_down"]["filter"]["$and"][0]["$and"], json!([{ "message": { "$regex": pattern } }]));
    assert_eq!(plan["evaluated"], json!([{ "step": "records", "query": "\"connection timeout\" AND NOT nobody:*" }]));
    assert_eq!(explained["run"]["matches"], 1);
    // One that matched the word alone would have been decoded, and not have passed.
    assert_eq!(counts(&explained["run"]["searches"][0]), [1, 1, 0, 1, 1].map(Some));
    let explained = explain(&server, &[("q", "/backup|disk/")]);
    assert_eq!(counts(&explained["run"]["searches"][0]), [1, 3, 0, 3, 2].map(Some));
}

#[test]
fn a_plan_needs_no_store() {
    let server = Server::start(&["--store", "mongodb://127.0.0.1:1/x", "--breaker-failures", "1"]);
    let answer = server.http.ask("/query/explain", &[("q", "level=error"), ("run", "false")]);
    assert_eq!((answer.status, &answer.json()["plan"]["exact"]), (200, &json!(true)));
    assert_eq!(server.http.ask("/query/explain", &[("q", "level=error")]).status, 503);
}
