//! A small HTTP client for the tests, over `ureq`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// Speaks to one server.
#[derive(Clone)]
pub struct Http {
    agent: ureq::Agent,
    url: String,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client of the server at `url`.
    pub fn new(url: &str) -> Http {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .build();
        Http { agent: config.into(), url: url.to_owned() }
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Gets a path.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// Gets a path with query parameters, encoded here.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        answer(request.call())
    }

    /// Gets a path with headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call())
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.post_with(path, body.as_bytes(), &[("content-type", "application/json")])
    }

    /// Posts anything.
    pub fn post_with(&self, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
        self.try_post(path, body, headers).expect("the server answers")
    }

    /// Posts anything to a server that may be gone.
    pub fn try_post(&self, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send(body).map(|response| answer(Ok(response)))
    }

    /// Sends a request with any method and no body.
    pub fn send(&self, method: &str, path: &str) -> Answer {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        answer(self.agent.run(request.body(()).unwrap()))
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The target of `Link: <…>; rel="next"`.
    pub fn next(&self) -> Option<String> {
        let link = self.headers.get("link")?;
        let target = link.strip_prefix('<')?.split_once(">; rel=\"next\"")?.0;
        Some(target.to_owned())
    }
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = result.expect("the server answers");
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: response.body_mut().with_config().limit(1 << 30).read_to_vec().expect("the body arrives"),
    }
}
