//! What the tests stand on: the real server, an HTTP client, a follower of tails, a MongoDB-protocol server.

pub mod follower;
pub mod http;
pub mod mongo;
pub mod server;
