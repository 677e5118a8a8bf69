//! The contract over MongoDB.

use sluice::config::RetentionSettings;

use super::{Subject, contract_of};
use crate::mongodb::{Database, open_at};
use crate::support::mongo::MongoServer;

fn open(test: &str, retention: RetentionSettings) -> Option<Subject> {
    let server = MongoServer::shared(test)?;
    let database = Database::new(server.uri());
    Some(Subject { store: open_at(&database.uri, retention), keep: Box::new(database) })
}

contract_of!(open);
