//! A game in several versions, some of them faulty, that shows all its state when asked for `/dump`.

use crate::support::{Counter, ON_PURPOSE};
use logic_api::prelude::*;
use std::fmt::Write;
use std::time::Duration;

#[derive(Row, Debug)]
#[repr(C)]
pub(crate) struct Avatar {
    #[row(key)]
    player: PlayerId,
    #[row(unique)]
    badge: u32,
    score: u64,
    note: Text,
    timer: Opt<u64>,
}

#[derive(Row, Debug, Default)]
#[repr(C)]
pub(crate) struct Game {
    config: u64,
    joined: u32,
    ticks: u64,
    chance: u64,
    fired: u64,
    bomb: bool,
    upgraded_from: u32,
    log: Text,
}

/// The first byte of a message says what to do, the second is a number.
pub(crate) mod order {
    pub(crate) const ADD: u8 = 0;
    pub(crate) const NOTE: u8 = 1;
    /// A timer in so many ticks, with the third byte as its tag.
    pub(crate) const TIMER: u8 = 2;
    pub(crate) const CANCEL: u8 = 3;
    pub(crate) const KICK: u8 = 4;
    /// Makes the next tick panic, in a version that has not learnt better.
    pub(crate) const BOMB: u8 = 5;
    pub(crate) const PANIC: u8 = 6;
    pub(crate) const CHANGE_ALL_THEN_PANIC: u8 = 7;
    pub(crate) const SAME_BADGE: u8 = 8;
    pub(crate) const FLOOD: u8 = 9;
    /// Panics in the old version only.
    pub(crate) const NEW: u8 = 10;
}

pub(crate) const TAG_SETS_ANOTHER: u64 = 7;
pub(crate) const TAG_PANICS: u64 = 13;

pub(crate) struct Rules<'a> {
    avatars: &'a mut Table<Avatar>,
    game: &'a mut One<Game>,
    /// True in versions that have learnt from their predecessor's faults.
    fixed: bool,
}

fn panics() -> ! {
    panic!("{ON_PURPOSE}")
}

fn attempt(join: &Join) -> Admission {
    match join.hello {
        b"no" => Admission::Refuse("not today".into()),
        b"panic early" => panics(),
        _ => Admission::Accept,
    }
}

impl Rules<'_> {
    fn create(&mut self, config: &[u8]) {
        self.game.config = config.len() as u64;
    }

    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {
        self.game.joined += 1;
        let (badge, note) = (self.game.joined, Text::new(&String::from_utf8_lossy(join.hello)));
        self.avatars.insert(Avatar { player, badge, score: 0, note, timer: Opt::none() });
        ctx.broadcast_except(player, b"joined");
        if join.hello == b"panic" {
            panics();
        }
    }

    fn leave(&mut self, ctx: &mut Ctx, player: PlayerId, reason: &str) {
        self.avatars.remove_key(player).expect("joined");
        ctx.broadcast(reason.as_bytes());
        if reason == "panic" {
            panics();
        }
    }

    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        let [what, number, tag] = *bytes else { return };
        let mut avatar = self.avatars.find_mut(player).expect("joined");
        match what {
            order::ADD => avatar.score += u64::from(number) * if self.fixed { 2 } else { 1 },
            order::NOTE => avatar.note.set(&"n".repeat(number.into())),
            order::TIMER => {
                let timer = ctx.after(Duration::from_millis(u64::from(number) * 50), tag.into());
                avatar.timer = Opt::some(timer.0);
            }
            order::CANCEL => {
                let was = avatar.timer.take().is_some_and(|timer| ctx.cancel(TimerId(timer)));
                ctx.reply(if was { b"cancelled" } else { b"no timer" });
            }
            order::KICK => ctx.kick(player, "enough"),
            order::BOMB => self.game.bomb = true,
            order::PANIC => panics(),
            order::CHANGE_ALL_THEN_PANIC => {
                (avatar.score, avatar.badge) = (u64::MAX, 1_000_000);
                avatar.note.set("changed");
                drop(avatar);
                self.avatars.clear();
                self.game.log.push_str("changed");
                ctx.after(Duration::ZERO, 1);
                ctx.broadcast(b"changed");
                ctx.kick(player, "changed");
                panics();
            }
            order::SAME_BADGE => {
                avatar.badge = u32::from(number);
            }
            order::FLOOD => {
                let bytes = vec![0; 1 << 20];
                (0..=64).for_each(|_| ctx.broadcast(&bytes));
            }
            order::NEW if self.fixed => avatar.score += 1000,
            _ => panics(),
        }
        ctx.reply(&[what]);
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        self.game.ticks += 1;
        self.game.chance = ctx.rng().next_u64();
        for mut avatar in &mut *self.avatars {
            avatar.score += self.game.ticks % 3;
        }
        if self.game.bomb && !self.fixed {
            panics();
        }
    }

    fn timer(&mut self, ctx: &mut Ctx, timer: TimerId, tag: u64) {
        self.game.fired += tag;
        let line = format!("{timer}:{tag}@{} ", ctx.tick());
        if self.game.log.len() > 100 {
            self.game.log.set("");
        }
        self.game.log.push_str(&line);
        match tag {
            TAG_SETS_ANOTHER => {
                ctx.after(Duration::ZERO, 1);
            }
            TAG_PANICS if !self.fixed => panics(),
            _ => {}
        }
    }

    fn request(&mut self, request: &Request) -> Response {
        self.game.log.push_str(request.path);
        match request.path {
            "/panic" => panics(),
            _ => Response::text(self.game.log.to_string()),
        }
    }

    fn signal(&mut self, name: &str) {
        self.game.log.set(name);
        if name == "panic" {
            panics();
        }
    }

    fn upgraded(&mut self, from: Version) {
        self.game.upgraded_from = from.0;
    }
}

fn dump(avatars: &Table<Avatar>, game: &One<Game>) -> String {
    let Game { config, joined, ticks, chance, fired, bomb, upgraded_from, log } = &**game;
    let mut text = format!("{config} {joined} {ticks} {chance} {fired} {bomb} {upgraded_from} {log}\n");
    for Avatar { player, badge, score, note, timer } in avatars {
        writeln!(text, "{player} {badge} {score} {note} {:?}", timer.get()).expect("a String takes all");
    }
    text
}

macro_rules! version {
    ($name:ident, $version:literal, fixed: $fixed:literal, upgraded: |$rules:ident, $from:ident| $upgraded:expr) => {
        #[derive(World, Debug)]
        pub(crate) struct $name {
            avatars: Table<Avatar>,
            game: One<Game>,
        }

        impl $name {
            fn rules(&mut self) -> Rules<'_> {
                Rules { avatars: &mut self.avatars, game: &mut self.game, fixed: $fixed }
            }
        }

        #[logic(linked, version = $version)]
        impl Logic for $name {
            fn create(&mut self, _ctx: &mut Ctx, config: &[u8]) {
                self.rules().create(config);
            }
            fn join_attempt(&self, _ctx: &Ctx, _player: PlayerId, join: &Join) -> Admission {
                attempt(join)
            }
            fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {
                self.rules().join(ctx, player, join);
            }
            fn leave(&mut self, ctx: &mut Ctx, player: PlayerId, reason: &str) {
                self.rules().leave(ctx, player, reason);
            }
            fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
                self.rules().message(ctx, player, bytes);
            }
            fn tick(&mut self, ctx: &mut Ctx) {
                self.rules().tick(ctx);
            }
            fn timer(&mut self, ctx: &mut Ctx, timer: TimerId, tag: u64) {
                self.rules().timer(ctx, timer, tag);
            }
            fn query(&self, request: &Request) -> Option<Response> {
                match request.path {
                    "/dump" => Some(Response::text(dump(&self.avatars, &self.game))),
                    "/query-panics" => panics(),
                    "/query-writes-text" => Some(Response::text(self.game.log.clone().to_string())),
                    "/query-makes-text" => Some(Response::text(Text::new("new").to_string())),
                    _ => None,
                }
            }
            fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
                self.rules().request(request)
            }
            fn signal(&mut self, _ctx: &mut Ctx, name: &str, _bytes: &[u8]) {
                self.rules().signal(name);
            }
            fn upgraded(&mut self, _ctx: &mut Ctx, $from: Version) {
                let mut $rules = self.rules();
                $upgraded
            }
        }
    };
}

version!(Old, 1001, fixed: false, upgraded: |rules, from| rules.upgraded(from));
version!(New, 1002, fixed: true, upgraded: |rules, from| rules.upgraded(from));
version!(PanicsWhenUpgraded, 1003, fixed: true, upgraded: |rules, from| {
    rules.upgraded(from);
    rules.avatars.clear();
    rules.game.log.set("half done");
    panics()
});

/// Other tables than the versions above.
#[derive(World, Debug)]
#[expect(dead_code, reason = "never bound")]
pub(crate) struct Different {
    game: Table<Game>,
    extra: Table<Avatar>,
}

#[logic(linked, version = 1004)]
impl Logic for Different {}

/// A logic that counts its messages outside of the world, and fails at some of them.
#[derive(World, Debug)]
#[expect(dead_code, reason = "the table is there to have the schema of the others")]
pub(crate) struct Forgetful {
    avatars: Table<Avatar>,
    game: One<Game>,
}

thread_local! {
    static MESSAGES: Counter = const { Counter::new() };
}

#[logic(linked, version = 1005)]
impl Logic for Forgetful {
    fn message(&mut self, _ctx: &mut Ctx, _player: PlayerId, bytes: &[u8]) {
        self.game.ticks += 1;
        let count = MESSAGES.with(Counter::next);
        assert!(count != 4 && bytes != b"panic", "{ON_PURPOSE}");
        self.game.joined += 1;
    }
    fn query(&self, _request: &Request) -> Option<Response> {
        Some(Response::text(format!("{} {}", self.game.ticks, self.game.joined)))
    }
}
