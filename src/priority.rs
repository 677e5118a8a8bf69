//! Threads that give way to requests where a machine has more to do than it can.

/// Work that nobody waits for.
#[derive(Debug, Clone, Copy)]
pub enum Background {
    /// Making segments of what was accepted. What waits for it is safe in the spool, and takes room there: where there
    /// is always more to do, it still has a tenth of a processor.
    Store,
    /// Picking what live tails follow. Who follows more than the machine can give is told what was passed over.
    Tails,
}

impl Background {
    /// How nice the thread is: each step is a fifth less of a processor's time beside others.
    fn niceness(self) -> i32 {
        match self {
            Background::Store => 10,
            Background::Tails => 15,
        }
    }
}

/// Lowers the priority of the calling thread, and of those that it starts, for good. A failure costs speed alone.
#[cfg(target_os = "linux")]
pub fn give_way(work: Background) {
    if let Err(error) = rustix::process::nice(work.niceness()) {
        log::debug!(error:%; "a thread keeps its priority");
    }
}

/// Elsewhere only a whole process has a priority.
#[cfg(not(target_os = "linux"))]
pub fn give_way(work: Background) {
    let _ = work.niceness();
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_gives_way() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let within = std::thread::spawn(move || {
            give_way(Background::Tails);
            niceness()
        });
        assert_eq!(within.join().unwrap(), (before + Background::Tails.niceness()).min(19));
        assert_eq!(niceness(), before);
    }
}
