//! Swaps beside the players: `/load` of the same engine, in turn, and the windows of time that they take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::options::{Load, Swaps};
use crate::run::Run;
use crate::target::Target;

/// For one load: a slow probe, and others before it.
const LOAD_MAX: Duration = Duration::from_secs(60);
/// Of a refusal's reason, in the report.
const REASON_BYTES_MAX: usize = 300;

/// The time of the last swap: from its request to its answer and the margin. What was under way before it had closed.
#[derive(Debug)]
pub(crate) struct Window {
    opened_at: AtomicU64,
    /// [`u64::MAX`] while it is open.
    closes_at: AtomicU64,
}

impl Default for Window {
    fn default() -> Self {
        Self { opened_at: AtomicU64::new(u64::MAX), closes_at: AtomicU64::new(0) }
    }
}

impl Window {
    fn open(&self, now: u64) {
        self.closes_at.store(u64::MAX, Ordering::Release);
        self.opened_at.store(now, Ordering::Release);
    }

    fn close(&self, at: u64) {
        self.closes_at.store(at, Ordering::Release);
    }

    /// Whether a message that was under way from `sent_at` to `now` met a swap.
    pub(crate) fn overlaps(&self, sent_at: u64, now: u64) -> bool {
        self.opened_at.load(Ordering::Acquire) <= now && sent_at <= self.closes_at.load(Ordering::Acquire)
    }
}

/// What came of the swaps.
#[derive(Debug, Default)]
pub(crate) struct SwapLog {
    pub(crate) done_ms: Vec<f64>,
    pub(crate) refused: BTreeMap<String, u64>,
}

/// The thread that swaps.
#[derive(Debug)]
pub(crate) struct Swapper {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Swapper {
    /// Returns when the load that is under way, if any, was answered.
    pub(crate) fn end(self) {
        drop(self.end);
        self.thread.join().expect("the thread of the swaps does not panic");
    }
}

pub(crate) fn start(swaps: Swaps, target: &Target, run: Arc<Run>) -> Swapper {
    let (end, ended) = mpsc::channel();
    let url = target.http();
    let work = move || {
        let agent = agent();
        let mut due = Instant::now() + swaps.every;
        for next in swaps.between.iter().cycle() {
            match ended.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            swap(&agent, &url, next, &swaps, &run);
            // A load that took longer than that is followed at once by the next, but by no more.
            due = (due + swaps.every).max(Instant::now());
        }
    };
    Swapper { end, thread: std::thread::Builder::new().name("swaps".to_owned()).spawn(work).expect("a thread") }
}

fn swap(agent: &ureq::Agent, url: &str, next: &Load, swaps: &Swaps, run: &Run) {
    let opened_at = run.now();
    run.window.open(opened_at);
    let outcome = load(agent, url, next, swaps.token.as_deref());
    let answered_at = run.now();
    run.window.close(answered_at + u64::try_from(swaps.margin.as_nanos()).unwrap_or(u64::MAX / 2));
    let mut log = run.swaps.lock();
    match outcome {
        Ok(()) => log.done_ms.push((answered_at - opened_at) as f64 / 1e6),
        Err(reason) => *log.refused.entry(reason).or_default() += 1,
    }
}

fn load(agent: &ureq::Agent, url: &str, next: &Load, token: Option<&str>) -> Result<(), String> {
    let Load { name, drops } = next;
    let mut request = agent.post(format!("{url}/load")).query("name", name).query("confirm", "1");
    for drop in drops {
        request = request.query("drop", drop);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = request.send_empty().map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(format!("{name}: {}", wire::limits::cut(text.trim(), REASON_BYTES_MAX)))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // A proxy from the environment is for the outside, and the token is for the engine alone.
        .proxy(None)
        .timeout_global(Some(LOAD_MAX))
        .user_agent(concat!("swarm/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_inside_if_a_swap_met_it() {
        let window = Window::default();
        assert!(!window.overlaps(0, 1000));
        window.open(100);
        assert!(window.overlaps(50, 150) && window.overlaps(120, 130));
        assert!(!window.overlaps(50, 99));
        window.close(200);
        assert!(window.overlaps(199, 500) && window.overlaps(90, 110));
        assert!(!window.overlaps(201, 500));
        window.open(300);
        assert!(window.overlaps(250, 310));
    }
}
