//! A thread that writes out what many tails send, so that no request waits for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};

use log::error;
use tokio::sync::oneshot;

use crate::priority::{Background, give_way};

type Work = Box<dyn FnOnce() + Send>;

/// Gives work to the thread, which ends with it. Each tail gives one piece at a time, so that not many wait.
#[derive(Debug)]
pub(super) struct Scribe(Sender<Work>);

impl Scribe {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start() -> std::io::Result<Scribe> {
        let (sender, receiver) = channel::<Work>();
        let run = move || {
            give_way(Background::Tails);
            for work in receiver {
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    error!("what a tail sends could not be written; the tail ends");
                }
            }
        };
        std::thread::Builder::new().name("tail-scribe".to_owned()).spawn(run)?;
        Ok(Scribe(sender))
    }

    /// Does `work` there; nothing, if it panicked.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        // Whoever waits for it may be gone by then.
        self.0.send(Box::new(move || drop(done.send(work())))).ok()?;
        result.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn it_outlives_work_that_panics() {
        let scribe = Scribe::start().unwrap();
        assert_eq!(
            scribe.run(|| std::thread::current().name().map(str::to_owned)).await.unwrap().unwrap(),
            "tail-scribe"
        );
        assert_eq!(scribe.run(|| -> () { panic!("on purpose") }).await, None);
        assert_eq!(scribe.run(|| 7).await, Some(7));
    }
}
