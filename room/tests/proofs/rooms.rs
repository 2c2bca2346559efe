//! Rooms against a model in which nothing faulty ever happened: random inputs, faults, swaps, and the way back.

use crate::game::{New, Old, PanicsWhenUpgraded, TAG_PANICS, TAG_SETS_ANOTHER, order};
use crate::records::through_bytes;
use crate::snapshots::restored;
use crate::support::{self, Driver, for_seeds, get, join_saying, linked, stamp};
use logic_api::{PlayerId, Rng};
use room::{Input, LogicVersion, Outbox, Output, Pool, Reply, Room, Stamp, StepError};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// What a room must hold.
#[derive(Debug, Clone, Default)]
struct Model {
    fixed: bool,
    version: u32,
    tick: u64,
    avatars: BTreeMap<u64, ModelAvatar>,
    /// Slots: whose avatar is where decides the order of a dump.
    slots: Vec<Option<u64>>,
    joined: u32,
    ticks: u64,
    chance: u64,
    fired: u64,
    bomb: bool,
    upgraded_from: u32,
    log: String,
    /// Due time, number, tag.
    timers: Vec<(u64, u64, u64)>,
    timer: u64,
}

#[derive(Debug, Clone)]
struct ModelAvatar {
    badge: u32,
    score: u64,
    note: String,
    timer: Option<u64>,
    is_connected: bool,
    consumed: u32,
}

/// What the model says that happens.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done(Vec<Output>),
    Answer(String),
    Fault(&'static str),
    NotApplied,
}

fn send(to: u64, bytes: &[u8]) -> Output {
    Output::Send { to: PlayerId(to), bytes: bytes.into() }
}

fn broadcast(except: u64, bytes: &[u8]) -> Output {
    Output::Broadcast { except: PlayerId(except), bytes: bytes.into() }
}

impl Model {
    fn apply(&mut self, Stamp { now_us, seed }: Stamp, input: &Input) -> Outcome {
        match input {
            Input::Join { player, hello, .. } => {
                if self.avatars.contains_key(&player.0) {
                    return Outcome::NotApplied;
                }
                match &**hello {
                    b"no" => return Outcome::NotApplied,
                    b"panic early" => return Outcome::Fault("join_attempt"),
                    b"panic" => return Outcome::Fault("join"),
                    _ => {}
                }
                if self.avatars.values().any(|avatar| avatar.badge == self.joined + 1) {
                    return Outcome::Fault("join");
                }
                self.joined += 1;
                let note = String::from_utf8_lossy(hello).into_owned();
                let (timer, is_connected, consumed) = (None, true, 0);
                let avatar = ModelAvatar { badge: self.joined, score: 0, note, timer, is_connected, consumed };
                self.avatars.insert(player.0, avatar);
                match self.slots.iter().position(Option::is_none) {
                    Some(free) => self.slots[free] = Some(player.0),
                    None => self.slots.push(Some(player.0)),
                }
                Outcome::Done(vec![broadcast(player.0, b"joined")])
            }
            Input::Leave { player, reason } => {
                if !self.avatars.contains_key(&player.0) {
                    return Outcome::NotApplied;
                }
                if &**reason == "panic" {
                    return Outcome::Fault("leave");
                }
                self.avatars.remove(&player.0);
                self.slots.iter_mut().filter(|slot| **slot == Some(player.0)).for_each(|slot| *slot = None);
                Outcome::Done(vec![broadcast(0, reason.as_bytes())])
            }
            Input::Drop { player } => self.connect(player.0, false),
            Input::Reconnect { player } => self.connect(player.0, true),
            Input::Message { player, number, bytes } => match self.consume(player.0, *number) {
                true => self.message(now_us, player.0, bytes),
                false => Outcome::NotApplied,
            },
            Input::Skip { player, number } => match self.consume(player.0, *number) {
                true => Outcome::Done(Vec::new()),
                false => Outcome::NotApplied,
            },
            Input::Presence { player, is_connected } => self.connect(player.0, *is_connected),
            Input::Tick => self.tick(now_us, seed),
            Input::Request(request) if request.path == "/panic" => Outcome::Fault("request"),
            Input::Request(request) => {
                self.log.push_str(&request.path);
                Outcome::Answer(self.log.clone())
            }
            Input::Signal { name, .. } if &**name == "panic" => Outcome::Fault("signal"),
            Input::Signal { name, .. } => {
                self.log = name.to_string();
                Outcome::Done(Vec::new())
            }
            Input::Swap { to, .. } if to.version().0 == 1003 => Outcome::Fault("upgraded"),
            Input::Swap { to, .. } => {
                self.upgraded_from = self.version;
                self.version = to.version().0;
                self.fixed = self.version == 1002;
                Outcome::Done(Vec::new())
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn connect(&mut self, player: u64, is_connected: bool) -> Outcome {
        match self.avatars.get_mut(&player) {
            Some(avatar) if avatar.is_connected != is_connected => {
                avatar.is_connected = is_connected;
                Outcome::Done(Vec::new())
            }
            _ => Outcome::NotApplied,
        }
    }

    fn consume(&mut self, player: u64, number: u32) -> bool {
        match self.avatars.get_mut(&player) {
            Some(avatar) if avatar.consumed < number => {
                avatar.consumed = number;
                true
            }
            _ => false,
        }
    }

    fn message(&mut self, now_us: u64, player: u64, bytes: &[u8]) -> Outcome {
        let badges: Vec<(u64, u32)> = self.avatars.iter().map(|(player, avatar)| (*player, avatar.badge)).collect();
        let Some(avatar) = self.avatars.get_mut(&player) else { return Outcome::NotApplied };
        let [what, number, tag] = *bytes else { return Outcome::Done(Vec::new()) };
        let mut outputs = Vec::new();
        match what {
            order::ADD => avatar.score += u64::from(number) * if self.fixed { 2 } else { 1 },
            order::NOTE => avatar.note = "n".repeat(number.into()),
            order::TIMER => {
                self.timer += 1;
                self.timers.push((now_us + u64::from(number) * 50_000, self.timer, tag.into()));
                avatar.timer = Some(self.timer);
            }
            order::CANCEL => {
                let before = self.timers.len();
                let timer = avatar.timer.take();
                self.timers.retain(|(_, number, _)| Some(*number) != timer);
                let was = self.timers.len() < before;
                outputs.push(send(player, if was { b"cancelled" } else { b"no timer" }));
            }
            order::KICK => outputs.push(Output::Kick { player: PlayerId(player), reason: "enough".into() }),
            order::BOMB => self.bomb = true,
            order::SAME_BADGE if badges.iter().any(|(other, badge)| *other != player && *badge == number.into()) => {
                return Outcome::Fault("message");
            }
            order::SAME_BADGE => avatar.badge = number.into(),
            order::NEW if self.fixed => avatar.score += 1000,
            _ => return Outcome::Fault("message"),
        }
        outputs.push(send(player, &[what]));
        Outcome::Done(outputs)
    }

    fn tick(&mut self, now_us: u64, seed: u64) -> Outcome {
        self.tick += 1;
        self.timers.sort_unstable();
        let due: Vec<_> = self.timers.iter().copied().filter(|(due_us, ..)| *due_us <= now_us).collect();
        self.timers.retain(|(due_us, ..)| *due_us > now_us);
        for (_, timer, tag) in due {
            self.fired += tag;
            if self.log.len() > 100 {
                self.log.clear();
            }
            write!(self.log, "{timer}:{tag}@{} ", self.tick).unwrap();
            match tag {
                TAG_SETS_ANOTHER => {
                    self.timer += 1;
                    self.timers.push((now_us, self.timer, 1));
                }
                TAG_PANICS if !self.fixed => return Outcome::Fault("timer"),
                _ => {}
            }
        }
        self.ticks += 1;
        self.chance = Rng::new(seed).next_u64();
        self.avatars.values_mut().for_each(|avatar| avatar.score += self.ticks % 3);
        if self.bomb && !self.fixed { Outcome::Fault("tick") } else { Outcome::Done(Vec::new()) }
    }

    fn dump(&self) -> String {
        let Self { joined, ticks, chance, fired, bomb, upgraded_from, log, .. } = self;
        let mut text = format!("3 {joined} {ticks} {chance} {fired} {bomb} {upgraded_from} {log}\n");
        for player in self.slots.iter().flatten() {
            let ModelAvatar { badge, score, note, timer, .. } = &self.avatars[player];
            writeln!(text, "{player} {badge} {score} {note} {timer:?}").unwrap();
        }
        text
    }
}

/// A swap that may be taken back: the model before it, whether the room was frozen, and how much had been applied.
struct Trial {
    model: Model,
    frozen: bool,
    accepted: usize,
}

struct Simulation {
    driver: Driver,
    model: Model,
    frozen: bool,
    trial: Option<Trial>,
    /// What a room without faults would have been given.
    accepted: Vec<(Stamp, Input)>,
    versions: [Arc<LogicVersion>; 3],
    pool: Pool,
    hashes: Vec<u64>,
    /// How often each kind of thing happened: a simulation that never freezes proves nothing of it.
    faults: usize,
    freezes: usize,
    backs: usize,
}

impl Simulation {
    fn new() -> Self {
        let versions = [linked::<Old>(), linked::<New>(), linked::<PanicsWhenUpgraded>()];
        let pool = Pool::new();
        let driver = Driver::with(&versions[0], &pool, b"abc");
        Self {
            driver,
            model: Model { version: 1001, ..Model::default() },
            frozen: false,
            trial: None,
            accepted: Vec::new(),
            versions,
            pool,
            hashes: Vec::new(),
            faults: 0,
            freezes: 0,
            backs: 0,
        }
    }

    fn random_input(&self, rng: &mut Rng) -> Input {
        let player = PlayerId(1 + rng.below(6));
        let message = |bytes: &[u8]| support::message(player.0, bytes);
        let hello: &[u8] = rng.pick(&[&b"ann"[..], b"bob", b"", b"no", b"panic", b"panic early"]).unwrap();
        let reason = *rng.pick(&["left", "gone", "panic"]).unwrap();
        match rng.below(100) {
            0..30 => Input::Tick,
            30 => Input::Presence { player, is_connected: rng.chance(0.5) },
            31 => Input::Drop { player },
            32..34 => Input::Reconnect { player },
            34 => Input::Skip { player, number: u32::try_from(rng.below(20)).unwrap() },
            35..45 => join_saying(player.0, hello),
            45..50 => Input::Leave { player, reason: reason.into() },
            50..55 => Input::Request(Arc::new(get(rng.pick(&["/a", "/b", "/panic"]).unwrap()))),
            55..58 => Input::Signal { name: (*rng.pick(&["x", "y", "panic"]).unwrap()).into(), bytes: [].into() },
            58..63 => Input::swap(rng.pick(&self.versions).unwrap().clone()),
            63..65 => message(b"short"),
            65 => Input::Message { player, number: u32::try_from(1 + rng.below(20)).unwrap(), bytes: [].into() },
            _ => {
                let what = match rng.below(30) {
                    0 => order::BOMB,
                    1..4 => order::PANIC,
                    4..7 => order::CHANGE_ALL_THEN_PANIC,
                    7..10 => order::NEW,
                    10..13 => order::SAME_BADGE,
                    13..18 => order::TIMER,
                    18..20 => order::CANCEL,
                    20 => order::KICK,
                    21..25 => order::NOTE,
                    _ => order::ADD,
                };
                let tag = [1, 2, TAG_SETS_ANOTHER as u8, TAG_PANICS as u8][usize::try_from(rng.below(4)).unwrap()];
                message(&[what, rng.below(12) as u8, tag])
            }
        }
    }

    fn step(&mut self, input: Input) {
        let input = self.driver.numbered(input);
        let is_swap = matches!(input, Input::Swap { .. });
        let before = self.driver.hash();
        let seq = self.driver.room.seq().0;
        let result = self.driver.step(input.clone());
        let stamp = stamp(self.driver.inputs);
        let mut next = self.model.clone();
        let expected = match (self.frozen && !is_swap) || (is_swap && self.trial.is_some()) {
            true => Outcome::NotApplied,
            false => next.apply(stamp, &input),
        };
        let outputs = self.driver.outputs().to_vec();
        let found = match &result {
            Ok(Reply::Done) => Outcome::Done(outputs),
            Ok(Reply::Rewound(_)) => unreachable!("{input:?}"),
            Ok(Reply::Response(response)) => Outcome::Answer(String::from_utf8(response.body.clone()).unwrap()),
            Err(StepError::Fault(fault)) => {
                let text = fault.message.as_str();
                assert!(text == "on purpose" || text.contains("another row has this value"), "{fault}");
                assert!(!fault.location.is_empty() && outputs.is_empty());
                Outcome::Fault(fault.callback)
            }
            Err(StepError::Refused(reason)) => {
                assert_eq!(reason, "not today");
                Outcome::NotApplied
            }
            Err(
                StepError::Frozen(_)
                | StepError::NotIn(_)
                | StepError::AlreadyIn(_)
                | StepError::Connected(_)
                | StepError::NotConnected(_)
                | StepError::Consumed { .. },
            ) => Outcome::NotApplied,
            Err(StepError::OnTrial(_)) if is_swap => Outcome::NotApplied,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, expected, "{input:?} on {:?}", self.model);
        if result.is_err() {
            assert_eq!(self.driver.hash(), before, "an input that failed leaves no trace");
            assert_eq!(self.driver.room.seq().0, seq);
            if matches!(found, Outcome::Fault(_)) {
                self.faults += 1;
                if matches!(input, Input::Tick) {
                    self.frozen = true;
                    self.freezes += 1;
                }
            }
            return;
        }
        assert_eq!(self.driver.room.seq().0, seq + 1);
        if is_swap {
            let model = std::mem::replace(&mut self.model, next);
            self.trial = Some(Trial { model, frozen: self.frozen, accepted: self.accepted.len() });
            self.frozen = false;
        } else {
            self.model = next;
        }
        self.accepted.push((stamp, input));
    }

    fn confirm(&mut self) {
        let confirmed = self.driver.step(Input::Confirm);
        drop(self.driver.room.take_spent());
        assert_eq!(confirmed, self.trial.take().map(|_| Reply::Done).ok_or(StepError::NoTrial));
    }

    fn rewind(&mut self) {
        let rewound = self.driver.step(Input::rewind());
        let Some(Trial { model, frozen, accepted }) = self.trial.take() else {
            assert_eq!(rewound, Err(StepError::NoTrial));
            return;
        };
        let Ok(Reply::Rewound(lost)) = rewound else { panic!("{rewound:?}") };
        self.backs += 1;
        (self.model, self.frozen) = (model, frozen);
        let mut lost = lost.iter();
        for (stamp, input) in self.accepted.split_off(accepted) {
            if matches!(input, Input::Swap { .. }) {
                continue;
            }
            let mut next = self.model.clone();
            let outcome = match self.frozen {
                true => Outcome::NotApplied,
                false => next.apply(stamp, &input),
            };
            match outcome {
                Outcome::Fault(callback) => {
                    let error = lost.next();
                    let fault = error.map(|lost| &lost.error);
                    assert!(matches!(fault, Some(StepError::Fault(fault)) if fault.callback == callback), "{error:?}");
                    self.frozen |= matches!(input, Input::Tick);
                    self.skip(stamp, &input);
                }
                Outcome::NotApplied => {
                    assert!(lost.next().is_some());
                    self.skip(stamp, &input);
                }
                _ => {
                    self.model = next;
                    self.accepted.push((stamp, input));
                }
            }
        }
        assert_eq!(lost.next(), None);
    }

    /// The number of a message that is lost stays consumed, in a room that is frozen, too.
    fn skip(&mut self, stamp: Stamp, input: &Input) {
        let (Input::Message { player, number, .. } | Input::Skip { player, number }) = *input else { return };
        if self.model.consume(player.0, number) {
            self.accepted.push((stamp, Input::Skip { player, number }));
        }
    }

    fn compare(&mut self) {
        let room = &mut self.driver.room;
        assert_eq!(room.tick().0, self.model.tick);
        assert_eq!(room.frozen().is_some(), self.frozen);
        assert_eq!(room.logic().version().0, self.model.version);
        let players: Vec<u64> = room.world().players().iter().map(|player| player.0).collect();
        assert!(players.iter().eq(self.model.avatars.keys()));
        for (player, avatar) in &self.model.avatars {
            let player = room.world().player(PlayerId(*player)).unwrap();
            assert_eq!((player.is_connected, player.consumed), (avatar.is_connected, avatar.consumed));
        }
        let before = room.state_hash();
        let answer = room.query(&get("/dump")).unwrap().unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), self.model.dump());
        for path in ["/query-panics", "/query-makes-text"] {
            assert_eq!(room.query(&get(path)).unwrap_err().callback, "query");
        }
        assert_eq!(room.state_hash(), before, "a query leaves no trace");
        self.hashes.push(before);
    }

    /// A room that was given only what was applied.
    fn without_faults(&self) -> Room {
        let mut outbox = Outbox::new();
        let mut room =
            Room::create("proof", self.versions[0].clone(), &self.pool, stamp(0), b"abc", &mut outbox).unwrap();
        for (stamp, input) in &self.accepted {
            outbox.drain().for_each(drop);
            // From their records, as after a crash.
            let (stamp, input) = through_bytes(*stamp, input);
            let is_swap = matches!(input, Input::Swap { .. });
            room.step(stamp, input, &mut outbox).unwrap();
            if is_swap {
                room.step(stamp, Input::Confirm, &mut outbox).unwrap();
            }
        }
        room
    }
}

fn simulate(seed: u64, steps: u64) -> Simulation {
    let mut rng = Rng::new(seed);
    let mut this = Simulation::new();
    for _ in 0..steps {
        match rng.below(40) {
            0 => this.confirm(),
            1 => this.rewind(),
            2 => this.driver.room = this.driver.room.twin_of_kept(&mut this.trial),
            3 => {
                this.confirm();
                this.driver.room = restored(&mut this.driver.room, &this.pool);
            }
            _ => {
                let input = this.random_input(&mut rng);
                this.step(input);
            }
        }
        this.compare();
    }
    this
}

trait TwinOfKept {
    fn twin_of_kept(&mut self, trial: &mut Option<Trial>) -> Room;
}

impl TwinOfKept for Room {
    /// Goes on with a twin, for which swaps of the past are kept.
    fn twin_of_kept(&mut self, trial: &mut Option<Trial>) -> Room {
        *trial = None;
        self.twin()
    }
}

#[test]
fn rooms_agree_with_a_model_without_faults() {
    let (seeds, steps) = if cfg!(miri) { (1, 30) } else { (200, 120) };
    let (mut runs, mut faults, mut freezes, mut backs) = (0, 0, 0, 0);
    for_seeds(seeds, |seed| {
        let mut one = simulate(seed, steps);
        let two = simulate(seed, steps);
        assert_eq!(one.hashes, two.hashes, "the same seed gives the same worlds");
        assert_eq!(one.without_faults().state_hash(), one.driver.hash());
        runs += 1;
        (faults, freezes, backs) = (faults + one.faults, freezes + one.freezes, backs + one.backs);
        let pool = one.pool.clone();
        drop(one);
        assert_eq!(pool.used_bytes(), 0, "every page went back");
    });
    // Few seeds may have few of something.
    if runs >= 200 {
        assert!(faults > 1000 && freezes > 50 && backs > 100, "{faults} faults, {freezes} freezes, {backs} taken back");
    }
}
