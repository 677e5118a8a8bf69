//! What a message contains, by a naive scan of its text.

/// Whether `term`, of ASCII, occurs in `text` in any case with no character of a word right before or behind it.
pub fn has_words(text: &str, term: &str) -> bool {
    let mut from = 0;
    while let Some(at) = find(text, term, from) {
        let end = at + term.len();
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let behind = text.get(end..).and_then(|behind| behind.chars().next());
        if !before.is_some_and(is_word) && !behind.is_some_and(is_word) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// Whether a line of `text` has `first` and then `second`, in any case: the regular expression `first.*second`.
pub fn has_in_order(text: &str, first: &str, second: &str) -> bool {
    text.split('\n').any(|line| find(line, first, 0).is_some_and(|at| find(line, second, at + first.len()).is_some()))
}

/// The words of a text that are worth asking for: of ASCII letters, four of them at least, lower case, with their places.
pub fn words(text: &str) -> impl Iterator<Item = (usize, String)> {
    let pieces = text.split(|character: char| !is_word(character));
    let long = pieces.filter(|piece| piece.len() >= 4 && piece.bytes().all(|byte| byte.is_ascii_alphabetic()));
    long.map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word.to_ascii_lowercase()))
}

fn find(text: &str, term: &str, from: usize) -> Option<usize> {
    let (text, term) = (text.as_bytes(), term.as_bytes());
    let first = term.first()?.to_ascii_lowercase();
    let mut from = from;
    loop {
        let rest = text.get(from..)?;
        let at = from + memchr::memchr2(first, first.to_ascii_uppercase(), rest)?;
        if text.get(at..at + term.len())?.eq_ignore_ascii_case(term) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
