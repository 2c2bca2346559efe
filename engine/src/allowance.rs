//! How long the child may take for a step, and a migration in the engine. The players come first (`loads::worker`), so it may have
//! to wait for a core; that is not its doing, and is not counted.

use std::{collections::BTreeMap, ffi::OsString, fs, path::PathBuf, time::Duration, time::Instant};

use rustix::process::Pid;

/// A step is over after so many times its limit, however busy the machine is.
const WALL_FACTOR: u32 = 10;

/// A limit, and since when it runs.
#[derive(Debug)]
pub(crate) struct Allowance {
    pub(crate) time_max: Duration,
    whose: Whose,
    started: Instant,
    /// What each thread had waited before.
    waited: BTreeMap<OsString, Duration>,
}

/// Who has so much time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// Of another process, of which one thread works at a time, and the others sleep.
    Process(Pid),
    /// Of this process.
    Thread(Pid),
}

impl Allowance {
    /// From now on.
    pub(crate) fn new(whose: Whose, time_max: Duration) -> Self {
        Self { time_max, whose, started: Instant::now(), waited: waited(whose) }
    }

    /// At least so long it may go on. Zero: it is over.
    pub(crate) fn left(&self) -> Duration {
        let wall = self.started.elapsed();
        if wall < self.time_max {
            return self.time_max - wall;
        }
        let since = |(thread, now): (OsString, Duration)| {
            now.saturating_sub(self.waited.get(&thread).copied().unwrap_or_default())
        };
        let waited = waited(self.whose).into_iter().map(since).max();
        left(self.time_max, wall, waited.unwrap_or_default())
    }
}

/// Of so much time, `waited` of it without a core.
fn left(time_max: Duration, wall: Duration, waited: Duration) -> Duration {
    let of_its_own = time_max.saturating_sub(wall.saturating_sub(waited));
    of_its_own.min((time_max * WALL_FACTOR).saturating_sub(wall))
}

/// How long each thread has been ready to run and was not given a core, up to when it was given one last. Empty where the kernel
/// does not count: then all time is their own.
fn waited(whose: Whose) -> BTreeMap<OsString, Duration> {
    let read = |task: PathBuf| {
        // Nanoseconds on a core, nanoseconds without one, and how often it was given one (proc(5), sched-stats.rst).
        let line = fs::read_to_string(task.join("schedstat")).ok()?;
        let waited = line.split_whitespace().nth(1)?.parse().ok()?;
        Some((task.file_name()?.to_owned(), Duration::from_nanos(waited)))
    };
    match whose {
        Whose::Thread(thread) => read(format!("/proc/self/task/{}", thread.as_raw_pid()).into()).into_iter().collect(),
        Whose::Process(process) => {
            let tasks = fs::read_dir(format!("/proc/{}/task", process.as_raw_pid()));
            let entries = tasks.into_iter().flatten().filter_map(Result::ok);
            entries.filter_map(|entry| read(entry.path())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_a_core_is_not_the_childs() {
        let check = |wall: u64, waited: u64, expected: u64| {
            let [time_max, wall, waited] = [2, wall, waited].map(Duration::from_secs);
            assert_eq!(
                left(time_max, wall, waited),
                Duration::from_secs(expected),
                "{wall:?}, {waited:?} of it waited"
            );
        };
        check(2, 0, 0);
        check(5, 4, 1);
        check(5, 5, 2);
        check(5, 3, 0);
        // More than there was: what it waited before is told late.
        check(5, 6, 2);
        // However long it waits.
        check(19, 19, 1);
        check(20, 20, 0);
        check(30, 30, 0);
    }

    #[test]
    fn a_limit_that_has_passed_leaves_nothing_to_one_that_had_a_core() {
        let of_all = [Whose::Process(rustix::process::getpid()), Whose::Thread(rustix::thread::gettid())];
        for whose in of_all {
            assert_eq!(Allowance::new(whose, Duration::ZERO).left(), Duration::ZERO);
            let patient = Allowance::new(whose, Duration::from_secs(3_600));
            assert!(patient.left() > Duration::from_secs(1_800), "{whose:?}");
            assert_eq!(waited(whose).is_empty(), !fs::exists("/proc/self/schedstat").unwrap(), "{whose:?}");
        }
    }
}
