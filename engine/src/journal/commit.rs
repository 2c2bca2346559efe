//! The journal's thread: it writes what rooms hand over, lets their outputs go when they are safe, and has files synced.
//!
//! Several batches that wait are written together, and synced together. A call that fails is the end: nothing is released any
//! more, and whoever started the thread is told why.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::batch::Batch;
use super::frame::Position;
use super::log::{Log, LogError, SyncTask};
use super::writer::{Desk, Writer, sync_at};

/// Orders that wait: a room that is faster than the disk waits for it then.
const ORDERS_MAX: usize = 4096;
/// Batches that are written at a time.
const TOGETHER_MAX: usize = 1024;

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
/// Something else to do on that thread.
pub type Task = Box<dyn FnOnce() -> Result<(), LogError> + Send>;

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
    Remove(LogId, Release),
    /// Lets go when all before is as safe as it must be for its outputs.
    Written(Release),
    Flush(Release),
    Synced(Vec<(LogId, u64)>),
    Failed(LogError),
    End,
}

/// A cheap handle on the journal's thread. Every method may be called from any thread; what one thread orders is done in order.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    durability: Durability,
    orders: SyncSender<Order>,
    has_failed: Arc<AtomicBool>,
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
        let has_failed = Arc::new(AtomicBool::new(false));
        // Syncs within some time are made on a thread of their own, for writing must not wait for them.
        let (tasks, to_sync) = channel::<Vec<(LogId, SyncTask)>>();
        if let Durability::Within(_) = durability {
            let (orders, has_failed) = (orders.clone(), Arc::clone(&has_failed));
            let sync = move || to_sync.into_iter().try_for_each(|tasks| orders.send(sync_all(tasks, &has_failed)).ok());
            std::thread::Builder::new().name("journal-sync".to_owned()).spawn(sync)?;
        }
        let mut committer = Committer {
            durability,
            desks: BTreeMap::new(),
            tasks,
            is_syncing: false,
            sync_at: None,
            unwritten: Vec::new(),
            held: Vec::new(),
            flushing: Vec::new(),
            to_flush: Vec::new(),
            at_positions: Vec::new(),
        };
        let run = {
            let has_failed = Arc::clone(&has_failed);
            move || {
                // It is still there when rooms are told to stop: they go on when the first release of its is dropped.
                if let Err(error) = committer.run(&received) {
                    has_failed.store(true, Ordering::SeqCst);
                    on_failure(&error);
                }
                // From here on orders go nowhere, and their releases are dropped.
            }
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        Ok(Journal(Arc::new(Handle { durability, orders, has_failed, thread: Mutex::new(Some(thread)) })))
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

    /// Nothing may be let go of any more.
    pub(super) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::SeqCst)
    }

    /// A call has failed on another thread than the journal's.
    pub(super) fn fail(&self, error: LogError) {
        self.0.has_failed.store(true, Ordering::SeqCst);
        self.order(Order::Failed(error));
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

struct Committer {
    durability: Durability,
    /// In an order of their own, so that the same orders make the same calls on files.
    desks: BTreeMap<LogId, Arc<Desk>>,
    tasks: Sender<Vec<(LogId, SyncTask)>>,
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
            self.write()?;
            if must_sync {
                self.sync_here()?;
            }
            // First, so that whoever waits for a release finds the snapshots ordered that came before it.
            self.at_positions.drain(..).for_each(|(then, position)| then(position));
            self.held.drain(..).for_each(|release| release());
            if is_end {
                return Ok(());
            }
            self.sync_elsewhere();
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
                self.append(id, batch);
                return Ok(!self.syncs_elsewhere());
            }
            Order::SyncAt(at) => self.note_sync(at),
            Order::Divide(id, then) => {
                let position = self.with_log(id, |log| log.divide().map(|()| log.position()));
                self.at_positions.extend(position.transpose()?.map(|position| (then, position)));
            }
            Order::Forget(id, upto) => {
                self.with_log(id, |log| log.forget(upto)).transpose()?;
            }
            Order::Remove(id, then) => {
                self.held.push(then);
                let log = self.desks.remove(&id).and_then(|desk| desk.place.lock().log.take());
                log.map_or(Ok(()), Log::remove)?;
            }
            Order::Written(then) => self.held.push(then),
            Order::Flush(then) if self.syncs_elsewhere() => self.to_flush.push(then),
            Order::Flush(then) => {
                self.held.push(then);
                return Ok(true);
            }
            Order::Synced(upto) => {
                self.is_syncing = false;
                self.held.append(&mut self.flushing);
                for (id, seq) in upto {
                    if let Some(desk) = self.desks.get(&id) {
                        let mut place = desk.place.lock();
                        place.is_syncing = false;
                        place.log.iter_mut().for_each(|log| log.synced(seq));
                    }
                }
            }
            Order::Failed(error) => return Err(error),
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

    /// Whether writing, and what waits for no more than that, goes on during a sync.
    fn syncs_elsewhere(&self) -> bool {
        matches!(self.durability, Durability::Within(_))
    }

    fn append(&mut self, id: LogId, mut batch: Batch) {
        let is_weighty = batch.is_weighty;
        let desk = self.desks.get(&id).expect("a room's log is added before it is written to");
        let mut place = desk.place.lock();
        place.is_noted = true;
        place.log.as_mut().expect("opened when it was added").append(&mut batch);
        drop(place);
        if let Durability::Within(time) = self.durability {
            self.note_sync(sync_at(is_weighty, time));
        }
        if self.unwritten.last() != Some(&id) {
            self.unwritten.push(id);
        }
    }

    fn note_sync(&mut self, at: Instant) {
        self.sync_at = Some(self.sync_at.map_or(at, |before| before.min(at)));
    }

    fn write(&mut self) -> Result<(), LogError> {
        for id in std::mem::take(&mut self.unwritten) {
            let write = |log: &mut Box<dyn Log>| {
                log.write()?;
                if log.is_full() { log.divide() } else { Ok(()) }
            };
            // It may have been removed meanwhile.
            self.with_log(id, write).transpose()?;
        }
        Ok(())
    }

    fn sync_here(&mut self) -> Result<(), LogError> {
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

    fn sync_elsewhere(&mut self) {
        if self.is_syncing || (self.to_flush.is_empty() && self.sync_at.is_none_or(|at| at > Instant::now())) {
            return;
        }
        let mut tasks = Vec::new();
        for (id, desk) in &self.desks {
            let mut place = desk.place.lock();
            place.is_noted = false;
            let task = place.log.as_mut().and_then(|log| log.sync_task());
            place.is_syncing = task.is_some();
            tasks.extend(task.map(|task| (*id, task)));
        }
        self.sync_at = None;
        self.flushing.append(&mut self.to_flush);
        if tasks.is_empty() {
            self.flushing.drain(..).for_each(|release| release());
        } else {
            self.is_syncing = self.tasks.send(tasks).is_ok();
        }
    }
}

fn sync_all(tasks: Vec<(LogId, SyncTask)>, has_failed: &AtomicBool) -> Order {
    let mut synced = Vec::with_capacity(tasks.len());
    for (id, SyncTask { seq, run }) in tasks {
        match run() {
            Ok(()) => synced.push((id, seq)),
            Err(error) => {
                // Before the journal's thread hears of it: rooms write by themselves.
                has_failed.store(true, Ordering::SeqCst);
                return Order::Failed(error);
            }
        }
    }
    Order::Synced(synced)
}
