//! `sluice health`: the container's health check, for images without a shell or curl.

use std::time::Duration;

use sluice_client::{Client, ReadError};

use super::server::{url_of, without_credentials};
use crate::config::Settings;

/// How long each step of the check may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the server at `url`, or where the configuration says that it listens, for `/health`.
///
/// # Errors
/// A line that says why the server is not healthy.
pub fn health(url: Option<&str>, settings: &Settings) -> Result<(), String> {
    let url = url_of(url, settings);
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", without_credentials(&url));
    let client = Client::builder(&url).timeout(TIMEOUT).retries(0).build().map_err(|error| wrong(&error))?;
    client.health().map_err(|error| match error {
        ReadError::GaveUp { cause, .. } => wrong(&cause),
        other => wrong(&other),
    })
}
