//! What must hold for any configuration, for the fuzzers.

use std::path::Path;

use super::value::redact;
use super::{ByteSize, Layers, Period, Settings};

/// A file, behind a line with a value that is read as each kind. Any configuration that is accepted is accepted again as
/// it is shown, and nothing of a URL's password is shown.
pub fn config(data: &[u8], file: &Path) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (value, text) = text.split_once('\n').unwrap_or((text, ""));
    check_value(value);
    let Some(settings) = read(text, file) else { return };
    let shown = settings.to_string();
    if shown.contains("***") {
        return;
    }
    match read(&shown, file) {
        Some(again) => assert_eq!(again.effective, settings.effective, "{shown}"),
        None => unreachable!("a configuration that is shown cannot be read: {shown}"),
    }
}

fn read(text: &str, file: &Path) -> Option<Settings> {
    std::fs::write(file, text).ok()?;
    let mut layers = Layers::default();
    let outcome = layers.add_file(file).and_then(|()| Settings::resolve(&layers));
    if let Err(error) = &outcome {
        assert!(!error.to_string().contains('\n'), "an error is one line: {error}");
    }
    outcome.ok()
}

fn check_value(value: &str) {
    if let Ok(ByteSize(bytes)) = value.parse() {
        assert_eq!(bytes.to_string().parse(), Ok(ByteSize(bytes)), "{value}");
    }
    if let Ok(Period(period)) = value.parse() {
        let written = format!("{}ms", period.as_millis());
        assert_eq!(written.parse(), Ok(Period(period)), "{value}");
    }
    // A secret that no other part of the URL happens to hold.
    let secret = format!("\u{1F511}{value}\u{1F511}");
    for uri in [
        format!("mongodb://user:{secret}@host/logdb"),
        format!("mongodb://host/?tlsCertificateKeyFilePassword={secret}"),
    ] {
        let shown = redact(&uri);
        assert!(!shown.contains('\u{1F511}') || value.contains('&'), "{uri} is shown as {shown}");
    }
}
