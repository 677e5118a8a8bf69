//! A record's neighbours.

use serde_json::Value;

use crate::support::server::Server;

/// A server with ten records in five seconds, two in each, of services a and b in turn; and their ids.
fn filled() -> (Server, Vec<String>) {
    let server = Server::start(&[]);
    let ids = (0..10).map(|n| {
        let (second, service) = (n / 2, if n % 2 == 0 { "a" } else { "b" });
        let record =
            format!("{{\"timestamp\":\"2024-10-08T00:00:0{second}Z\",\"service\":\"{service}\",\"message\":\"{n}\"}}");
        server.http.post("/logs", &record).json()["id"].as_str().unwrap().to_owned()
    });
    let ids = ids.collect();
    (server, ids)
}

fn messages(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|record| record["message"].as_str().unwrap()).collect()
}

#[test]
fn neighbours_stand_oldest_first_by_time_and_then_by_id() {
    let (server, ids) = filled();
    for (record, parameters, before, after) in [
        (5, "?scope=all&before=3&after=3", vec!["2", "3", "4"], vec!["6", "7", "8"]),
        // Its tie in time stands before it, or after it, by its id.
        (4, "?scope=all&before=1&after=1", vec!["3"], vec!["5"]),
        (5, "?scope=all&before=1&after=1", vec!["4"], vec!["6"]),
        (4, "?before=1&after=2", vec!["2"], vec!["6", "8"]),
        (5, "?scope=service", vec!["1", "3"], vec!["7", "9"]),
        (0, "?scope=all&after=2", vec![], vec!["1", "2"]),
        (9, "?scope=all&before=2", vec!["7", "8"], vec![]),
        (3, "?scope=all&before=0&after=0", vec![], vec![]),
        (2, "", vec!["0"], vec!["4", "6", "8"]),
    ] {
        let answer = server.http.get(&format!("/logs/{}/context{parameters}", ids[record]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let context = answer.json();
        assert_eq!(context["record"]["id"], ids[record]);
        let sides = (messages(&context["before"]), messages(&context["after"]));
        assert_eq!(sides, (before, after), "{record}{parameters}");
        let one = server.http.get(&format!("/logs/{}", ids[record])).json();
        assert_eq!(context["record"], one);
    }
}

#[test]
fn what_is_not_there_and_what_is_wrong_is_said() {
    let (server, ids) = filled();
    for (path, status, expected) in [
        ("/logs/01J9M2CN0000000000000000G7/context".to_owned(), 404, "there is no record 01J9M2CN0000000000000000G7"),
        (format!("/logs/{}/context?before=1001", ids[0]), 400, "before=1001: use 0 to 1000"),
        (format!("/logs/{}/context?after=-1", ids[0]), 400, "after=-1: use 0 to 1000"),
        (format!("/logs/{}/context?scope=host", ids[0]), 400, "scope=host: use service or all"),
        (format!("/logs/{}/context?q=x", ids[0]), 400, "unknown parameter `q`"),
        ("/logs/short/context".to_owned(), 404, "there is no /logs/short/context"),
    ] {
        let answer = server.http.get(&path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(expected), "{path}: {}", answer.text());
    }
}
