//! A room's way to its log.
//!
//! Outputs that leave when their inputs are written need no other thread: the room writes itself, which takes about a microsecond,
//! and lets them go. It hands over to the journal's thread what it would have to wait for: a file that is being synced, a
//! segment that ends, much at once, and whatever comes after something that was handed over, for order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::batch::Batch;
use super::commit::{AtPosition, Durability, Journal, LogId, Order};
use super::frame::Position;
use super::log::{Log, Task};

/// More than this at once is for the journal's thread: to sum, hash and write it takes long enough for other rooms to notice.
pub const WRITTEN_HERE_BYTES_MAX: u64 = 64 << 10;

/// Writes the records of one room. All methods are for whoever has the room's thread, or helps it.
#[derive(Debug)]
pub struct Writer {
    id: LogId,
    desk: Arc<Desk>,
    journal: Journal,
}

/// Where a room and the journal's thread meet.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// The room only tries: it never waits for the journal's thread.
    pub(super) place: Mutex<Place>,
    /// What the room has ordered and the journal's thread has not let go of.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct Place {
    /// `None` before it is opened, and when it is removed or has failed.
    pub(super) log: Option<Box<dyn Log>>,
    /// A write to a file that is being synced takes as long as the sync, now and then.
    pub(super) is_syncing: bool,
    /// The journal's thread knows that there is something to sync.
    pub(super) is_noted: bool,
}

/// What came of an attempt to write at once.
enum Written {
    Yes,
    /// It is for the journal's thread to do.
    No,
    /// Nothing is let go of any more.
    Failed,
}

impl Writer {
    pub(super) fn new(id: LogId, desk: Arc<Desk>, journal: Journal) -> Self {
        Self { id, desk, journal }
    }

    pub fn id(&self) -> LogId {
        self.id
    }

    /// Lets nothing go until the log is open, also where no record comes before. What a start found may have got as far as the
    /// process before this one and no further: opening the log brings it to the disk, and nobody is to be told of it before.
    pub(super) fn wait_for_log(&self) {
        self.journal.order(Order::Written(Box::new(self.hand_over())));
    }

    /// Takes the records out of a batch, and lets go of `release` when that is allowed: here and now, or later on the journal's
    /// thread. Releases go in the order of their commits.
    pub fn commit(&self, batch: &mut Batch, release: impl FnOnce() + Send + 'static) {
        if self.desk.waiting.load(Ordering::Acquire) == 0 {
            match self.write(batch) {
                Written::Yes => return release(),
                Written::No => {}
                Written::Failed => return,
            }
        }
        let let_go = self.hand_over();
        let release = move || {
            release();
            let_go();
        };
        // Where there is nothing to write, a segment need not end either.
        self.journal.order(match batch.is_empty() {
            true => Order::Written(Box::new(release)),
            false => Order::Commit(self.id, std::mem::take(batch), Box::new(release)),
        });
    }

    fn write(&self, batch: &mut Batch) -> Written {
        if self.journal.failure().is_told() {
            return Written::Failed;
        }
        if batch.is_empty() {
            return Written::Yes;
        }
        if batch.bytes() > WRITTEN_HERE_BYTES_MAX {
            return Written::No;
        }
        let Durability::Within(time) = self.journal.durability() else { return Written::No };
        let Some(mut place) = self.desk.place.try_lock() else { return Written::No };
        let Place { log: Some(log), is_syncing: false, is_noted } = &mut *place else { return Written::No };
        if log.is_full() {
            return Written::No;
        }
        let is_weighty = batch.is_weighty;
        log.append(batch);
        if let Err(error) = log.write() {
            // With the lock held: who takes it next finds no log to go on with, and knows why.
            self.journal.failure().tell(error);
            place.log = None;
            drop(place);
            self.journal.order(Order::Wake);
            return Written::Failed;
        }
        let is_news = is_weighty || !*is_noted;
        *is_noted = true;
        // Not with the lock held: who orders may wait for the journal's thread, which may wait for the lock.
        drop(place);
        if is_news {
            self.journal.order(Order::SyncAt(sync_at(is_weighty, time)));
        }
        Written::Yes
    }

    /// Makes a place after what was committed so far, from which on [`Journal::forget`] can let go of what is before.
    pub fn divide(&self, then: impl FnOnce(Position) + Send + 'static) {
        let let_go = self.hand_over();
        let then: AtPosition = Box::new(move |position| {
            then(position);
            let_go();
        });
        self.journal.order(Order::Divide(self.id, then));
    }

    /// The room is gone, and with it what is kept of it. `then` is given what is left to do for that, on the journal's thread, which
    /// all rooms wait for.
    pub fn remove(self, then: impl FnOnce(Task) + Send + 'static) {
        self.journal.order(Order::Remove(self.id, Box::new(then)));
    }

    /// Until the result is called, all else is handed over, too.
    fn hand_over(&self) -> impl FnOnce() + Send + 'static {
        self.desk.waiting.fetch_add(1, Ordering::Relaxed);
        let desk = Arc::clone(&self.desk);
        move || {
            desk.waiting.fetch_sub(1, Ordering::Release);
        }
    }
}

/// When what is written now is to be synced, at the latest. What is about the room itself does not wait for company.
pub(super) fn sync_at(is_weighty: bool, time: Duration) -> Instant {
    Instant::now() + if is_weighty { Duration::ZERO } else { time }
}
