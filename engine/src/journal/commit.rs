//! The journal's thread: it writes what rooms hand over, lets their outputs go when they are safe, and has files synced.
//!
//! Several batches that wait are written together, and synced together. A call that fails is the end: nothing is released any
//! more, and whoever started the thread is told why.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::batch::Batch;
use super::failure::{Failure, or_panicked};
use super::frame::Position;
use super::log::{Log, LogError, SyncTask, Task};
use super::writer::{Desk, Writer, sync_at};

/// Orders that wait: a room that is faster than the disk waits for it then.
const ORDERS_MAX: usize = 4096;
/// Batches that are written at a time.
const TOGETHER_MAX: usize = 1024;
const THREAD: &str = "journal";
const SYNC_THREAD: &str = "journal-sync";

/// When outputs may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When the inputs that caused them survive the machine.
    Tick,
    /// When those survive the process; the machine, after this time at the latest.
    Within(Duration),
    /// At once: there is no journal.
    Off,
}

/// What is let go once the records before it are safe.
pub type Release = Box<dyn FnOnce() + Send>;
/// What is done with a place in a room's journal, all before it being synced.
pub(super) type AtPosition = Box<dyn FnOnce(Position) + Send>;

/// Opens the log of a room, on the journal's thread.
pub type OpenLog = Box<dyn FnOnce() -> Result<Box<dyn Log>, LogError> + Send>;
/// Takes what is left to do of a log that was removed.
pub(super) type Clear = Box<dyn FnOnce(Task) + Send>;

/// Which log a batch is for. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

pub(super) enum Order {
    Add(LogId, Arc<Desk>, OpenLog),
    Run(Task),
    Commit(LogId, Batch, Release),
    /// Something was written that is to be synced then.
    SyncAt(Instant),
    Divide(LogId, AtPosition),
    Forget(LogId, Position),
    Remove(LogId, Clear),
    /// Lets go when all before is as safe as it must be for its outputs.
    Written(Release),
    Flush(Release),
    /// A sync has ended, or a call has failed, on another thread.
    Wake,
    End,
}

/// A cheap handle on the journal's thread. Every method may be called from any thread; what one thread orders is done in order.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    durability: Durability,
    orders: SyncSender<Order>,
    failure: Arc<Failure>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Not left to the channel: the thread that syncs has an end of it, too.
        let _ = self.orders.send(Order::End);
    }
}

impl Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts the thread. `on_failure` is called on it with the first call that fails; nothing is released after that.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(durability: Durability, on_failure: impl Fn(&LogError) + Send + 'static) -> std::io::Result<Journal> {
        let (orders, received) = sync_channel(ORDERS_MAX);
        let failure = Arc::<Failure>::default();
        // Syncs within some time are made on a thread of their own, for writing must not wait for them.
        let ((tasks, to_sync), (is_synced, synced)) = (channel(), channel());
        if let Durability::Within(_) = durability {
            let (orders, failure) = (orders.clone(), Arc::clone(&failure));
            let sync = move || sync_all(&to_sync, &is_synced, &orders, &failure);
            std::thread::Builder::new().name(SYNC_THREAD.to_owned()).spawn(sync)?;
        }
        let mut committer = Committer {
            durability,
            failure: Arc::clone(&failure),
            desks: BTreeMap::new(),
            tasks,
            synced,
            is_syncing: false,
            sync_at: None,
            unwritten: Vec::new(),
            held: Vec::new(),
            flushing: Vec::new(),
            to_flush: Vec::new(),
            at_positions: Vec::new(),
        };
        let run = {
            let failure = Arc::clone(&failure);
            move || {
                // It is still there when rooms are told to stop: they go on when the first release of its is dropped.
                if let Err(error) = or_panicked(THREAD, || committer.run(&received)) {
                    failure.close();
                    on_failure(&error);
                }
                // From here on orders go nowhere, and their releases are dropped.
            }
        };
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(run)?;
        Ok(Journal(Arc::new(Handle { durability, orders, failure, thread: Mutex::new(Some(thread)) })))
    }

    /// Takes the log of a room in.
    pub fn add(&self, id: LogId, open: OpenLog) -> Writer {
        let desk = Arc::new(Desk::default());
        self.order(Order::Add(id, Arc::clone(&desk), open));
        let writer = Writer::new(id, desk, self.clone());
        writer.wait_for_log();
        writer
    }

    /// Has something done after all that was ordered before.
    pub fn run(&self, task: Task) {
        self.order(Order::Run(task));
    }

    /// Nobody is going to ask for the records up to here any more.
    pub fn forget(&self, id: LogId, upto: Position) {
        self.order(Order::Forget(id, upto));
    }

    /// Waits for all that was committed to be as safe as it must be before its outputs leave. False if that was not to be.
    pub fn written(&self) -> bool {
        let (done, is_done) = channel();
        self.order(Order::Written(Box::new(move || {
            let _ = done.send(());
        })));
        is_done.recv().is_ok()
    }

    /// Lets go of `then` when all that was committed before survives the machine.
    pub fn flush(&self, then: Release) {
        self.order(Order::Flush(then));
    }

    /// Waits for all that was committed to survive the machine. False if that was not to be.
    pub fn flushed(&self) -> bool {
        let (done, is_done) = channel();
        self.flush(Box::new(move || {
            let _ = done.send(());
        }));
        is_done.recv().is_ok()
    }

    pub(super) fn durability(&self) -> Durability {
        self.0.durability
    }

    /// Once it is told, nothing may be let go of any more. Whoever tells it wakes the journal's thread.
    pub(super) fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// A call has failed that is none of the journal's own, or a thread has panicked that rooms depend on: nothing is let go of any
    /// more, and whoever started the journal is told by its thread, if that is still there.
    pub fn fail(&self, error: LogError) {
        self.0.failure.tell(error);
        // Where orders wait, the thread is awake, and finds it before it lets go of anything.
        let _ = self.0.orders.try_send(Order::Wake);
    }

    pub(super) fn order(&self, order: Order) {
        // The thread ends only after a failure, which has been told.
        let _ = self.0.orders.send(order);
    }

    /// Ends the thread, all that was committed being safe, and waits for it.
    pub fn end(&self) {
        self.order(Order::End);
        if let Some(thread) = self.0.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// What a sync was about: the last record of each log.
type Synced = Vec<(LogId, u64)>;

struct Committer {
    durability: Durability,
    failure: Arc<Failure>,
    /// In an order of their own, so that the same orders make the same calls on files.
    desks: BTreeMap<LogId, Arc<Desk>>,
    tasks: Sender<Vec<(LogId, SyncTask)>>,
    /// Not among the orders: it is waited for while those wait.
    synced: Receiver<Synced>,
    /// Tasks are under way on the other thread.
    is_syncing: bool,
    /// When what was written is to be synced; `None` if all is.
    sync_at: Option<Instant>,
    /// Logs that have taken records, and not written them.
    unwritten: Vec<LogId>,
    /// Not released.
    held: Vec<Release>,
    /// Released when the tasks that are under way are done …
    flushing: Vec<Release>,
    /// … and those for which the next ones are.
    to_flush: Vec<Release>,
    at_positions: Vec<(AtPosition, Position)>,
}

impl Committer {
    /// Until the last handle is gone, or a call fails.
    fn run(&mut self, orders: &Receiver<Order>) -> Result<(), LogError> {
        loop {
            let wait = self.sync_at.filter(|_| !self.is_syncing).map(|at| at.saturating_duration_since(Instant::now()));
            let first = match wait {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => orders.recv_timeout(wait),
            };
            let first = match first {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Order::End),
            };
            let (mut must_sync, mut is_end) = (false, false);
            for order in first.into_iter().chain(std::iter::from_fn(|| orders.try_recv().ok()).take(TOGETHER_MAX)) {
                is_end |= matches!(order, Order::End);
                must_sync |= self.carry_out(order)?;
            }
            // After the orders: one of them may have been the word that there is something.
            if let Ok(synced) = self.synced.try_recv() {
                self.note_synced(synced);
            }
            self.write()?;
            if must_sync {
                self.sync_here()?;
            }
            // What is on its way out may have been lost on another thread.
            self.failure.check()?;
            // First, so that whoever waits for a release finds the snapshots ordered that came before it.
            self.at_positions.drain(..).for_each(|(then, position)| then(position));
            self.held.drain(..).for_each(|release| release());
            if is_end {
                return Ok(());
            }
            self.sync_elsewhere()?;
        }
    }

    /// True if what was written must be synced before anything is released.
    fn carry_out(&mut self, order: Order) -> Result<bool, LogError> {
        match order {
            Order::Add(id, desk, open) => {
                desk.place.lock().log = Some(open()?);
                self.desks.insert(id, desk);
            }
            Order::Run(task) => task()?,
            Order::Commit(id, batch, release) => {
                self.held.push(release);
                self.append(id, batch)?;
                return Ok(!self.syncs_elsewhere());
            }
            Order::SyncAt(at) => self.note_sync(at),
            Order::Divide(id, then) => {
                let position = self.divide(id)?;
                self.at_positions.extend(position.map(|position| (then, position)));
            }
            Order::Forget(id, upto) => {
                self.with_log(id, |log| log.forget(upto)).transpose()?;
            }
            Order::Remove(id, then) => {
                let log = self.desks.remove(&id).and_then(|desk| desk.place.lock().log.take());
                if let Some(rest) = log.map(Log::remove).transpose()? {
                    self.held.push(Box::new(move || then(rest)));
                }
            }
            Order::Written(then) => self.held.push(then),
            Order::Flush(then) if self.syncs_elsewhere() => self.to_flush.push(then),
            Order::Flush(then) => {
                self.held.push(then);
                return Ok(true);
            }
            Order::Wake => {}
            Order::End => {
                self.held.append(&mut self.flushing);
                self.held.append(&mut self.to_flush);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `None` for a room that is gone.
    fn with_log<R>(&self, id: LogId, then: impl FnOnce(&mut Box<dyn Log>) -> R) -> Option<R> {
        self.desks.get(&id).and_then(|desk| desk.place.lock().log.as_mut().map(then))
    }

    /// Ends a segment, and says where.
    fn divide(&mut self, id: LogId) -> Result<Option<Position>, LogError> {
        if self.desks.get(&id).is_some_and(|desk| desk.place.lock().is_syncing) {
            self.wait_for_sync()?;
        }
        self.with_log(id, |log| log.divide().map(|()| log.position())).transpose()
    }

    /// Before a file is synced here that is being synced elsewhere: of two syncs the system tells only one that a write was lost.
    fn wait_for_sync(&mut self) -> Result<(), LogError> {
        if self.is_syncing {
            // None comes where the other thread has ended, having told why.
            if let Ok(synced) = self.synced.recv() {
                self.note_synced(synced);
            }
        }
        self.failure.check()
    }

    fn note_synced(&mut self, synced: Synced) {
        self.is_syncing = false;
        self.held.append(&mut self.flushing);
        for (id, seq) in synced {
            if let Some(desk) = self.desks.get(&id) {
                let mut place = desk.place.lock();
                place.is_syncing = false;
                place.log.iter_mut().for_each(|log| log.synced(seq));
            }
        }
    }

    /// Whether writing, and what waits for no more than that, goes on during a sync.
    fn syncs_elsewhere(&self) -> bool {
        matches!(self.durability, Durability::Within(_))
    }

    fn append(&mut self, id: LogId, mut batch: Batch) -> Result<(), LogError> {
        let is_weighty = batch.is_weighty;
        let desk = self.desks.get(&id).expect("a room's log is added before it is written to");
        let mut place = desk.place.lock();
        place.is_noted = true;
        // It was opened when it was added, and may have failed since.
        let Some(log) = &mut place.log else { return self.failure.check() };
        log.append(&mut batch);
        drop(place);
        if let Durability::Within(time) = self.durability {
            self.note_sync(sync_at(is_weighty, time));
        }
        if self.unwritten.last() != Some(&id) {
            self.unwritten.push(id);
        }
        Ok(())
    }

    fn note_sync(&mut self, at: Instant) {
        self.sync_at = Some(self.sync_at.map_or(at, |before| before.min(at)));
    }

    fn write(&mut self) -> Result<(), LogError> {
        for id in std::mem::take(&mut self.unwritten) {
            // It may have been removed meanwhile.
            let is_full = self.with_log(id, |log| log.write().map(|()| log.is_full())).transpose()?;
            if is_full == Some(true) {
                self.divide(id)?;
            }
        }
        Ok(())
    }

    fn sync_here(&mut self) -> Result<(), LogError> {
        self.wait_for_sync()?;
        for desk in self.desks.values() {
            let mut place = desk.place.lock();
            place.is_noted = false;
            if let Some(log) = &mut place.log
                && let Some(SyncTask { seq, run }) = log.sync_task()
            {
                run()?;
                log.synced(seq);
            }
        }
        self.sync_at = None;
        Ok(())
    }

    fn sync_elsewhere(&mut self) -> Result<(), LogError> {
        if self.is_syncing || (self.to_flush.is_empty() && self.sync_at.is_none_or(|at| at > Instant::now())) {
            return Ok(());
        }
        let mut tasks = Vec::new();
        for (id, desk) in &self.desks {
            let mut place = desk.place.lock();
            place.is_noted = false;
            let task = place.log.as_mut().and_then(|log| log.sync_task());
            place.is_syncing = task.is_some();
            tasks.extend(task.map(|task| (*id, task)));
        }
        // There is nothing to sync of a log that has failed meanwhile.
        self.failure.check()?;
        self.sync_at = None;
        self.flushing.append(&mut self.to_flush);
        if tasks.is_empty() {
            self.flushing.drain(..).for_each(|release| release());
        } else {
            self.is_syncing = self.tasks.send(tasks).is_ok();
        }
        Ok(())
    }
}

/// What the other thread does, until the journal's thread has gone or a call fails.
fn sync_all(
    tasks: &Receiver<Vec<(LogId, SyncTask)>>,
    is_synced: &Sender<Synced>,
    orders: &SyncSender<Order>,
    failure: &Failure,
) {
    let sync = |tasks: Vec<(LogId, SyncTask)>| {
        tasks.into_iter().map(|(id, SyncTask { seq, run })| run().map(|()| (id, seq))).collect()
    };
    for tasks in tasks {
        let synced = or_panicked(SYNC_THREAD, || sync(tasks));
        let has_failed = synced.is_err();
        // First what is told, then the call.
        match synced {
            Ok(synced) => _ = is_synced.send(synced),
            Err(error) => failure.tell(error),
        }
        // Where orders wait, the journal's thread is awake, and it has to be told nothing: it looks after each of them.
        let _ = orders.try_send(Order::Wake);
        if has_failed {
            return;
        }
    }
}
