//! What the tests stand on: the real server, an HTTP client, a MongoDB-protocol server.

pub mod http;
pub mod mongo;
pub mod server;
