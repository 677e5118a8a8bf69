//! Tokens: what counts as a word, for the index and for every search alike.
//!
//! A token is a maximal run of letters, marks, digits and `_` (Unicode). Each character of Han, Hiragana, Katakana,
//! Thai, Lao, Khmer or Myanmar is a token by itself. An ANSI escape sequence separates tokens. Case is folded simply,
//! character by character; nothing is normalised.

/// Calls `each` with every token of `text`, folded. `scratch` is reused between calls.
pub fn for_each_token(text: &str, scratch: &mut String, mut each: impl FnMut(&str)) {
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()) {
        scratch.clear();
        scratch.extend(word.chars().flat_map(char::to_lowercase));
        each(scratch);
    }
}
