//! The open segments: file handles and footers of those that were read last.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::reader::{OpenSegment, ReadError};
use super::segment::Segment;

/// How many segments stay open.
const OPEN_MAX: usize = 128;

/// Keeps segments open for the next search, the one used last in front.
#[derive(Default)]
pub(super) struct Cache {
    open: Mutex<VecDeque<(String, Arc<OpenSegment>)>>,
}

impl Cache {
    /// The segment, opened.
    pub(super) fn get(&self, segment: &Segment) -> Result<Arc<OpenSegment>, ReadError> {
        if let Some(open) = self.find(&segment.info.name) {
            return Ok(open);
        }
        let opened = OpenSegment::open(&*segment.files, &segment.path)?;
        if !opened.footer.segment.is_same(&segment.info) {
            return Err(ReadError::Damaged("it is another segment than the manifest says".to_owned()));
        }
        let opened = Arc::new(opened);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_front((segment.info.name.clone(), opened.clone()));
        open.truncate(OPEN_MAX);
        Ok(opened)
    }

    /// Opens those of `segments` that are likely to be asked for first, the newest, as long as `goes_on`.
    pub(super) fn warm(&self, segments: &[Arc<Segment>], goes_on: impl Fn() -> bool) {
        let mut newest: Vec<&Arc<Segment>> = segments.iter().collect();
        newest.sort_by_key(|segment| Reverse(segment.info.extent.times().end));
        for segment in newest.into_iter().take(OPEN_MAX).take_while(|_| goes_on()) {
            // Whoever reads a segment that cannot be opened finds out why.
            let _ = self.get(segment);
        }
    }

    fn find(&self, name: &str) -> Option<Arc<OpenSegment>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = open.iter().position(|(other, _)| other == name)?;
        let found = open.remove(place)?;
        let segment = found.1.clone();
        open.push_front(found);
        Some(segment)
    }

    /// Whether the segment is open.
    pub(super) fn has(&self, segment: &Segment) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().any(|(name, _)| *name == segment.info.name)
    }

    /// Closes a segment that is no longer used.
    pub(super) fn forget(&self, name: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| other != name);
    }
}
