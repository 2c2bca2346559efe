//! The journal's thread: it writes the batches of all rooms, lets their outputs go when they are safe, and has files synced.
//!
//! Several batches that wait are written together, and synced together. A call that fails is the end: nothing is released any
//! more, and whoever started the thread is told why.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::batch::Batch;
use super::frame::Position;
use super::log::{Log, LogError, SyncTask};

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
pub type AtPosition = Box<dyn FnOnce(Position) + Send>;

/// Opens the log of a room, on the journal's thread.
pub type OpenLog = Box<dyn FnOnce() -> Result<Box<dyn Log>, LogError> + Send>;
/// Something else to do on that thread.
pub type Task = Box<dyn FnOnce() -> Result<(), LogError> + Send>;

/// Which log a batch is for. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u64);

enum Order {
    Add(LogId, OpenLog),
    Run(Task),
    Commit(Vec<(LogId, Batch)>, Release),
    Divide(LogId, AtPosition),
    Forget(LogId, Position),
    Remove(LogId, Release),
    Flush(Release),
    Synced(Vec<(LogId, u64)>),
    Failed(LogError),
    End,
}

/// A cheap handle on the journal's thread. Every method may be called from any thread; what one thread orders is done in order.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    orders: SyncSender<Order>,
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
        // Syncs within some time are made on a thread of their own, for writing must not wait for them.
        let (tasks, to_sync) = channel::<Vec<(LogId, SyncTask)>>();
        if let Durability::Within(_) = durability {
            let orders = orders.clone();
            let sync = move || to_sync.into_iter().try_for_each(|tasks| orders.send(sync_all(tasks)).ok());
            std::thread::Builder::new().name("journal-sync".to_owned()).spawn(sync)?;
        }
        let committer = Committer {
            durability,
            logs: HashMap::new(),
            tasks,
            is_syncing: false,
            sync_at: None,
            unwritten: Vec::new(),
            held: Vec::new(),
            flushing: Vec::new(),
            to_flush: Vec::new(),
            at_positions: Vec::new(),
        };
        let run = move || {
            if let Err(error) = committer.run(&received) {
                on_failure(&error);
            }
            // From here on orders go nowhere, and their releases are dropped.
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        Ok(Journal(Arc::new(Handle { orders, thread: Mutex::new(Some(thread)) })))
    }

    /// Takes the log of a room in.
    pub fn add(&self, id: LogId, open: OpenLog) {
        self.order(Order::Add(id, open));
    }

    /// Has something done after all that was ordered before.
    pub fn run(&self, task: Task) {
        self.order(Order::Run(task));
    }

    /// Writes batches, and lets go of `release` when that is allowed; releases go in the order of their commits.
    pub fn commit(&self, batches: Vec<(LogId, Batch)>, release: Release) {
        self.order(Order::Commit(batches, release));
    }

    /// Makes a place after what was committed so far, from which on [`Journal::forget`] can let go of what is before.
    pub fn divide(&self, id: LogId, then: AtPosition) {
        self.order(Order::Divide(id, then));
    }

    /// Nobody is going to ask for the records up to here any more.
    pub fn forget(&self, id: LogId, upto: Position) {
        self.order(Order::Forget(id, upto));
    }

    /// The room is gone, and with it what is kept of it.
    pub fn remove(&self, id: LogId, then: Release) {
        self.order(Order::Remove(id, then));
    }

    /// Waits for all that was committed to be as safe as it must be before its outputs leave. False if that was not to be.
    pub fn written(&self) -> bool {
        let (done, is_done) = channel();
        let release = move || {
            let _ = done.send(());
        };
        self.commit(Vec::new(), Box::new(release));
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

    fn order(&self, order: Order) {
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
    logs: HashMap<LogId, Box<dyn Log>>,
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
    fn run(mut self, orders: &Receiver<Order>) -> Result<(), LogError> {
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
            Order::Add(id, open) => {
                self.logs.insert(id, open()?);
            }
            Order::Run(task) => task()?,
            Order::Commit(batches, release) => {
                self.held.push(release);
                return Ok(self.append(batches));
            }
            Order::Divide(id, then) => {
                if let Some(log) = self.logs.get_mut(&id) {
                    log.divide()?;
                    self.at_positions.push((then, log.position()));
                }
            }
            Order::Forget(id, upto) => self.logs.get_mut(&id).map_or(Ok(()), |log| log.forget(upto))?,
            Order::Remove(id, then) => {
                self.held.push(then);
                self.logs.remove(&id).map_or(Ok(()), Log::remove)?;
            }
            Order::Flush(then) if self.syncs_elsewhere() => self.to_flush.push(then),
            Order::Flush(then) => {
                self.held.push(then);
                return Ok(true);
            }
            Order::Synced(upto) => {
                self.is_syncing = false;
                self.held.append(&mut self.flushing);
                for (id, seq) in upto {
                    if let Some(log) = self.logs.get_mut(&id) {
                        log.synced(seq);
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

    /// Whether writing, and what waits for no more than that, goes on during a sync.
    fn syncs_elsewhere(&self) -> bool {
        matches!(self.durability, Durability::Within(_))
    }

    fn append(&mut self, batches: Vec<(LogId, Batch)>) -> bool {
        for (id, mut batch) in batches {
            if let Durability::Within(time) = self.durability {
                // What is about the room itself does not wait for company.
                let at = Instant::now() + if batch.is_weighty { Duration::ZERO } else { time };
                self.sync_at = Some(self.sync_at.map_or(at, |before| before.min(at)));
            }
            let log = self.logs.get_mut(&id).expect("a room's log is added before it is written to");
            log.append(&mut batch);
            if self.unwritten.last() != Some(&id) {
                self.unwritten.push(id);
            }
        }
        !self.syncs_elsewhere()
    }

    fn write(&mut self) -> Result<(), LogError> {
        for id in self.unwritten.drain(..) {
            // It may have been removed meanwhile.
            let Some(log) = self.logs.get_mut(&id) else { continue };
            log.write()?;
            if log.is_full() {
                log.divide()?;
            }
        }
        Ok(())
    }

    fn sync_here(&mut self) -> Result<(), LogError> {
        for log in self.logs.values_mut() {
            if let Some(SyncTask { seq, run }) = log.sync_task() {
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
        let tasks: Vec<_> = self.logs.iter_mut().filter_map(|(id, log)| Some((*id, log.sync_task()?))).collect();
        self.sync_at = None;
        self.flushing.append(&mut self.to_flush);
        if tasks.is_empty() {
            self.flushing.drain(..).for_each(|release| release());
        } else {
            self.is_syncing = self.tasks.send(tasks).is_ok();
        }
    }
}

fn sync_all(tasks: Vec<(LogId, SyncTask)>) -> Order {
    let mut synced = Vec::with_capacity(tasks.len());
    for (id, SyncTask { seq, run }) in tasks {
        match run() {
            Ok(()) => synced.push((id, seq)),
            Err(error) => return Order::Failed(error),
        }
    }
    Order::Synced(synced)
}
