//! One HTTP exchange, and whether its failure may pass.

use std::net::IpAddr;
use std::time::Duration;

use sluice_model::Timestamp;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use crate::problem::Problem;
use crate::retry::parse_retry_after;

/// Connections to one server: some for posting, whose exchanges end soon, and some for reading, whose streams may take
/// as long as they make progress.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    posting: Agent,
    reading: Agent,
    base: String,
}

/// Why an attempt failed that may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The server asked for a retry, or failed.
    #[error("the server answered {0}")]
    Answered(Problem),
    /// The exchange did not come to an end.
    #[error("no answer from the server: {0}")]
    Unreachable(#[source] TransportError),
}

/// What went wrong between client and server, below HTTP's statuses.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TransportError(#[from] ureq::Error);

/// How an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// Not to be tried again.
    Final(E),
    /// To be tried again, not before `retry_after`.
    Transient { cause: Cause, retry_after: Option<Duration> },
}

impl<E> Failure<E> {
    /// The exchange broke off.
    pub(crate) fn broken(error: ureq::Error) -> Failure<E> {
        Failure::Transient { cause: Cause::Unreachable(error.into()), retry_after: None }
    }
}

/// A status that no retry can change, or a request that cannot be sent at all.
#[derive(Debug)]
pub(crate) enum FinalFailure {
    Refused(Problem),
    Transport(TransportError),
}

/// The most of an explanation that is read: a hundred bad records fit many times over.
const PROBLEM_BYTES_MAX: u64 = 1 << 20;

impl Transport {
    /// Connects to nothing yet; `base` is a checked URL without a slash at its end.
    pub(crate) fn new(base: String, uri: &Uri, timeout: Duration) -> Transport {
        let agent = |global: Option<Duration>| {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("sluice-client/", env!("CARGO_PKG_VERSION")))
                .accept_encoding("identity")
                // Shorter than the usual server's idea of an idle connection, so that it is not closed under a request.
                .max_idle_age(Duration::from_secs(4))
                .timeout_global(global)
                .timeout_connect(Some(timeout))
                .timeout_recv_response(Some(timeout))
                .timeout_per_read(Some(timeout))
                .timeout_per_write(Some(timeout));
            // A proxy of the environment cannot reach this machine's own loopback.
            let config = if is_loopback(uri) { config.proxy(None) } else { config };
            config.build().new_agent()
        };
        Transport { posting: agent(Some(timeout)), reading: agent(None), base }
    }

    /// The URL of a path (with its query) on the server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Posts `body`; an answer of 2xx is a success.
    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Body>, Failure<FinalFailure>> {
        let request = self.posting.post(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        judge(request.send(body))
    }

    /// Gets `url`, which is whole; an answer of 2xx is a success.
    pub(crate) fn get(&self, url: &str, accept: &str) -> Result<Response<Body>, Failure<FinalFailure>> {
        judge(self.reading.get(url).header("Accept", accept).call())
    }
}

/// Tells success from what may pass and what will not.
fn judge(outcome: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure<FinalFailure>> {
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) if may_pass(&error) => {
            return Err(Failure::broken(error));
        }
        Err(error) => return Err(Failure::Final(FinalFailure::Transport(error.into()))),
    };
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after =
        header(response.headers(), "retry-after").and_then(|text| parse_retry_after(text, Timestamp::now()));
    // The status alone decides; an explanation that breaks off is simply missing.
    let body = response.body_mut().with_config().limit(PROBLEM_BYTES_MAX).read_to_vec().unwrap_or_default();
    let mut problem = Problem::from_answer(status.as_u16(), &body);
    if let Some(target) = header(response.headers(), "location").filter(|_| status.is_redirection()) {
        problem.detail = format!("redirected to {target}: use that address");
    }
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(Failure::Transient { cause: Cause::Answered(problem), retry_after });
    }
    Err(Failure::Final(FinalFailure::Refused(problem)))
}

/// A header's text, if it is there and is text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn may_pass(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::Protocol(_)
            | ureq::Error::BodyStalled
    )
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
