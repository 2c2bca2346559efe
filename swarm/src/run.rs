//! A whole run: threads of players, swaps beside them, and what they add up to.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::options::{IN_FLIGHT_MAX, Options, PLAYERS_MAX, Pace, RATE_MAX, THREADS_MAX};
use crate::progress::{Meter, Progress};
use crate::report::Report;
use crate::swaps::{self, SwapLog, Window};
use crate::tally::{Tally, Times};
use crate::worker;

/// How often the run is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// For the last ones to be let in, after the time that joining takes by its rate.
const JOIN_MAX: Duration = Duration::from_secs(20);
/// Descriptors beside those of the players.
const DESCRIPTORS_BESIDE: u64 = 64;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{host} is no address: {source}")]
    Address { host: String, source: io::Error },
    #[error("{what} is {found}; accepted is {accepted}")]
    Value { what: &'static str, found: String, accepted: String },
    #[error(
        "{players} players need {needed} open files, this process may have {allowed}: raise it (ulimit -n), or take fewer"
    )]
    Descriptors { players: u32, needed: u64, allowed: u64 },
    #[error("nobody was let in at {target}: {reason}")]
    Nobody { target: String, reason: String },
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
}

/// Ends a run early; its report tells of what was.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The parts of a run, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Joining,
    /// Messages are sent, and frames counted.
    Running,
    /// Nothing more is sent; what is open may still be confirmed.
    Draining,
    Leaving,
}

impl Phase {
    pub(crate) fn of(number: u8) -> Phase {
        [Phase::Joining, Phase::Running, Phase::Draining, Phase::Leaving][usize::from(number)]
    }
}

/// What all threads of a run see.
#[derive(Debug)]
pub(crate) struct Run {
    began: Instant,
    pub(crate) phase: AtomicU8,
    run_started: AtomicU64,
    pub(crate) window: Window,
    /// One for each thread of players.
    pub(crate) slots: Vec<Slot>,
    pub(crate) swaps: Mutex<SwapLog>,
}

/// What one thread says about itself while it runs.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Players who are in, or never will be.
    pub(crate) settled: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) disconnects: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) recent: Mutex<Times>,
    pub(crate) drained: AtomicBool,
}

impl Slot {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            settled: zero(),
            joined: zero(),
            refused: zero(),
            disconnects: zero(),
            sent: zero(),
            confirmed: zero(),
            frames: zero(),
            recent: Mutex::new(Times::new()),
            drained: AtomicBool::new(false),
        }
    }
}

impl Run {
    fn new(threads: usize) -> Self {
        Self {
            began: Instant::now(),
            phase: AtomicU8::new(Phase::Joining as u8),
            run_started: AtomicU64::new(0),
            window: Window::default(),
            slots: (0..threads).map(|_| Slot::new()).collect(),
            swaps: Mutex::default(),
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("584 years fit")
    }

    pub(crate) fn run_started(&self) -> u64 {
        self.run_started.load(Ordering::Relaxed)
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(crate) fn sum(&self, figure: impl Fn(&Slot) -> &AtomicU64) -> u64 {
        self.slots.iter().map(|slot| figure(slot).load(Ordering::Relaxed)).sum()
    }
}

/// Runs to the end; `progress` is called about once a second. Blocks as long as that takes.
///
/// # Errors
/// [`RunError`] if the options cannot be, or if not one player was let in.
pub fn run(options: &Options, stop: &Stop, progress: impl FnMut(&Progress)) -> Result<Report, RunError> {
    check(options)?;
    let address = resolve(&options.target.host)?;
    raise_descriptors(options.players)?;
    let threads = options.threads.min(usize::try_from(options.players).expect("within the limit"));
    let (options, run) = (Arc::new(options.clone()), Arc::new(Run::new(threads)));
    let workers = start(&options, address, &run)?;
    let lasted = direct(&options, &run, stop, progress);
    let mut tally = Tally::new();
    for worker in workers {
        tally.merge(worker.join().expect("a thread of players does not panic"));
    }
    if tally.joined == 0 {
        let reason = tally.refused.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason);
        let reason = reason.unwrap_or_else(|| "stopped before anybody had joined".to_owned());
        return Err(RunError::Nobody { target: options.target.to_string(), reason });
    }
    let swaps = std::mem::take(&mut *run.swaps.lock());
    Ok(Report::new(&options, tally, swaps, lasted))
}

fn start(
    options: &Arc<Options>,
    address: SocketAddr,
    run: &Arc<Run>,
) -> Result<Vec<thread::JoinHandle<Tally>>, RunError> {
    let threads = u32::try_from(run.slots.len()).expect("within the limit");
    let (share, rest) = (options.players / threads, options.players % threads);
    let mut first = 0;
    let mut workers = Vec::new();
    for worker in 0..threads {
        let count = share + u32::from(worker < rest);
        let (options, shared) = (Arc::clone(options), Arc::clone(run));
        let place = usize::try_from(worker).expect("within the limit");
        let work = move || worker::work(options, address, shared, place, first, count);
        match thread::Builder::new().name(format!("players-{worker}")).spawn(work) {
            Ok(handle) => workers.push(handle),
            Err(error) => {
                run.enter(Phase::Leaving);
                return Err(RunError::Thread(error));
            }
        }
        first += count;
    }
    Ok(workers)
}

/// Takes the run from phase to phase; gives how long its main one lasted.
fn direct(options: &Options, run: &Arc<Run>, stop: &Stop, mut progress: impl FnMut(&Progress)) -> Duration {
    let mut meter = Meter::new(options);
    let mut wait = |phase: Phase, at_most: Duration, done: &dyn Fn() -> bool| {
        let since = Instant::now();
        while since.elapsed() < at_most && !done() && (phase == Phase::Draining || !stop.is_begun()) {
            thread::sleep(LOOK_EVERY.min(at_most.saturating_sub(since.elapsed())));
            if meter.is_due(PROGRESS_EVERY) {
                progress(&meter.read(run, phase));
            }
        }
        since.elapsed()
    };
    let ramp = Duration::from_secs_f64(f64::from(options.players) / options.joins_per_second);
    let all_settled = || run.sum(|slot| &slot.settled) >= u64::from(options.players);
    wait(Phase::Joining, ramp + JOIN_MAX, &all_settled);
    if stop.is_begun() || run.sum(|slot| &slot.joined) == 0 {
        run.enter(Phase::Leaving);
        return Duration::ZERO;
    }
    run.run_started.store(run.now(), Ordering::Relaxed);
    run.enter(Phase::Running);
    let swapper = options.swaps.clone().map(|swaps| swaps::start(swaps, &options.target, Arc::clone(run)));
    let nobody_left = || run.sum(|slot| &slot.disconnects) >= u64::from(options.players) && !options.reconnect;
    let lasted = wait(Phase::Running, options.duration, &nobody_left);
    run.enter(Phase::Draining);
    if let Some(swapper) = swapper {
        swapper.end();
    }
    let drained = || run.slots.iter().all(|slot| slot.drained.load(Ordering::Acquire));
    wait(Phase::Draining, options.drain_max, &drained);
    run.enter(Phase::Leaving);
    lasted
}

fn check(options: &Options) -> Result<(), RunError> {
    let refuse = |what, found: String, accepted: String| Err(RunError::Value { what, found, accepted });
    if !(1..=PLAYERS_MAX).contains(&options.players) {
        return refuse("the number of players", options.players.to_string(), format!("1 to {PLAYERS_MAX}"));
    }
    match options.pace {
        Pace::PerSecond(rate) if !(rate > 0.0 && rate <= RATE_MAX) => {
            return refuse("the rate", rate.to_string(), format!("above 0, up to {RATE_MAX}"));
        }
        Pace::InFlight(count) if !(1..=IN_FLIGHT_MAX).contains(&count) => {
            return refuse("the number in flight", count.to_string(), format!("1 to {IN_FLIGHT_MAX}"));
        }
        _ => {}
    }
    if options.joins_per_second.is_nan() || options.joins_per_second <= 0.0 {
        return refuse("the join rate", options.joins_per_second.to_string(), "above 0".to_owned());
    }
    if !(1..=THREADS_MAX).contains(&options.threads) {
        return refuse("the number of threads", options.threads.to_string(), format!("1 to {THREADS_MAX}"));
    }
    if options.room.len() > wire::limits::ROOM_NAME_BYTES_MAX {
        let accepted = format!("up to {} bytes", wire::limits::ROOM_NAME_BYTES_MAX);
        return refuse("the room's name", format!("{} bytes", options.room.len()), accepted);
    }
    if options.credentials.len() > wire::limits::CREDENTIALS_BYTES_MAX {
        let accepted = format!("up to {} bytes", wire::limits::CREDENTIALS_BYTES_MAX);
        return refuse("the length of the credentials", format!("{} bytes", options.credentials.len()), accepted);
    }
    Ok(())
}

fn resolve(host: &str) -> Result<SocketAddr, RunError> {
    let refuse = |source| RunError::Address { host: host.to_owned(), source };
    let mut addresses = host.to_socket_addrs().map_err(refuse)?;
    addresses.next().ok_or_else(|| refuse(io::ErrorKind::NotFound.into()))
}

/// Lets the process open as many files as the players need, as far as it may.
fn raise_descriptors(players: u32) -> Result<(), RunError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = u64::from(players) + DESCRIPTORS_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    let Some(allowed) = limit.current.filter(|current| *current < needed) else { return Ok(()) };
    let raised = Rlimit { current: Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed))), ..limit };
    if raised.current == Some(needed) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    Err(RunError::Descriptors { players, needed, allowed: limit.maximum.unwrap_or(allowed) })
}
