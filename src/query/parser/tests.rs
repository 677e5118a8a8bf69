use proptest::prelude::*;

use super::*;
use crate::query::expr::{Condition, Field, Test};
use crate::query::literal::Literal;

fn shown(query: &str) -> String {
    parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).to_string()
}

#[test]
fn a_query_is_shown_as_it_is_understood() {
    for (query, expected) in [
        ("", "*"),
        (" \t", "*"),
        ("*", "*"),
        (
            "Timeout \"connection from\" 10.0.0.1 -5 \"->\"",
            r#"timeout AND "connection from" AND "10.0.0.1" AND "-5" AND "->""#,
        ),
        ("a b|c&d", "a AND b OR c AND d"),
        ("a AND (b OR c) (d e)", "a AND (b OR c) AND d AND e"),
        ("NOT a b", "NOT a AND b"),
        ("-(a | b) !c", "NOT (a OR b) AND NOT c"),
        ("NOT NOT a", "a"),
        ("(((a)))", "a"),
        ("a OR (b OR c)", "a OR b OR c"),
        ("* a", "a"),
        ("* OR a", "* OR a"),
        ("service=ap-south-1&level=warn", "service=ap-south-1 AND level=WARN"),
        ("service=ap-south-1|service=\"us-west-1\"", "service=ap-south-1 OR service=\"us-west-1\""),
        ("level:error", "level=ERROR"),
        ("severity>=WARNING", "level in (WARN, ERROR, FATAL)"),
        ("severity<trace", "NOT *"),
        ("level!=info", "NOT level=INFO"),
        ("level in (warn, e)", "level in (WARN, ERROR)"),
        ("level:*", "*"),
        ("level_text=\"Warning\"", "level_text=\"Warning\""),
        ("status >= 500", "status>=500"),
        ("status!=500", "NOT status=500"),
        ("http.status in (500, 502 , \"x, y\")", "http.status in (500, 502, \"x, y\")"),
        ("a in (1)", "a=1"),
        ("a in (1, 1)", "a=1"),
        ("duration>1.5s", "duration>1.5s"),
        ("path=~\"^/api\"", "path=~\"^/api\""),
        ("path!~x", "NOT path=~\"x\""),
        ("path:/api/", "path:/api/"),
        ("path:/api/c", "path=~\"api\""),
        ("path:/api/v1", "path:\"/api/v1\""),
        ("path=/api/", "path=/api/"),
        ("/re(set|fused)/ /X/c", "/re(set|fused)/ AND message=~\"X\""),
        ("user:*", "user:*"),
        ("user:ann*", "user:ann*"),
        ("\"odd name\":5", "\"odd name\":5"),
        ("\"odd name\" in (5, 6)", "\"odd name\" in (5, 6)"),
        ("attributes.level:5", "attributes.level:5"),
        ("attributes.user=5", "user=5"),
        ("attributes._time=5", "attributes._time=5"),
        ("\"\"=5", "\"\"=5"),
        ("time* *out *meo* 10.0.* Größ*", "time* AND *out AND *meo* AND message:10.0.* AND message:größ*"),
        ("timeout~ timeout~2", "timeout~ AND timeout~2"),
        ("\"Time Out\"c", "\"Time Out\"c"),
        ("\"in\" \"AND\" and in", "\"in\" AND and AND and AND \"in\""),
        ("error in log", "error AND \"in\" AND log"),
        ("5 in (a)", "5 AND \"in\" AND a"),
        ("id=01J9M2CN0000000000000000G7", "id=01J9M2CN0000000000000000G7"),
        ("timestamp>=2024-10-08", "timestamp>=2024-10-08T00:00:00.000000000Z"),
        ("timestamp>2024-10-08", "timestamp>2024-10-08T23:59:59.999999999Z"),
        (
            "timestamp=2024-10-08",
            "timestamp>=2024-10-08T00:00:00.000000000Z AND timestamp<=2024-10-08T23:59:59.999999999Z",
        ),
        ("url=http://x:80/?a=1", "url=http://x:80/?a=1"),
        ("http://x error: 10:30:00", "\"http://x\" AND \"error:\" AND \"10:30:00\""),
        ("minutes:5 C:\\temp", "minutes:5 AND C:\"\\\\temp\""),
        ("message=\"a b\" message:time*", "message=\"a b\" AND time*"),
        ("//srv* *//srv* path:/srv*", "//srv* AND message:*//srv* AND path:/srv*"),
        ("/etc/hosts /var/", "\"/etc/hosts\" AND /var/"),
    ] {
        assert_eq!(shown(query), expected, "{query}");
        assert_eq!(parse(expected), parse(query), "{query}");
    }
}

#[test]
fn a_refusal_does_not_echo_what_it_is_about_at_any_length() {
    let long = "x".repeat(1000);
    for query in [
        "level=LONG",
        "level=a,LONG",
        "level:LONG*",
        "id=LONG",
        "timestamp>=LONG",
        "timestamp>=nowLONG",
        "a in (1 LONG)",
        "LONG:>5",
        "a:>LONG",
        "LONG=(",
        "LONG=[",
        "LONG=\"x\"c",
        "LONG==x",
        "a==LONG",
        "LONG=a*",
        "a=LONG*",
        "a=~/LONG/",
        "LONG=~/b/",
        "LONG=~\"(a\"",
        "a=~\"(LONG\"",
        "/(LONG/",
        "LONG*LONG",
        "LONG~9",
        "\"LONG",
        "'LONG'",
        "(LONG",
        "a | count LONG(",
        "a LONG)",
        "{LONG=\"x\"}",
    ] {
        let query = query.replace("LONG", &long);
        let error = parse(&query).expect_err(&query).to_string();
        assert!(error.len() < 700 && !error.contains(&long), "{error}");
    }
}

#[test]
fn what_is_no_query_is_refused_with_its_place_and_spelling() {
    for (query, column, hint) in [
        ("a AND", 6, "quotes"),
        ("status>=", 9, "write it"),
        ("a OR | b", 6, "\"|\""),
        ("AND a", 1, "\"AND\""),
        ("é a& &b", 6, "\"&b\""),
        ("NOT", 4, "quotes"),
        ("(a", 1, "end it with )"),
        ("a)", 2, "leave it out"),
        ("()", 2, "leave it out"),
        ("main()", 6, "\"main()\""),
        ("[a]", 1, "those are ( and )"),
        ("a -> b", 3, "\"->\""),
        ("= b", 1, "write the field before it"),
        ("error <nil>", 7, "write the field before it"),
        ("status:>500", 8, "write status>500"),
        ("status:(500 OR 502)", 8, "status in (a, b)"),
        ("status:[400 TO 499]", 8, "status>=1 status<5"),
        ("status==500", 8, "status=\"=500\""),
        ("service=ap-*", 9, "write service:ap-*"),
        ("a in (1 2)", 9, "between commas"),
        ("a in (1, )", 10, "quotes"),
        ("a in (1, 2", 1, "end it with )"),
        ("level=loud", 7, "use trace, debug"),
        ("level=warn,error", 7, "level in (warn,error)"),
        ("level=~\"warn.*\"", 8, "level_text"),
        ("level:war*", 7, "level_text"),
        ("timestamp>=-15m", 12, "startTime=-15m"),
        ("timestamp>=soon", 12, "timestamp>=2024-10-08T07:15:00Z"),
        ("timestamp:/2024/", 11, "compare it"),
        ("id=5", 4, "26 characters"),
        ("a=\"x\"c", 3, "leave the c out"),
        ("path=~/api/", 7, "path:/api/"),
        ("a*b", 1, "/a.*b/"),
        ("** -*", 1, "\"**\""),
        ("~/config", 1, "\"~/config\""),
        ("timeout~3", 1, "timeout~2"),
        ("a-b~", 1, "\"a-b~\""),
        ("/(a/", 1, "\"/(a/\""),
        ("path=~\"(a\"", 7, "\"path=~"),
        ("\"a", 1, "end it with \""),
        ("\"a\"b", 1, r#""\"a\"b""#),
        ("\"\"", 1, "leave the quotes out"),
        ("'a b'", 1, "quotes are \"…\""),
        ("{app=\"x\"}", 1, "service=shop"),
        ("{app=\"x\"} |= \"y\"", 1, "service=shop"),
        ("|= \"y\"", 1, "write the text alone"),
        ("error |= \"y\"", 7, "write the text alone"),
        ("error | stats count()", 7, "fields="),
        ("error | json", 7, "OR json"),
        ("_time:5m error", 1, "startTime="),
        ("_msg:error", 1, "write the value alone"),
        ("_stream:x", 1, "service=shop"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!(error.column, column, "{query}: {error}");
        assert!(error.hint.contains(hint), "{query}: {error}");
    }
    assert_eq!(
        parse("a b >=").unwrap_err().to_string().split(';').next(),
        Some("column 7: expected a value after \">=\"")
    );
}

#[test]
fn limits_are_kept() {
    assert!(parse(&"a ".repeat(TERMS_MAX)).is_ok());
    assert_eq!(parse(&"a ".repeat(TERMS_MAX + 1)).unwrap_err().column, 2 * TERMS_MAX + 1);
    assert!(parse(&"a=1 ".repeat(TERMS_MAX + 1)).is_err());
    assert!(parse(&"a".repeat(TERM_BYTES_MAX)).is_ok());
    assert!(parse(&"a".repeat(TERM_BYTES_MAX + 1)).is_err());
    assert!(parse(&format!("a={}", "b".repeat(TERM_BYTES_MAX + 1))).is_err());
    assert!(parse(&" ".repeat(QUERY_BYTES_MAX + 1)).is_err());
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(parse(&nested(DEPTH_MAX + 1)).unwrap_err().column, DEPTH_MAX + 1);
    assert!(parse(&format!("{}a", "NOT ".repeat(DEPTH_MAX + 1))).is_err());
    assert!(parse(&"/a/ ".repeat(REGEXES_MAX)).is_ok());
    assert!(parse(&"/a/ ".repeat(REGEXES_MAX + 1)).is_err());
    assert!(parse(r"/\w{500}{50}/").unwrap_err().message.contains("more than"));
    let values: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    assert!(parse(&format!("a in ({})", values.join(","))).is_ok());
}

#[test]
fn a_tree_explains_itself_as_json() {
    let query = r#"(time* "A"c OR w~2 /r/) -a.b:* level>=error b>=1.5s c in (1, "1") timestamp<1970-01-01 x=y"#;
    let json = serde_json::to_string(&parse(query).unwrap()).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"and":[{"or":[{"and":[{"field":"message","part":"time*"},{"exact_case":"A","field":"message"}]},"#,
            r#"{"and":[{"field":"message","fuzzy":"w","slips":2},{"exact_case":false,"field":"message","regex":"r"}]}]},"#,
            r#"{"not":{"exists":true,"field":"attributes.a.b"}},{"field":"severity","in":["ERROR","FATAL"]},"#,
            r#"{">=":"1.5s","field":"attributes.b"},{"field":"attributes.c","in":["1","\"1\""]},"#,
            r#"{"<":"1970-01-01T00:00:00.000000000Z","field":"timestamp"},{"field":"attributes.x","in":["y"]}]}"#
        )
    );
}

/// Texts of the whole language, most of them queries.
fn query() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "a",
        "Time",
        "größe",
        "10.0.0.1",
        "a-b",
        "/var/log",
        "-5",
        "日本",
        "in",
        "and",
        "\"x y\"",
        "\"q\\\"\\\\\"",
        "\"AND\"",
        "\"->\"",
        "\"Ab\"c",
        "pre*",
        "*fix",
        "*m.d*",
        "größ*",
        "w~",
        "w~2",
        "/r+e/",
        "/a\\/b c/",
        "/R/c",
        "*",
        "é:",
        "http://x",
    ]);
    let field = prop::sample::select(vec![
        "a",
        "a.b",
        "message",
        "service",
        "level_text",
        "\"odd name\"",
        "\"\"",
        "\"ü\"",
        "attributes.level",
        "_x",
        "NOT",
        "attributes.attributes.x",
        "@a-b",
    ]);
    let value = prop::sample::select(vec![
        "5",
        "-1.50",
        "1e400",
        "true",
        "null",
        "1.5s",
        "10MiB",
        "2024-10-08",
        "x",
        "a,b",
        "/p/",
        "a=b",
        "\"5\"",
        "\"a b\"",
        "\"\\\"\\\\\"",
        "\"\"",
        "é",
    ]);
    let sign = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">=", " = ", " >= "]);
    let fixed = prop::sample::select(vec![
        "level=warn",
        "severity>=Error",
        "level!=i",
        "level in (t, d, info)",
        "timestamp>=2024-10-08",
        "level<trace",
        "timestamp=2024-10-08",
        "timestamp in (2024-10-08, 5)",
        "id>01J9M2CN0000000000000000G7",
        "service:*",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(str::to_owned),
        (field.clone(), word).prop_map(|(field, word)| format!("{field}:{word}")),
        (field.clone(), sign, value.clone()).prop_map(|(field, sign, value)| format!("{field}{sign}{value}")),
        (field.clone(), prop::collection::vec(value, 1..4))
            .prop_map(|(field, values)| format!("{field} in ({})", values.join(", "))),
        (field, prop::sample::select(vec!["=~", "!~"])).prop_map(|(field, sign)| format!("{field}{sign}\"^\\d\\\"x\"")),
        fixed.prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let between = prop::sample::select(vec![" ", " AND ", " OR ", "|", " & "]);
        prop_oneof![
            (inner.clone(), between, inner.clone())
                .prop_map(|(left, between, right)| format!("{left}{between}{right}")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("NOT {inner}")),
            inner.prop_map(|inner| format!("-({inner})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_tree_is_shown_as_a_query_of_the_same_tree(query in query()) {
        if let Ok(expr) = parse(&query) {
            let shown = expr.to_string();
            prop_assert_eq!(parse(&shown), Ok(expr), "{} as {}", query, shown);
        }
    }

    #[test]
    fn no_text_panics(query in "[a-zB-D\"'\\\\ /|&!=~<>:*,(){}\\[\\]éß日.\u{1b}-]{0,40}", any: String) {
        for query in [query, any] {
            if let Ok(expr) = parse(&query) {
                let shown = expr.to_string();
                prop_assert_eq!(parse(&shown), Ok(expr), "{} as {}", query, shown);
            }
        }
    }

    #[test]
    fn the_quoted_spelling_is_accepted_and_means_the_text(text in "[a-z\"\\\\ /|&!=~:*(){}.-]{1,20}") {
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(parse(&quoted), Ok(Expr::term(Term::new(&text))));
        let is = Condition::Field(Field::Attribute("f".to_owned()), Test::OneOf(vec![Literal::new(&text, true)]));
        prop_assert_eq!(parse(&format!("f={quoted}")), Ok(Expr::Condition(is)));
    }
}
