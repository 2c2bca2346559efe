//! How far something is that takes long, for whoever waits for it: said now and then, and only if it does take long.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::dispatcher::{self, Dispatch};

/// How often the log tells how far a start or a rewind is.
const TOLD_PERIOD: Duration = Duration::from_secs(1);

/// When it is time to say something again: once in a period, and not before one is over.
#[derive(Debug)]
pub struct Pace {
    period: Duration,
    said: Instant,
}

impl Pace {
    pub fn new(period: Duration, now: Instant) -> Self {
        Self { period, said: now }
    }

    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.said) >= self.period;
        if is_due {
            self.said = now;
        }
        is_due
    }
}

/// How many hundredths of it are done.
pub fn percent(done: u64, count: u64) -> u64 {
    let percent = u128::from(done) * 100 / u128::from(count.max(1));
    u64::try_from(percent.min(100)).unwrap_or(100)
}

/// Tells how far a start or a rewind is, whatever it is at: what takes a moment each, and long together, is told of, too.
pub struct Progress {
    /// `None` where nobody waits.
    pace: Option<Mutex<Pace>>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    tell: Box<dyn Fn(&Part) + Send + Sync>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("pace", &self.pace).finish_non_exhaustive()
    }
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Much {
    Bytes(u64),
    Records(u64),
    Inputs(u64),
}

/// Something that is done for one room.
#[derive(Debug)]
pub struct Part {
    progress: Arc<Progress>,
    room: String,
    what: &'static str,
    much: Much,
    done: u64,
}

impl Progress {
    /// Tells the log, each second.
    pub fn in_log() -> Arc<Self> {
        // That of now: what a logic has to say while records are applied once more goes to another one, which is deaf.
        let log = dispatcher::get_default(Dispatch::clone);
        let tell = move |part: &Part| dispatcher::with_default(&log, || tracing::info!(room = part.room, "{part}"));
        Self::told_by(TOLD_PERIOD, Instant::now, tell)
    }

    /// By another clock, and to somebody else.
    pub fn told_by(
        period: Duration,
        clock: impl Fn() -> Instant + Send + Sync + 'static,
        tell: impl Fn(&Part) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let pace = Some(Mutex::new(Pace::new(period, clock())));
        Arc::new(Self { pace, clock: Box::new(clock), tell: Box::new(tell) })
    }

    pub fn silent() -> Arc<Self> {
        Arc::new(Self { pace: None, clock: Box::new(Instant::now), tell: Box::new(|_| ()) })
    }

    pub fn part(self: &Arc<Self>, room: &str, what: &'static str, much: Much) -> Part {
        Part { progress: Arc::clone(self), room: room.to_owned(), what, much, done: 0 }
    }
}

impl Part {
    /// So much more is done.
    pub fn step(&mut self, by: u64) {
        self.done += by;
        let Progress { pace, clock, tell } = &*self.progress;
        if let Some(pace) = pace
            && pace.lock().is_due(clock())
        {
            tell(self);
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, done, .. } = self;
        match self.much {
            Much::Bytes(count) => write!(f, "{what}: {} % of {:.1} MB", percent(*done, count), count as f64 / 1e6),
            Much::Records(count) => write!(f, "{what}: {} % of {count} records", percent(*done, count)),
            Much::Inputs(count) => write!(f, "{what}: {} % of {count} inputs", percent(*done, count)),
        }
    }
}

/// Counts what is read.
pub struct Counted<R> {
    pub reader: R,
    pub part: Part,
}

impl<R> fmt::Debug for Counted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("part", &self.part).finish_non_exhaustive()
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(bytes)?;
        self.part.step(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told by a clock that stands at these milliseconds when it is looked at, one after the other.
    fn told(millis: &'static [u64], work: impl FnOnce(&Arc<Progress>)) -> Vec<String> {
        let (looks, lines) = (Mutex::new(millis.iter()), Arc::new(Mutex::new(Vec::new())));
        let (start, to) = (Instant::now(), Arc::clone(&lines));
        let clock = move || start + Duration::from_millis(*looks.lock().next().expect("no further look at the clock"));
        work(&Progress::told_by(TOLD_PERIOD, clock, move |part| to.lock().push(format!("{}: {part}", part.room))));
        std::mem::take(&mut *lines.lock())
    }

    #[test]
    fn what_takes_long_is_told_each_second_and_what_does_not_never() {
        let work = |progress: &Arc<Progress>| {
            let mut part = progress.part("main", "recovering", Much::Records(4));
            (0..4).for_each(|_| part.step(1));
        };
        assert_eq!(told(&[0, 10, 20, 30, 999], work), [""; 0]);
        let lines = told(&[0, 1000, 1900, 2000, 9000], work);
        assert_eq!(lines, [25, 75, 100].map(|percent| format!("main: recovering: {percent} % of 4 records")));
    }

    #[test]
    fn parts_that_take_long_together_are_told_of() {
        let lines = told(&[0, 400, 800, 1200, 1600], |progress| {
            for room in ["a", "b", "c", "d"] {
                let part = progress.part(room, "reading a snapshot", Much::Bytes(2_000_000));
                let mut counted = Counted { reader: &[7_u8; 1_000_000][..], part };
                assert_eq!(counted.read(&mut vec![0; 2_000_000]).unwrap(), 1_000_000);
            }
        });
        assert_eq!(lines, ["c: reading a snapshot: 50 % of 2.0 MB"]);
    }

    #[test]
    fn more_than_all_is_all() {
        assert_eq!([percent(0, 0), percent(1, 3), percent(7, 3), percent(u64::MAX, u64::MAX)], [0, 33, 100, 100]);
    }

    #[test]
    fn nobody_who_does_not_wait_is_told() {
        let mut part = Progress::silent().part("main", "recovering", Much::Inputs(1));
        part.step(1);
        assert_eq!(part.to_string(), "recovering: 100 % of 1 inputs");
    }
}
