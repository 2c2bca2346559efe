//! Threads for what loads prepare: the players come first.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;

/// The priority of such a thread, and of the child processes that it starts: it gets a tenth of a core that everybody wants,
/// and all of one that nobody else does.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that is there for all loads: one for each would still be ending, at its priority, when the load is long answered, and
/// each that begins meanwhile would take memory of its own.
#[derive(Debug)]
pub(super) struct Worker(mpsc::Sender<Job>);

impl Worker {
    pub(super) fn start(name: &str) -> io::Result<Worker> {
        let (jobs, given) = mpsc::channel::<Job>();
        let run = move || {
            // Of this thread alone, on Linux.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "loads are prepared at the priority of the players");
            }
            for job in given {
                // Whoever waits for it learns that it has no outcome, and the log has why.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Worker(jobs))
    }

    /// Has `work` done after all that was given before. Its outcome is an error if it panics.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, outcome) = oneshot::channel();
        // Nobody may wait any more. And a thread that were gone would drop the job, which is the same as a panic.
        let job = move || drop(done.send(work()));
        drop(self.0.send(Box::new(job)));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_has_no_outcome_and_the_next_one_has() {
        let worker = Worker::start("worker").unwrap();
        let (first, second) = (worker.run(|| panic!("as a test wants it")), worker.run(|| std::thread::current().id()));
        let third = worker.run(|| std::thread::current().id());
        let first: Result<(), _> = first.await;
        assert!(first.is_err());
        assert_eq!(second.await.unwrap(), third.await.unwrap(), "one thread does it all");
    }
}
