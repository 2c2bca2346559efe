//! The helper of a thread of rooms: a thread that reads from the sockets of the rooms' players, and applies what it reads.
//!
//! To wake another thread for a message costs more than to apply it. So what players send is done by whoever reads it, a batch of
//! all that was read in one round; what may take long, and what comes at its time, is left to the rooms' own thread.
//!
//! Each thread of rooms has a helper of its own, so a callback that does not return keeps nobody but the players of those rooms,
//! which stand still anyhow.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Weak};
use std::task::Poll;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::rooms::command::Command;
use crate::rooms::inbox::Inbox;
use crate::rooms::thread::{self, RoomThread};

/// Ends when it is dropped, without waiting for a callback that is under way.
#[derive(Debug)]
pub(super) struct Helper(Option<Runtime>);

impl Helper {
    pub(super) fn start(number: usize) -> io::Result<Helper> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name(format!("players-{number}")).enable_all().build()?;
        Ok(Helper(Some(runtime)))
    }

    /// Where the tasks of the players' connections are to run.
    pub(super) fn runtime(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }

    /// Has it help with these rooms, for as long as there are any.
    pub(super) fn help(runtime: &Handle, rooms: &Arc<Mutex<RoomThread>>, inbox: &Arc<Inbox<Command>>) {
        inbox.set_helped();
        runtime.spawn(help(Arc::downgrade(rooms), Arc::clone(inbox)));
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

async fn help(rooms: Weak<Mutex<RoomThread>>, inbox: Arc<Inbox<Command>>) {
    while inbox.called().await {
        last_of_round().await;
        let Some(rooms) = rooms.upgrade() else { return };
        thread::help(&rooms, &inbox);
    }
}

/// Once the tasks that are ready now have had their turn: what their sockets bring comes along. Other than `yield_now` of the
/// runtime, it does not have the kernel asked for more before that.
async fn last_of_round() {
    let mut is_last = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_last, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
