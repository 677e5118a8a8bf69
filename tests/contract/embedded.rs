//! The contract over the embedded engine.

use prometheus_client::registry::Registry;
use sluice::config::{RetentionSettings, Settings};
use sluice::store::embedded::EmbeddedStore;

use super::{Subject, contract_of};

fn open(_test: &str, retention: RetentionSettings) -> Option<Subject> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings::default().embedded;
    let store = EmbeddedStore::open(folder.path(), &settings, retention, &[], &mut Registry::default());
    Some(Subject { store: store.expect("a store in an empty folder"), keep: Box::new(folder) })
}

contract_of!(open);
