//! Threads for what a load prepares: the players come first.

use std::io;

/// The priority of such a thread, and of the child processes that it starts: it gets a tenth of a core that everybody wants,
/// and all of one that nobody else does.
const NICE: i32 = 10;

/// Has `work` done by a thread of its own.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        // Of this thread alone, on Linux.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "a load is prepared at the priority of the players");
        }
        work();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}
