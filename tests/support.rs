//! What the tests share: the real server, an HTTP client, a MongoDB-protocol server.

pub mod http;
pub mod server;
