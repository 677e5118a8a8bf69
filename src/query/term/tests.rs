use proptest::prelude::*;

use super::*;

/// The rule as it is told at the top of this file, without any shortcut.
fn occurs(term: &str, message: &str) -> bool {
    let folded = |text: &str| text.chars().map(fold).collect::<String>();
    let tokens_of = |text: &str| {
        let mut tokens = Vec::new();
        for_each_span(text, |span, _| tokens.push((span.clone(), folded(&text[span]))));
        tokens
    };
    let own: Vec<String> = tokens_of(term).into_iter().map(|(_, token)| token).collect();
    let places = (0..=message.len()).filter(|at| message.is_char_boundary(*at));
    let spans = places.clone().flat_map(|start| places.clone().map(move |end| start..end));
    spans.filter(|span| span.start <= span.end && folded(&message[span.clone()]) == folded(term)).any(|span| {
        let inside = tokens_of(message)
            .into_iter()
            .filter(|(token, _)| own.is_empty() || token.end > span.start && token.start < span.end);
        own.is_empty()
            || inside
                .map(|(token, text)| (token.start >= span.start && token.end <= span.end, text))
                .eq(own.iter().map(|text| (true, text.clone())))
    })
}

#[test]
fn terms_are_found_by_whole_tokens() {
    for (term, message, expected) in [
        ("timeout", "Timeout after 30 s", true),
        ("timeout", "timeouts", false),
        ("time", "a_time", false),
        ("10.0.0.1", "from 10.0.0.1:80", true),
        ("10.0.0.1", "from 10.0.0.12", false),
        ("10.0.0.1", "from 110.0.0.1 and 10.0.0.1", true),
        ("a-b-c", "x-a-b-c-d", true),
        ("/var/log", "in /var/log/syslog", true),
        ("/var/log", "in x/var/logs", false),
        ("connection from", "CONNECTION FROM 1", true),
        ("connection from", "connection  from", false),
        ("connection from", "connection fromage", false),
        ("日本", "これは日本語です", true),
        ("go", "日go本", true),
        ("größe", "GRÖSSE GRÖẞE", true),
        ("gross", "größ", false),
        ("ОШИБКА", "внутренняя ошибка.", true),
        ("mask", "the maſ\u{212a} is on", true),
        ("sks", "ſ\u{212a}ſ", true),
        ("error", "\u{1b}[31mERROR\u{1b}[0m", true),
        ("31m", "\u{1b}[31mERROR\u{1b}[0m", false),
        ("error disk", "\u{1b}[31merror disk\u{1b}[0m", true),
        ("->", "a->b", true),
        ("!!", "what?!", false),
        ("=> é", "a => É", true),
        ("-5", "at -5 degrees", true),
        ("-5", "at -57 degrees", false),
        ("cafe\u{301}", "cafe\u{301}", true),
        ("cafe", "cafe\u{301}", false),
        ("→ 日", "→ 日", true),
        ("", "", true),
    ] {
        assert_eq!(Term::new(term).matches(message), expected, "{term:?} in {message:?}");
        assert_eq!(occurs(term, message), expected, "the rule: {term:?} in {message:?}");
    }
}

#[test]
fn tokens_are_those_of_every_match() {
    assert_eq!(Term::new("/var/Log").tokens(), ["var", "log"]);
    assert!(Term::new("->").tokens().is_empty());
    assert!(Term::new("LOG").has_token());
    assert!(!Term::new("->").has_token());
    assert_eq!(Term::new("-GRÖẞE").text(), "-größe");
}

fn text() -> impl Strategy<Value = String> {
    let pieces =
        ["a", "B", "b", "s", "S", "ſ", "k", "\u{212a}", "1", "_", ".", " ", "/", "é", "É", "ı", "日", "\u{301}"];
    let escapes = ["\u{1b}[31m", "\u{1b}[", "\u{1b}", "\u{1b}]x\u{7}", "m", "\u{1b}P", "\u{1b}\\"];
    let piece = prop_oneof![9 => prop::sample::select(pieces.to_vec()), 1 => prop::sample::select(escapes.to_vec())];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_term_occurs_as_the_rule_says(message in text(), term in text(), from in 0_usize..8, length in 1_usize..8) {
        prop_assert_eq!(Term::new(&term).matches(&message), occurs(&term, &message), "{:?} in {:?}", term, message);
        let part: String = message.chars().skip(from).take(length).collect();
        prop_assert_eq!(Term::new(&part).matches(&message), occurs(&part, &message), "{:?} in {:?}", part, message);
    }

    #[test]
    fn a_match_has_every_token(message in text(), from in 0_usize..8, length in 1_usize..8) {
        let term = Term::new(&message.chars().skip(from).take(length).collect::<String>());
        let mut tokens = Vec::new();
        for_each_token(&message, &mut String::new(), |token| tokens.push(token.to_owned()));
        prop_assert!(!term.matches(&message) || term.tokens().iter().all(|token| tokens.contains(token)));
    }
}

#[test]
fn open_edges_are_parts_of_words() {
    let (prefix, suffix) =
        (Edges { open_end: true, ..Edges::default() }, Edges { open_start: true, ..Edges::default() });
    let part = Edges { open_start: true, open_end: true };
    for (term, edges, message, expected) in [
        ("time", prefix, "a TIMEOUT", true),
        ("time", prefix, "runtime", false),
        ("time", prefix, "run time", true),
        ("out", suffix, "a timeout!", true),
        ("out", suffix, "timeouts", false),
        ("meo", part, "timeouts", true),
        ("10.0.0.", prefix, "from 10.0.0.12", true),
        ("10.0.0.", prefix, "from 110.0.0.12", false),
        ("0.0.1", part, "from 10.0.0.12", true),
        ("日", prefix, "今日は", true),
        ("31", prefix, "\u{1b}[31mERROR\u{1b}[0m", false),
        ("err", prefix, "\u{1b}[31mERROR\u{1b}[0m", true),
        ("rro", part, "\u{1b}[31mERROR\u{1b}[0m", true),
        ("ror", suffix, "\u{1b}[31mERRORS\u{1b}[0m", false),
    ] {
        assert_eq!(Term::with_edges(term, edges).matches(message), expected, "{term:?} {edges:?} in {message:?}");
    }
    assert_eq!(Term::with_edges("a.time", prefix).tokens(), ["a"]);
    assert_eq!(Term::with_edges("time.", prefix).tokens(), ["time"]);
    assert_eq!(Term::with_edges("a.b.c", part).tokens(), ["b"]);
    assert!(Term::with_edges("time", part).tokens().is_empty());
    assert_eq!(Term::with_edges("日本", part).tokens(), ["日", "本"]);
}

#[test]
fn the_case_counts_where_it_is_asked_for() {
    for (term, message, expected) in [
        ("a a", "xa a a", true),
        ("Time out", "a Time out", true),
        ("Time out", "a time out", false),
        ("Time", "Timeout", false),
    ] {
        assert_eq!(Term::in_exact_case(term).matches(message), expected, "{term:?} in {message:?}");
    }
    assert_eq!(Term::in_exact_case("Time").tokens(), ["time"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_exact_case_follows_the_same_rule(message in "[ab1 ._\u{1b}\\[m-]{0,14}", part in "[ab1 ._-]{1,4}") {
        let found = Term::in_exact_case(&part).matches(&message);
        prop_assert_eq!(found, Term::new(&part).matches(&message), "{:?} in {:?}", part, message);
    }

    #[test]
    fn a_part_is_found_wherever_it_stands(
        message in text(), from in 0_usize..8, length in 1_usize..8, open_start: bool, open_end: bool,
    ) {
        let part: String = message.chars().skip(from).take(length).collect();
        let term = Term::with_edges(&part, Edges { open_start, open_end });
        // Closed edges find less than open ones, and whatever is found has the tokens that the filter asks for.
        prop_assert!(!Term::new(&part).matches(&message) || term.matches(&message), "{:?} in {:?}", part, message);
        let tokens = tokens(&message);
        prop_assert!(!term.matches(&message) || term.tokens().iter().all(|token| tokens.contains(token)), "{:?}", part);
    }

    #[test]
    fn a_scan_finds_what_a_look_at_each_text_does(texts in prop::collection::vec(text(), 1..6), part in text()) {
        let term = Term::new(&part);
        let joined = texts.concat();
        if let Some(scan) = term.scan(joined.as_bytes()) {
            let mut start = 0;
            for text in &texts {
                let mut places = std::iter::successors(scan.next_place(start), |at| scan.next_place(at + 1));
                let found = places.any(|at| at < start + text.len() && scan.holds(text, at - start));
                prop_assert_eq!(found, term.matches(text), "{:?} in {:?}", part, text);
                start += text.len();
            }
        }
    }
}
