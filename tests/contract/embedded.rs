//! The contract over the embedded engine: in memory, and with what is written going to disk at once.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use sluice::config::{EmbeddedSettings, RetentionSettings, Settings};
use sluice::files::{Disk, Files};
use sluice::store::embedded::EmbeddedStore;

use super::Subject;

mod memory {
    use super::super::contract_of;
    use super::{Settings, Subject};
    use sluice::config::RetentionSettings;

    fn open(_test: &str, retention: RetentionSettings) -> Option<Subject> {
        super::store(&Settings::default().embedded, retention)
    }

    contract_of!(open);
}

mod disk {
    use super::super::contract_of;
    use super::{EmbeddedSettings, Settings, Subject};
    use sluice::config::RetentionSettings;

    fn open(_test: &str, retention: RetentionSettings) -> Option<Subject> {
        super::store(&EmbeddedSettings { flush_rows: 4, ..Settings::default().embedded }, retention)
    }

    contract_of!(open);
}

fn store(settings: &EmbeddedSettings, retention: RetentionSettings) -> Option<Subject> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files: Arc<dyn Files> = Arc::new(Disk);
    let store = EmbeddedStore::open(&files, folder.path(), settings, retention, &[], &mut Registry::default());
    Some(Subject { store: store.expect("a store in an empty folder"), keep: Box::new(folder) })
}
