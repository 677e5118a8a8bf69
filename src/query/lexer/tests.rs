use super::*;

fn kinds(query: &str) -> Vec<(Kind<'_>, &str)> {
    Lexer::new(query).map(|lexeme| (lexeme.kind, lexeme.source)).collect()
}

#[test]
fn what_stands_up_to_white_space_is_a_term() {
    for term in [
        "timeout",
        "10.0.0.1",
        "a-b-c",
        "/var/log",
        "/var/log/",
        "/",
        "//",
        "-5",
        "!5",
        "--flag",
        "-",
        "10:30:00",
        "2024-10-08T07:15:00Z",
        "http://x",
        "http://x:80/?a=1",
        "error:",
        "and",
        "or",
        "not",
        "in",
        "And",
        "don't",
        "a,b;c",
        "50%",
        "#7",
        "$x",
        "C\\x",
        "100%",
        "a/b:c",
        ":8080",
        "日本語",
        "größe",
        "12=3",
        "hello!",
        "a!b",
        "_",
        "\\",
    ] {
        assert_eq!(kinds(term), [(Kind::Word, term)], "{term}");
    }
    let words: Vec<_> = kinds("error: disk\u{a0}full\t/a /b").into_iter().map(|(_, source)| source).collect();
    assert_eq!(words, ["error:", "disk", "full", "/a", "/b"]);
}

#[test]
fn quotes_only_quote() {
    for (query, text) in [
        (r#""connection from""#, "connection from"),
        (r#""a \"b\" \\ \n""#, r#"a "b" \ \n"#),
        (r#""AND""#, "AND"),
        (r#""""#, ""),
    ] {
        assert_eq!(kinds(query), [(Kind::Phrase(text.to_owned(), false), query)], "{query}");
    }
    for unclosed in ["\"", "\"a b", "\"a\\\""] {
        assert_eq!(kinds(unclosed), [(Kind::UnclosedQuote, unclosed)]);
    }
    assert_eq!(kinds(r#"("a"|"b")"#)[3].0, Kind::Phrase("b".to_owned(), false));
    assert_eq!(kinds(r#""a"b"#)[0], (Kind::MisplacedQuote, r#""a""#));
    assert_eq!(kinds(r#"a"b""#)[1], (Kind::MisplacedQuote, "\""));
    assert_eq!(kinds("'a b'")[0], (Kind::ForeignQuote, "'"));
}

#[test]
fn operators_are_upper_case_words_and_signs() {
    for (query, kind, source) in [
        ("AND", Kind::And, "AND"),
        ("& b", Kind::And, "&"),
        ("&&", Kind::And, "&&"),
        ("OR", Kind::Or, "OR"),
        ("||", Kind::Or, "||"),
        ("NOT x", Kind::Not, "NOT"),
        ("NOT(x)", Kind::Not, "NOT"),
        ("-x", Kind::Not, "-"),
        ("-é", Kind::Not, "-"),
        ("!x", Kind::Not, "!"),
        ("-\"x\"", Kind::Not, "-"),
        ("-(x)", Kind::Not, "-"),
        ("!/x/", Kind::Not, "!"),
        ("(", Kind::Bracket, "("),
        ("{app", Kind::Bracket, "{"),
        ("pre*", Kind::Pattern, "pre*"),
        ("*", Kind::Pattern, "*"),
        ("foo~2", Kind::Tilde, "foo~2"),
        ("/a/", Kind::Regex("a", false), "/a/"),
        ("/a b|c/ d", Kind::Regex("a b|c", false), "/a b|c/"),
        ("/a/c", Kind::Regex("a", true), "/a/c"),
        (r"/a\/b/", Kind::Regex(r"a\/b", false), r"/a\/b/"),
    ] {
        assert_eq!(kinds(query)[0], (kind, source), "{query}");
    }
    assert_eq!(kinds("a|b").into_iter().map(|(kind, _)| kind).collect::<Vec<_>>(), [Kind::Word, Kind::Or, Kind::Word]);
}

#[test]
fn a_name_with_an_operator_compares() {
    use Operator::*;
    for (query, name, operator, source) in [
        ("level:error", Some("level"), Has, "level:"),
        ("http.status:500", Some("http.status"), Has, "http.status:"),
        ("x-request-id:7", Some("x-request-id"), Has, "x-request-id:"),
        ("@timestamp:now", Some("@timestamp"), Has, "@timestamp:"),
        ("user:\"a b\"", Some("user"), Has, "user:"),
        ("a:/b", Some("a"), Has, "a:"),
        ("größe:3", Some("größe"), Has, "größe:"),
        ("status=500", Some("status"), Equal, "status="),
        ("status!=500", Some("status"), NotEqual, "status!="),
        ("status>=500", Some("status"), GreaterEqual, "status>="),
        ("path=~x", Some("path"), Like, "path=~"),
        ("path!~x", Some("path"), Unlike, "path!~"),
        ("localhost:80", Some("localhost"), Has, "localhost:"),
        ("\"odd name\":5", Some("odd name"), Has, "\"odd name\":"),
        ("\"\"<5", Some(""), Less, "\"\"<"),
        ("= 5", None, Equal, "="),
        ("!= 5", None, NotEqual, "!="),
        (">= 5", None, GreaterEqual, ">="),
        (">5", None, Greater, ">"),
    ] {
        assert_eq!(kinds(query)[0], (Kind::Comparison(name.map(Cow::Borrowed), operator), source), "{query}");
    }
}

#[test]
fn a_value_goes_on_whatever_is_in_it() {
    for (query, value) in [
        ("url=http://x:80/?a=1 b", "http://x:80/?a=1"),
        ("user:a=b:c", "a=b:c"),
        ("x=-5|y", "-5"),
        ("x >= -é", "-é"),
        ("x=a,b", "a,b"),
        ("x:NOT", "NOT"),
        ("path=/a/", "/a/"),
    ] {
        let found = kinds(query).into_iter().find(|(kind, source)| *kind == Kind::Word && *source != "x");
        assert_eq!(found, Some((Kind::Word, value)), "{query}");
    }
    assert_eq!(kinds("path:/a/")[1], (Kind::Regex("a", false), "/a/"));
    assert_eq!(kinds("path:a*")[1], (Kind::Pattern, "a*"));
    assert_eq!(kinds("x=\"a b\"")[1], (Kind::Phrase("a b".to_owned(), false), "\"a b\""));
    assert_eq!(kinds("\"a b\"c")[0], (Kind::Phrase("a b".to_owned(), true), "\"a b\"c"));
    let mut list = Lexer::new("a,\"b\",c=d e");
    list.in_list = true;
    let sources: Vec<&str> = list.map(|lexeme| lexeme.source).collect();
    assert_eq!(sources, ["a", ",", "\"b\"", ",", "c=d", "e"]);
}
