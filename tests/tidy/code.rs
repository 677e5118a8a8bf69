//! Rust source as far as the checks need to understand it: comments and literals cut out, the rest as tokens.

/// A piece of code: a word (identifier, keyword, number), or a single character of punctuation.
pub type Token = String;

/// The tokens of Rust source. Comments, docs and the insides of literals are left out, so that what they quote is not
/// taken for code.
pub fn tokens(source: &str) -> Vec<Token> {
    let characters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        at = skip_comment(&characters, at)
            .or_else(|| skip_literal(&characters, at))
            .unwrap_or_else(|| take_token(&characters, at, &mut tokens));
    }
    tokens
}

fn take_token(characters: &[char], start: usize, tokens: &mut Vec<Token>) -> usize {
    let word = characters[start..].iter().take_while(|c| is_word(**c)).count();
    let end = start + word.max(1);
    let token: String = characters[start..end].iter().collect();
    if !token.trim().is_empty() {
        tokens.push(token);
    }
    end
}

/// Where the comment that begins here ends. Block comments nest.
fn skip_comment(characters: &[char], start: usize) -> Option<usize> {
    let rest = &characters[start..];
    if rest.starts_with(&['/', '/']) {
        return Some(start + rest.iter().take_while(|c| **c != '\n').count());
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut depth, mut at) = (0_usize, start);
    while at < characters.len() {
        if characters[at..].starts_with(&['/', '*']) {
            (depth, at) = (depth + 1, at + 2);
        } else if characters[at..].starts_with(&['*', '/']) {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// Where the string or character that begins here ends. A lifetime is neither.
fn skip_literal(characters: &[char], start: usize) -> Option<usize> {
    let in_word = start > 0 && is_word(characters[start - 1]);
    match characters[start] {
        'r' | 'b' | 'c' if !in_word => skip_raw(characters, start),
        '"' => Some(skip_quoted(characters, start, '"')),
        '\'' if characters.get(start + 1) == Some(&'\\') || characters.get(start + 2) == Some(&'\'') => {
            Some(skip_quoted(characters, start, '\''))
        }
        _ => None,
    }
}

/// Where the raw string that begins here ends. Prefixed strings that are not raw lose only their prefix to a token.
fn skip_raw(characters: &[char], start: usize) -> Option<usize> {
    let letters = characters[start..].iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    if letters > 2 || characters[start + letters - 1] != 'r' {
        return None;
    }
    let open = start + letters;
    let hashes = characters[open..].iter().take_while(|c| **c == '#').count();
    if characters.get(open + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = open + hashes + 1;
    let end = (body..characters.len()).find(|at| characters[*at..].starts_with(&close));
    Some(end.map_or(characters.len(), |end| end + close.len()))
}

fn skip_quoted(characters: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < characters.len() && characters[at] != quote {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(characters.len())
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[test]
fn comments_and_literals_are_not_code() {
    let source = r##"
        // crate::a
        /* crate::b /* crate::c */ crate::d */
        const A: &str = "crate::e \" crate::f"; /// crate::g
        const B: &str = r#"crate::h " crate::i"#;
        const C: &[u8] = br"crate::j\"; const D: char = '"'; const E: char = '\''; fn f<'a>(x: &'a u8) {}
        use crate::kept;
    "##;
    let code = tokens(source).join(" ");
    assert_eq!(code.matches("crate").count(), 1, "{code}");
    assert!(code.ends_with("fn f < ' a > ( x : & ' a u8 ) { } use crate : : kept ;"), "{code}");
}

#[test]
fn an_unfinished_literal_ends_with_the_source() {
    for source in ["\"open", "r#\"open", "/* open", "'\\", "\"\\"] {
        assert!(tokens(source).is_empty(), "{source}");
    }
}
