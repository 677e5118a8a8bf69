//! `sluice health`: the container's health check, for images without a shell or curl.

use std::time::Duration;

use super::http::Client;
use crate::config::Settings;

/// How long each step of the check may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the server at `url`, or where the configuration says that it listens, for `/health`.
///
/// # Errors
/// A line that says why the server is not healthy.
pub fn health(url: Option<&str>, settings: &Settings) -> Result<(), String> {
    let mut client = Client::new(url, settings, TIMEOUT)?;
    let answer = client.get("/health").map_err(|error| format!("{}: {error}", client.authority()))?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{}: answers {}", client.authority(), answer.status)) }
}
