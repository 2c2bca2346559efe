//! A game in several versions, some of them faulty, that shows all its state when asked for `/dump`.
//!
//! | version | |
//! |---|---|
//! | 1001 | its `tick` panics once there is a bomb, and so does what is new to it; nor does it let go of who is stuck |
//! | 1002 | has learnt; scores twice as much |
//! | 1003 | as 1002, with other tables: wider scores, levels, and a table more |
//! | 1004 | its `upgraded` panics when half done |
//! | 1005 | has no place for notes, and does not say that they may go |
//! | 1006 | its `upgraded` ends the process where there are players |
//!
//! Version 1001 ends the process, too: by one kind of message, and by a tick once there is a mine.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use logic_api::prelude::*;
use room::{LogicVersion, VersionMark};

use super::deadly::{ends, may_end};
use crate::support::{ON_PURPOSE, linked};

/// The first byte of a message says what to do, the second is a number.
pub(crate) mod order {
    pub(crate) const ADD: u8 = 0;
    pub(crate) const NOTE: u8 = 1;
    /// A timer in so many ticks.
    pub(crate) const TIMER: u8 = 2;
    /// Makes the next tick panic, in a version that has not learnt better.
    pub(crate) const BOMB: u8 = 3;
    pub(crate) const CHANGE_ALL_THEN_PANIC: u8 = 4;
    /// Panics in version 1001.
    pub(crate) const NEW: u8 = 5;
    /// Ends the process in version 1001.
    pub(crate) const END: u8 = 6;
    /// Has the next tick do so.
    pub(crate) const MINE: u8 = 7;
}

/// Why a player leaves whom a version that has not learnt better does not let go of.
pub(crate) const STUCK: &str = "stuck";

/// Every message has a number of its own, and is counted by it: one that comes twice finds the number there.
pub(crate) fn message(what: u8, number: u8, serial: u64) -> Vec<u8> {
    [&[what, number][..], &serial.to_le_bytes()].concat()
}

pub(crate) fn parse(bytes: &[u8]) -> (u8, u8, u64) {
    (bytes[0], bytes[1], u64::from_le_bytes(bytes[2..].try_into().unwrap()))
}

/// The version that a room is created on, which its config says.
pub(crate) fn created_on(config: &[u8]) -> u32 {
    config.try_into().map_or(1001, u32::from_le_bytes)
}

/// How long a note of this number is.
pub(crate) fn note(number: u8) -> String {
    "n".repeat(usize::from(number) * 60)
}

#[derive(Row, Debug)]
#[repr(C)]
pub(crate) struct Heard {
    #[row(key)]
    serial: u64,
    at_us: u64,
}

#[derive(Row, Debug, Default)]
#[repr(C)]
pub(crate) struct Game {
    /// A number of the room's own, which the next one of its name does not have.
    born: u64,
    ticks: u64,
    chance: u64,
    fired: u64,
    requests: u64,
    bomb: bool,
    mine: bool,
    upgraded_from: u32,
}

#[derive(Row, Debug, Default)]
#[repr(C)]
pub(crate) struct Laps {
    laps: u64,
}

fn panics() -> ! {
    panic!("{ON_PURPOSE}")
}

macro_rules! avatar {
    ($module:ident, score: $score:ty $(, $level:ident: u32 = $default:literal)?) => {
        pub(crate) mod $module {
            use logic_api::prelude::*;

            #[derive(Row, Debug)]
            #[repr(C)]
            pub(crate) struct Avatar {
                #[row(key)]
                pub(crate) player: PlayerId,
                pub(crate) score: $score,
                pub(crate) note: Text,
                $(#[row(default = $default)]
                pub(crate) $level: u32,)?
            }

            impl Avatar {
                pub(super) fn new(player: PlayerId, note: Text) -> Self {
                    Self { player, score: 0, note, $($level: $default)? }
                }
                pub(super) fn add(&mut self, more: u32) {
                    self.score += <$score>::from(more);
                }
                pub(super) fn level(&self) -> u32 {
                    0 $(+ self.$level)?
                }
            }
        }
    };
}

avatar!(narrow, score: u32);
avatar!(wide, score: u64, level: u32 = 7);

macro_rules! version {
    (
        $name:ident, $version:literal, $module:ident, learnt: $learnt:literal, factor: $factor:literal,
        upgraded: |$this:ident| $upgraded:expr $(, $laps:ident)?
    ) => {
        #[derive(World, Debug)]
        struct $name {
            avatars: Table<$module::Avatar>,
            heard: Table<Heard>,
            game: One<Game>,
            $($laps: One<Laps>,)?
        }

        #[logic(linked, version = $version)]
        impl Logic for $name {
            fn create(&mut self, ctx: &mut Ctx, _config: &[u8]) {
                self.game.born = ctx.rng().next_u64();
            }
            fn join_attempt(&self, _ctx: &Ctx, _player: PlayerId, join: &Join) -> Admission {
                if join.hello == b"no" { Admission::Refuse("not today".into()) } else { Admission::Accept }
            }
            fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {
                may_end(ctx);
                let note = Text::new(&String::from_utf8_lossy(join.hello));
                self.avatars.insert($module::Avatar::new(player, note));
                ctx.reply(b"welcome");
                if join.hello == b"panic" {
                    panics();
                }
            }
            fn leave(&mut self, ctx: &mut Ctx, player: PlayerId, reason: &str) {
                may_end(ctx);
                self.avatars.remove_key(player).expect("joined");
                ctx.broadcast(reason.as_bytes());
                if reason == STUCK && !$learnt {
                    panics();
                }
            }
            fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
                may_end(ctx);
                let (what, number, serial) = parse(bytes);
                let at_us = u64::try_from(ctx.now().as_micros()).unwrap();
                self.heard.insert(Heard { serial, at_us });
                let mut avatar = self.avatars.find_mut(player).expect("joined");
                match what {
                    order::ADD => avatar.add(u32::from(number) * $factor),
                    order::NOTE => avatar.note.set(&note(number)),
                    order::TIMER => {
                        ctx.after(Duration::from_millis(u64::from(number) * 50), number.into());
                    }
                    order::BOMB => self.game.bomb = true,
                    order::NEW if $learnt => avatar.add(1000),
                    order::END if $learnt => avatar.add(500),
                    order::END => ends(),
                    order::MINE => self.game.mine = true,
                    order::CHANGE_ALL_THEN_PANIC => {
                        avatar.note.set("changed");
                        drop(avatar);
                        self.avatars.clear();
                        self.heard.clear();
                        ctx.after(Duration::ZERO, 1);
                        panics();
                    }
                    _ => panics(),
                }
                ctx.reply(&serial.to_le_bytes());
            }
            fn tick(&mut self, ctx: &mut Ctx) {
                self.game.chance = may_end(ctx);
                if self.game.mine && !$learnt {
                    ends();
                }
                self.game.ticks += 1;
                let more = u32::try_from(self.game.ticks % 3).unwrap();
                self.avatars.iter_mut().for_each(|mut avatar| avatar.add(more));
                $(self.$laps.laps += 1;)?
                if self.game.bomb && !$learnt {
                    panics();
                }
            }
            fn timer(&mut self, _ctx: &mut Ctx, _timer: TimerId, tag: u64) {
                self.game.fired += tag;
            }
            fn query(&self, request: &Request) -> Option<Response> {
                (request.path == "/dump").then(|| {
                    let Game { born, ticks, chance, fired, requests, bomb, mine, upgraded_from } = &*self.game;
                    let laps = 0 $(+ self.$laps.laps)?;
                    let mut text = format!("{born} {ticks} {chance} {fired} {requests} {bomb} {mine} {upgraded_from} {laps}\n");
                    let mut avatars: Vec<_> = self.avatars.iter().collect();
                    avatars.sort_by_key(|avatar| avatar.player);
                    for avatar in avatars {
                        let (score, level) = (u64::from(avatar.score), avatar.level());
                        writeln!(text, "{} {score} {level} {}", avatar.player, avatar.note).unwrap();
                    }
                    let mut heard: Vec<_> = self.heard.iter().map(|heard| (heard.serial, heard.at_us)).collect();
                    heard.sort_unstable();
                    write!(text, "{heard:?}").unwrap();
                    Response::text(text)
                })
            }
            fn request(&mut self, ctx: &mut Ctx, request: &Request) -> Response {
                may_end(ctx);
                self.game.requests += 1;
                match request.path {
                    "/panic" => panics(),
                    _ => Response::text(self.game.requests.to_string()),
                }
            }
            fn upgraded(&mut self, _ctx: &mut Ctx, from: Version) {
                self.game.upgraded_from = from.0;
                let $this = self;
                $upgraded
            }
        }
    };
}

version!(Old, 1001, narrow, learnt: false, factor: 1, upgraded: |_this| {});
version!(Learnt, 1002, narrow, learnt: true, factor: 2, upgraded: |_this| {});
version!(Other, 1003, wide, learnt: true, factor: 2, upgraded: |_this| {}, laps);
version!(PanicsWhenUpgraded, 1004, narrow, learnt: true, factor: 2, upgraded: |this| {
    this.avatars.clear();
    this.game.ticks = 0;
    panics();
});

version!(EndsWhenUpgraded, 1006, narrow, learnt: true, factor: 2, upgraded: |this| {
    if !this.avatars.is_empty() {
        ends();
    }
});

#[derive(Row, Debug)]
#[repr(C)]
pub(crate) struct Noteless {
    #[row(key)]
    player: PlayerId,
    score: u64,
}

#[derive(World, Debug)]
#[expect(dead_code, reason = "no room ever gets there")]
struct Lossy {
    avatars: Table<Noteless>,
    heard: Table<Heard>,
    game: One<Game>,
}

#[logic(linked, version = 1005)]
impl Logic for Lossy {}

/// All versions, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Versions([Arc<LogicVersion>; 6]);

impl Versions {
    pub(crate) fn linked() -> Versions {
        Versions([
            linked::<Old>(),
            linked::<Learnt>(),
            linked::<Other>(),
            linked::<PanicsWhenUpgraded>(),
            linked::<Lossy>(),
            linked::<EndsWhenUpgraded>(),
        ])
    }

    pub(crate) fn all(&self) -> &[Arc<LogicVersion>] {
        &self.0
    }

    pub(crate) fn numbered(&self, version: u32) -> Arc<LogicVersion> {
        self.0.iter().find(|logic| logic.version().0 == version).unwrap().clone()
    }

    pub(crate) fn find(&self, mark: &VersionMark) -> Result<Arc<LogicVersion>, String> {
        let found = self.0.iter().find(|logic| logic.version() == mark.version);
        found.cloned().ok_or_else(|| "there is no such version".to_owned())
    }
}
