//! Threads for what loads prepare: the players come first.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::oneshot;

use crate::allowance::{Allowance, Whose};

/// The priority of such a thread, and of the child processes that it starts: it gets a tenth of a core that everybody wants,
/// and all of one that nobody else does.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A thread that is there for all loads: one for each would still be ending, at its priority, when the load is long answered, and
/// each that begins meanwhile would take memory of its own.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    thread: Pid,
}

impl Worker {
    pub(super) fn start(name: &str) -> io::Result<Worker> {
        let (jobs, given) = mpsc::channel::<Job>();
        let (number, numbered) = mpsc::sync_channel(1);
        let run = move || {
            // Of this thread alone, on Linux.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "loads are prepared at the priority of the players");
            }
            if number.send(rustix::thread::gettid()).is_err() {
                return;
            }
            for job in given {
                // Whoever waits for it learns that it has no outcome, and the log has why.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let thread = numbered.recv().map_err(|_| io::Error::other("it ended at once"))?;
        Ok(Worker { jobs, thread })
    }

    /// Has `work` done after all that was given before. Its outcome is an error if it panics.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (done, outcome) = oneshot::channel();
        // Nobody may wait any more. And a thread that were gone would drop the job, which is the same as a panic.
        let job = move || drop(done.send(work()));
        drop(self.jobs.send(Box::new(job)));
        outcome
    }

    /// A limit, from now on, in which what it waits for a core does not count.
    pub(super) fn allow(&self, time_max: Duration) -> Allowance {
        Allowance::new(Whose::Thread(self.thread), time_max)
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
