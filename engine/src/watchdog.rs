//! Notices a callback that does not return, says which, and as the last resort starts the engine anew.
//!
//! A thread of its own, for those that it watches may all be stuck. It looks a few times in the time that it allows, so what it
//! calls a second may be an eighth more.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::journal::{Durability, last_word};
use crate::metrics::Metrics;
use crate::rooms::{UnderWay, Watched};

/// Between two looks, whatever the limit is.
const LOOK_PERIOD_MIN: Duration = Duration::from_millis(10);
const LOOK_PERIOD_MAX: Duration = Duration::from_millis(250);
const LOOKS_WITHIN_LIMIT: u32 = 8;
/// The program that runs, even if its file was replaced or removed since.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    /// Never sent on: closing it ends the thread.
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is done about a callback that does not return.
#[derive(Debug)]
pub struct Patience {
    /// After this it is told.
    pub tell: Duration,
    /// After this the process starts anew; `None`: never.
    pub restart: Option<(Duration, Restart)>,
}

/// How the process starts anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    arguments: Vec<OsString>,
    /// Those that say on what version new rooms begin, or which one is loaded.
    version: Vec<OsString>,
}

impl Restart {
    /// With the arguments of this process, but on the address that it was given, and on what it has kept.
    #[must_use]
    pub fn as_now(listen: SocketAddr) -> Restart {
        Restart::with(std::env::args_os().skip(1), listen)
    }

    fn with(given: impl Iterator<Item = OsString>, listen: SocketAddr) -> Restart {
        // Port 0 would be another one, where nobody looks for their room; `--fresh` would leave the rooms behind.
        let (mut arguments, mut version) = (Vec::new(), Vec::new());
        let mut given = given.peekable();
        while let Some(argument) = given.next() {
            let text = argument.to_str().unwrap_or_default();
            let (flag, has_value) = text.split_once('=').map_or((text, false), |(flag, _)| (flag, true));
            let into = match flag {
                "--fresh" => continue,
                "--listen" => &mut Vec::new(),
                "--logic" | "--drop" => &mut version,
                _ => {
                    arguments.push(argument);
                    continue;
                }
            };
            into.push(argument.clone());
            into.extend(given.next_if(|_| !has_value));
        }
        arguments.extend(["--listen".into(), listen.to_string().into()]);
        Restart { arguments, version }
    }

    fn arguments(&self, has_rooms: bool) -> impl Iterator<Item = &OsString> {
        // A version that was taken back must not come again by itself; but before there are rooms, none has been loaded.
        self.arguments.iter().chain(self.version.iter().filter(move |_| !has_rooms))
    }

    /// Takes the place of this process, with all of its threads. Returns only if that fails.
    fn run(&self, has_rooms: bool) -> io::Error {
        let name = std::env::args_os().next().unwrap_or_default();
        Command::new(OWN_PROGRAM).arg0(name).args(self.arguments(has_rooms)).exec()
    }
}

impl Patience {
    /// `None` where nothing is to be done, however long it takes.
    fn of(config: &Config, restart: Option<Restart>) -> Option<Patience> {
        let may_restart = config.durability != Durability::Off && !config.watchdog_restart.is_zero();
        let restart = restart.filter(|_| may_restart).map(|restart| (config.watchdog_restart, restart));
        // A restart is told of first, however short the time until it is.
        let told_after = Some(config.watchdog).filter(|after| !after.is_zero());
        let tell = told_after.into_iter().chain(restart.as_ref().map(|(after, _)| *after)).min()?;
        Some(Patience { tell, restart })
    }
}

impl Watchdog {
    /// As the config has it; `None` if that wants none. `restart` is the last resort; there is none without a journal to bring the rooms
    /// back from.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn of(
        config: &Config,
        watched: &Watched,
        metrics: &Arc<Metrics>,
        restart: Option<Restart>,
    ) -> io::Result<Option<Watchdog>> {
        let start = |patience| Watchdog::start(watched.clone(), Arc::clone(metrics), patience);
        Patience::of(config, restart).map(start).transpose()
    }

    /// # Errors
    /// The thread cannot be started.
    pub fn start(watched: Watched, metrics: Arc<Metrics>, patience: Patience) -> io::Result<Watchdog> {
        let (end, ended) = mpsc::channel();
        let period = (patience.tell / LOOKS_WITHIN_LIMIT).clamp(LOOK_PERIOD_MIN, LOOK_PERIOD_MAX);
        let watch = move || {
            let mut looks: Vec<Look> = (0..watched.threads()).map(|_| Look::default()).collect();
            let mut looked_at = Instant::now();
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(period) {
                // A process that was stopped, or a machine that slept, has kept no callback from returning.
                let passed = looked_at.elapsed().min(period * 2);
                looked_at = Instant::now();
                for (thread, look) in looks.iter_mut().enumerate() {
                    let restart = |restart: &Restart| restart.run(watched.has_rooms());
                    look.again(watched.under_way(thread), passed, (&patience, &restart), &metrics);
                }
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Watchdog { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say at its end.
            let _ended = thread.join();
        }
    }
}

/// What was seen of one thread.
#[derive(Debug, Default)]
struct Look {
    /// The callback that was under way, and for how long since it was seen first.
    seen: Option<(UnderWay, Duration)>,
    is_told: bool,
    is_restart_tried: bool,
}

impl Look {
    /// So much time has passed since the last look.
    fn again(
        &mut self,
        now_under_way: Option<UnderWay>,
        passed: Duration,
        (patience, start_anew): (&Patience, &dyn Fn(&Restart) -> io::Error),
        metrics: &Metrics,
    ) {
        if let (Some(under_way), Some((seen, took))) = (&now_under_way, &mut self.seen)
            && under_way.is_same(seen)
        {
            *took += passed;
            if *took >= patience.tell && !self.is_told {
                self.is_told = true;
                seen.set_stuck(true);
                metrics.rooms_stuck.inc();
                tell(seen, *took, patience);
            }
            if let Some((limit, restart)) = &patience.restart
                && *took >= *limit
                && !std::mem::replace(&mut self.is_restart_tried, true)
            {
                tracing::error!(
                    room = seen.room(),
                    callback = seen.callback(),
                    "starting anew, on what the journal has"
                );
                seen.ends_the_process();
                let error = start_anew(restart);
                last_word::forget();
                tracing::error!(%error, "the process could not be started anew; end it by SIGKILL and start it again");
            }
            return;
        }
        if let Some((returned, took)) = self.seen.take()
            && self.is_told
        {
            returned.set_stuck(false);
            metrics.rooms_stuck.dec();
            let seconds = (took + passed).as_secs_f64();
            tracing::warn!(
                room = returned.room(),
                callback = returned.callback(),
                seconds,
                "the callback has returned"
            );
        }
        *self = Look { seen: now_under_way.map(|under_way| (under_way, Duration::ZERO)), ..Look::default() };
    }
}

fn tell(stuck: &UnderWay, took: Duration, patience: &Patience) {
    let then = match &patience.restart {
        Some((limit, _)) => format!("the engine starts anew when it has taken {} s", limit.as_secs_f64()),
        None => "its room stands still, and the others of its thread; end the engine by SIGKILL if it never returns"
            .to_owned(),
    };
    tracing::error!(
        room = stuck.room(),
        callback = stuck.callback(),
        version = stuck.version(),
        player = stuck.player(),
        seconds = took.as_secs_f64(),
        "a callback does not return: {then}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_callback_for_the_whole_time_is_stuck() {
        let (mut look, metrics) = (Look::default(), Metrics::new());
        let patience = Patience { tell: Duration::from_secs(2), restart: None };
        let mut see = |count: Option<u64>| {
            let never = |_: &Restart| unreachable!("it may not");
            look.again(count.map(UnderWay::of), Duration::from_secs(1), (&patience, &never), &metrics);
            metrics.rooms_stuck.get()
        };
        // Another one each time, then none, then one that is just not too long.
        assert_eq!([1, 3, 5, 7].map(|count| see(Some(count))), [0; 4]);
        assert_eq!([see(None), see(Some(9)), see(Some(9)), see(Some(11))], [0; 4]);
        // Told once, until it returns.
        assert_eq!([11, 11, 11].map(|count| see(Some(count))), [0, 1, 1]);
        assert_eq!((see(Some(13)), see(None)), (0, 0));
    }

    #[test]
    fn a_restart_is_told_of_first() {
        let told = |text: &str| {
            let config = Config::parse("engine.toml", text).unwrap();
            let restart = Restart::with(std::iter::empty(), "127.0.0.1:1".parse().unwrap());
            Patience::of(&config, Some(restart)).map(|patience| (patience.tell, patience.restart.is_some()))
        };
        let after = |seconds, restarts| Some((Duration::from_secs(seconds), restarts));
        assert_eq!(told("watchdog = \"5s\"\nwatchdog_restart = \"6s\""), after(5, true));
        assert_eq!(told("watchdog = \"5s\"\nwatchdog_restart = \"1s\""), after(1, true));
        assert_eq!(told("watchdog = \"5s\"\nwatchdog_restart = \"0s\""), after(5, false));
        assert_eq!(told("watchdog = \"0s\"\nwatchdog_restart = \"6s\""), after(6, true));
        assert_eq!(told("watchdog = \"0s\"\nwatchdog_restart = \"0s\""), None);
        let off = "watchdog = \"0s\"\nwatchdog_restart = \"6s\"\ndurability = \"off\"";
        assert_eq!(told(off), None, "there is nothing to start anew on");
    }

    #[test]
    fn a_restart_keeps_its_address_and_its_rooms() {
        let arguments = |given: &str, has_rooms| {
            let listen = "127.0.0.1:4321".parse().unwrap();
            let restart = Restart::with(given.split(' ').map(OsString::from), listen);
            let arguments: Vec<_> =
                restart.arguments(has_rooms).map(|argument| argument.to_str().unwrap().to_owned()).collect();
            arguments.join(" ")
        };
        let check = |given, expected: &str| assert_eq!(arguments(given, true), expected);
        check("serve", "serve --listen 127.0.0.1:4321");
        check("serve --listen 127.0.0.1:0 --data d", "serve --data d --listen 127.0.0.1:4321");
        check("serve --fresh --listen=[::1]:0 --log json", "serve --log json --listen 127.0.0.1:4321");
        let given = "serve --logic plugin2.so --drop=a.b --drop c --data d";
        check(given, "serve --data d --listen 127.0.0.1:4321");
        // Without rooms, what the first are to begin on.
        let expected = "serve --data d --listen 127.0.0.1:4321 --logic plugin2.so --drop=a.b --drop c";
        assert_eq!(arguments(given, false), expected);
    }
}
