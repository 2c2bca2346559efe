//! A logic for the tests of the engine: it fails when it is asked to, some of its versions fail by themselves, and it logs its
//! end.
//!
//! | version | |
//! |---|---|
//! | 1001 | its `tick` panics in a room that is spoilt; it alone takes what is `odd`; it does not survive `/brittle` |
//! | 1002 | ticks in spoilt rooms, too |
//! | 1003 | its `upgraded` panics |
//! | 1004 | its `upgraded` never returns |
//! | 1005 | its `upgraded` ends the process |
//!
//! Version 1001 does not survive its `create` in an engine that has `MOODY_STILLBORN` in its environment.
//!
//! None of them survives `/trap` or a leave in an engine that has `MOODY_TRAP` in its environment, nor `/quit` in one that has `MOODY_QUIT`
//! (`exit`, or how else), nor returns from `/heavy` in one that has `MOODY_HEAVY`, which names a file that it makes when it is at
//! it; only the version in `MOODY_HEAVY_IN` does that, if one is there. With `MOODY_SLOW` a tick takes 30 ms.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use logic_api::prelude::*;

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
struct State {
    count: u64,
    ticks: u64,
    /// The time after which its `tick` panics, in version 1001; 0: never.
    spoilt: u64,
    /// Its `tick` ends the process, in version 1001.
    doomed: u64,
    /// The callback that panics in version 1001 when somebody comes or goes.
    cursed: Curse,
    /// What no replay comes to again.
    fickle: u64,
    number: f64,
    /// Of all numbered messages, in their order.
    mix: u64,
    /// Who is told of each tick: a player, [`EVERYBODY`], or 0 for nobody.
    listener: u64,
}

const EVERYBODY: u64 = u64::MAX;

/// A message that was numbered, and how often it came.
#[derive(Row, Debug)]
#[repr(C)]
struct Heard {
    #[row(key)]
    number: u64,
    times: u64,
}

#[derive(Row, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
enum Curse {
    #[default]
    None,
    Drop,
    Reconnect,
    Leave,
}

#[derive(World, Debug)]
struct Moody {
    state: One<State>,
    heard: Table<Heard>,
}

impl Moody {
    /// `number <number> …`, answered with the number and how many messages and requests there were with it.
    fn count_number(&mut self, ctx: &mut Ctx, text: &str) {
        let number: u64 = text.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number");
        if self.heard.find(number).is_none() {
            self.heard.insert(Heard { number, times: 0 });
        }
        self.heard.find_mut(number).expect("it is there").times += 1;
        self.state.mix = self.state.mix.rotate_left(7) ^ ctx.rng().next_u64() ^ number;
        ctx.reply(format!("number {number} {}", self.state.count).as_bytes());
    }
}

/// Ends the process as if all were well, or as somebody else would, where it is asked to.
fn quit() -> Response {
    match std::env::var("MOODY_QUIT").as_deref() {
        Ok("exit") => std::process::exit(0),
        Ok(_) => {
            let pid = std::process::id().to_string();
            let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
            panic!("still there: {killed:?}")
        }
        Err(_) => Response::text("whole\n"),
    }
}

/// Never returns where it is asked to.
fn dwell() {
    let is_another = std::env::var("MOODY_HEAVY_IN").is_ok_and(|version| version != Moody::version().to_string());
    if let Some(path) = std::env::var_os("MOODY_HEAVY").filter(|_| !is_another) {
        std::fs::write(path, "").expect("a place for it");
        loop {
            std::hint::spin_loop();
        }
    }
}

/// Until there is no stack any more.
fn dive(depth: u64) -> u64 {
    std::hint::black_box(if depth == 0 { 0 } else { dive(depth + 1) }) + depth
}

#[logic]
impl Logic for Moody {
    fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
        if config == b"abort" || (std::env::var_os("MOODY_STILLBORN").is_some() && Self::version() == Version(1001)) {
            std::process::abort();
        }
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        self.state.ticks += 1;
        if std::env::var_os("MOODY_SLOW").is_some() {
            std::thread::sleep(Duration::from_millis(30));
        }
        match self.state.listener {
            0 => {}
            EVERYBODY => ctx.broadcast(&[b't'; 1024]),
            player => ctx.send(PlayerId(player), b"tick"),
        }
        if self.state.doomed > 0 && Self::version() == Version(1001) {
            std::process::abort();
        }
        let is_spoilt = self.state.spoilt > 0 && micros(ctx) > self.state.spoilt;
        assert!(!is_spoilt || Self::version() != Version(1001), "the room is spoilt");
    }

    fn join_attempt(&self, _ctx: &Ctx, _player: PlayerId, join: &Join) -> Admission {
        match join.hello {
            _ if join.claims.contains("\"banned\":true") => {
                Admission::Refuse("a claim says that you are banned".to_owned())
            }
            b"no" => Admission::Refuse("not you".to_owned()),
            b"odd" if Self::version() != Version(1001) => Admission::Refuse("you are odd".to_owned()),
            _ => Admission::Accept,
        }
    }

    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {
        assert!(join.hello != b"panic", "the join was told to");
        if join.hello == b"abort" {
            std::process::abort();
        }
        ctx.reply(format!("welcome {}{}", String::from_utf8_lossy(join.hello), join.claims).as_bytes());
        ctx.broadcast_except(player, b"joined");
    }

    fn drop(&mut self, ctx: &mut Ctx, player: PlayerId) {
        self.suffer(Curse::Drop);
        ctx.broadcast_except(player, b"dropped");
    }

    fn reconnect(&mut self, ctx: &mut Ctx, player: PlayerId) {
        self.suffer(Curse::Reconnect);
        ctx.reply(b"welcome back");
        ctx.broadcast_except(player, b"back");
    }

    fn leave(&mut self, ctx: &mut Ctx, _player: PlayerId, reason: &str) {
        self.suffer(Curse::Leave);
        if std::env::var_os("MOODY_TRAP").is_some() {
            std::process::abort();
        }
        ctx.broadcast(format!("gone: {reason}").as_bytes());
    }

    /// Answers with what it was sent, unless it is told to do something else.
    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        self.state.count += 1;
        match bytes {
            b"panic" => panic!("the message was told to"),
            b"abort" => std::process::abort(),
            b"odd" if Self::version() != Version(1001) => panic!("this is odd"),
            b"even" if !self.state.count.is_multiple_of(2) => panic!("the count is odd"),
            b"loop" => loop {
                std::hint::spin_loop();
            },
            // Long for a message, and nothing to a watchdog.
            b"slow" => {
                std::thread::sleep(Duration::from_millis(25));
                ctx.reply(bytes);
            }
            b"work" => work(Duration::from_micros(250)),
            b"kick" => ctx.kick(player, "enough"),
            b"hear ticks" => self.state.listener = player.0,
            b"shout ticks" => self.state.listener = EVERYBODY,
            b"spoil" => self.state.spoilt = 1,
            b"curse drop" => self.curse(ctx, Curse::Drop),
            b"curse reconnect" => self.curse(ctx, Curse::Reconnect),
            b"curse leave" => self.curse(ctx, Curse::Leave),
            b"who" => {
                let connected = ctx.players().iter().filter(|player| ctx.is_connected(**player)).count();
                let text = format!("{connected} of {}", ctx.players().len());
                ctx.reply(text.as_bytes());
            }
            b"count" => ctx.reply(self.state.count.to_string().as_bytes()),
            // A few of these are more than the buffers of a socket hold.
            b"pour" => (0..2).for_each(|_| ctx.broadcast(&[b'x'; 1 << 18])),
            numbered if numbered.starts_with(b"number ") => {
                self.count_number(ctx, &String::from_utf8_lossy(numbered));
            }
            long if long.len() > 1024 => ctx.reply(long.len().to_string().as_bytes()),
            _ => ctx.reply(bytes),
        }
    }

    fn query(&self, request: &Request) -> Option<Response> {
        match request.path {
            "/peek" => Some(Response::text(format!("{} in {}\n", self.state.count, Self::version()))),
            "/abort-in-query" => std::process::abort(),
            "/panic-in-query" => panic!("the query was told to"),
            _ => None,
        }
    }

    fn request(&mut self, ctx: &mut Ctx, request: &Request) -> Response {
        self.state.count += 1;
        match request.path {
            "/count" => Response::text(format!("{} in {}\n", self.state.count, Self::version())),
            "/heard" => {
                let times: u64 = self.heard.iter().map(|heard| heard.times).sum();
                Response::text(format!("{} numbers, {times} messages\n", self.heard.len()))
            }
            "/panic" => panic!("the request was told to"),
            "/abort" => std::process::abort(),
            "/brittle" if Self::version() == Version(1001) => std::process::abort(),
            "/trap" if std::env::var_os("MOODY_TRAP").is_some() => std::process::abort(),
            "/quit" => quit(),
            "/exit" => std::process::exit(0),
            "/overflow" => Response::text(format!("{}\n", dive(1))),
            "/heavy" => {
                dwell();
                Response::text("done\n")
            }
            "/brittle" | "/trap" => Response::text("whole\n"),
            "/doom" => {
                self.state.doomed = 1;
                Response::text("doomed\n")
            }
            "/hash-map" => {
                let map: HashMap<u64, u64> = (0..64).map(|number| (number, number)).collect();
                self.state.fickle = map.keys().fold(0, |order, key| order.wrapping_mul(31).wrapping_add(*key));
                Response::text("shuffled\n")
            }
            "/clock" => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                self.state.fickle = now.as_secs() << 30 | u64::from(now.subsec_nanos());
                Response::text("late\n")
            }
            "/nan" => {
                self.state.number = f64::NAN;
                Response::text("none\n")
            }
            "/spoil-from-now" => {
                self.state.spoilt = micros(ctx);
                Response::text("spoilt\n")
            }
            "/spoil" => {
                self.state.spoilt = 1;
                Response::text("spoilt\n")
            }
            _ => Response::not_found(),
        }
    }

    fn terminate(&mut self, ctx: &mut Ctx, grace: Duration) {
        ctx.log(format_args!("{} is told to end in {} ms", ctx.room(), grace.as_millis()));
    }

    fn dispose(&mut self, ctx: &mut Ctx) {
        ctx.log(format_args!("{} ends after {} requests", ctx.room(), self.state.count));
    }

    fn upgraded(&mut self, _ctx: &mut Ctx, from: Version) {
        self.state.count += 100;
        match Self::version() {
            Version(1003) => panic!("nothing can come after {from}"),
            Version(1005) => std::process::abort(),
            Version(1004) => loop {
                std::hint::spin_loop();
            },
            _ => {}
        }
    }
}

fn micros(ctx: &Ctx) -> u64 {
    u64::try_from(ctx.now().as_micros()).expect("half a million years")
}

fn work(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

impl Moody {
    fn curse(&mut self, ctx: &mut Ctx, what: Curse) {
        self.state.cursed = what;
        ctx.reply(b"cursed");
    }

    fn suffer(&self, what: Curse) {
        assert!(self.state.cursed != what || Self::version() != Version(1001), "the {what:?} is cursed");
    }
}
