//! What a room must hold: a model in which nothing faulty ever happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use logic_api::{PlayerId, Rng};
use room::{Input, Request, Stamp, TrialId};

use super::black_box::{Key, Quarantine};
use super::deadly::first_number;
use super::game::{STUCK, created_on, note, order, parse};

/// A room after one of its inputs. Cheap to clone, but for the world.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) is_frozen: bool,
    pub(crate) trial: Option<Rc<Trial>>,
    /// Who has left, and why, though the room has not heard of it.
    pub(crate) leaving: BTreeMap<u64, Arc<str>>,
    /// As [`room::Room::seq`].
    pub(crate) seq: u64,
    past: Past,
}

/// A swap that may be taken back.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) id: TrialId,
    before: State,
}

/// What a room without faults would have been given, newest first.
#[derive(Debug, Clone, Default)]
struct Past(Option<Rc<(Stamp, Input, Past)>>);

impl Past {
    /// Oldest first, back to `until`.
    fn since(&self, until: &Past) -> Vec<(Stamp, Input)> {
        let (mut inputs, mut at) = (Vec::new(), self);
        while let Some(node) = &at.0 {
            if until.0.as_ref().is_some_and(|until| Rc::ptr_eq(until, node)) {
                break;
            }
            inputs.push((node.0, node.1.clone()));
            at = &node.2;
        }
        inputs.reverse();
        inputs
    }

    fn and(self, stamp: Stamp, input: &Input) -> Past {
        Past(Some(Rc::new((stamp, input.clone(), self))))
    }
}

/// A long life is not to end in a stack overflow.
impl Drop for Past {
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut node) = next.and_then(Rc::into_inner) {
            next = node.2.0.take();
        }
    }
}

/// Why an input is not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Not {
    Fault(&'static str),
    Applied,
    /// The process ends in it.
    Ends,
    /// The process ends in an input that the rewind applies once more: its first random number.
    EndsAgain(TrialId, u64),
}

impl State {
    /// After the input; with it, whatever a rewind took out once more.
    pub(crate) fn apply(&self, stamp: Stamp, input: &Input, quarantine: &Quarantine) -> Result<State, Not> {
        let mut next = match input {
            Input::Dispose => return Ok(State::default()),
            Input::Confirm => {
                self.trial.as_ref().ok_or(Not::Applied)?;
                State { trial: None, ..self.clone() }
            }
            Input::Rewind { .. } => self.rewound(quarantine)?,
            Input::Swap { trial, .. } => {
                if self.trial.is_some() {
                    return Err(Not::Applied);
                }
                let world = self.world.apply(stamp, input)?;
                let trial = Some(Rc::new(Trial { id: *trial, before: self.clone() }));
                State { world, is_frozen: false, trial, past: self.past.clone().and(stamp, input), ..self.clone() }
            }
            _ if self.is_frozen => return Err(Not::Applied),
            _ => self.stepped(stamp, input)?,
        };
        next.seq = self.seq + 1;
        if let Input::Leave { player, .. } = input {
            next.leaving.remove(&player.0);
        }
        Ok(next)
    }

    fn stepped(&self, stamp: Stamp, input: &Input) -> Result<State, Not> {
        let world = self.world.apply(stamp, input)?;
        Ok(State { world, past: self.past.clone().and(stamp, input), ..self.clone() })
    }

    fn rewound(&self, quarantine: &Quarantine) -> Result<State, Not> {
        let Trial { id, before } = &**self.trial.as_ref().ok_or(Not::Applied)?;
        let mut state = State { leaving: self.leaving.clone(), ..before.clone() };
        for (stamp, input) in self.past.since(&before.past) {
            if matches!(input, Input::Swap { .. }) {
                continue;
            }
            if state.is_frozen {
                state.lose(&input);
                state = state.skipped(stamp, &input);
                continue;
            }
            let number = first_number(stamp.seed);
            let stepped = match quarantine.contains(&Key::Again(*id, number)) {
                true if matches!(input, Input::Tick) => Err(Not::Fault("tick")),
                true => Err(Not::Applied),
                false => state.stepped(stamp, &input),
            };
            match stepped {
                Ok(next) => state = next,
                Err(Not::Ends) => return Err(Not::EndsAgain(*id, number)),
                Err(not) => {
                    state.lose(&input);
                    state.is_frozen = not == Not::Fault("tick");
                    state = state.skipped(stamp, &input);
                }
            }
        }
        Ok(state)
    }

    /// The number of a message that a rewind loses stays consumed, in a room that is frozen, too.
    fn skipped(self, stamp: Stamp, input: &Input) -> State {
        let (Input::Message { player, number, .. } | Input::Skip { player, number }) = *input else { return self };
        let is_frozen = self.is_frozen;
        let thawed = State { is_frozen: false, ..self };
        let skipped = thawed.stepped(stamp, &Input::Skip { player, number });
        State { is_frozen, ..skipped.unwrap_or(thawed) }
    }

    /// A rewind loses the input: whoever has left by it was told so.
    fn lose(&mut self, input: &Input) {
        if let Input::Leave { player, reason } = input {
            self.leaving.insert(player.0, reason.clone());
        }
    }

    /// A player has left, and the room has not heard of it.
    pub(crate) fn left(&self, player: PlayerId, reason: &Arc<str>) -> State {
        let mut left = self.clone();
        left.leaving.insert(player.0, reason.clone());
        left
    }

    /// Those who are to leave, and are in the world.
    pub(crate) fn is_leaving(&self) -> BTreeMap<PlayerId, Arc<str>> {
        let of_world = self.leaving.iter().filter(|(player, _)| self.world.players.contains_key(player));
        of_world.map(|(player, reason)| (PlayerId(*player), reason.clone())).collect()
    }

    /// The room is not there: not yet, or not any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.world.version == 0
    }

    /// After a fault in a tick.
    pub(crate) fn frozen(&self) -> State {
        State { is_frozen: true, ..self.clone() }
    }

    /// The first random numbers of the inputs since the swap on trial.
    pub(crate) fn numbers_on_trial(&self) -> Vec<u64> {
        let since = self.trial.iter().flat_map(|trial| self.past.since(&trial.before.past));
        since.map(|(stamp, _)| first_number(stamp.seed)).collect()
    }

    /// What a room that never failed, never was killed and never went back would have been given.
    pub(crate) fn past(&self) -> Vec<(Stamp, Input)> {
        self.past.since(&Past::default())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) version: u32,
    pub(crate) players: BTreeMap<u64, Player>,
    pub(crate) born: u64,
    ticks: u64,
    chance: u64,
    fired: u64,
    requests: u64,
    bomb: bool,
    mine: bool,
    upgraded_from: u32,
    laps: u64,
    /// When each message came.
    heard: BTreeMap<u64, u64>,
    /// Due time and tag.
    timers: Vec<(u64, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Player {
    score: u64,
    level: u32,
    note: String,
    pub(crate) is_connected: bool,
    pub(crate) consumed: u32,
}

impl World {
    fn has_learnt(&self) -> bool {
        self.version != 1001
    }

    fn apply(&self, stamp: Stamp, input: &Input) -> Result<World, Not> {
        let mut next = self.clone();
        next.change(stamp, input).map(|()| next)
    }

    /// After an error the world is half changed.
    fn change(&mut self, Stamp { now_us, seed }: Stamp, input: &Input) -> Result<(), Not> {
        let player = input.player().0;
        match input {
            Input::Create { config } => (self.version, self.born) = (created_on(config), first_number(seed)),
            Input::Join { hello, .. } => {
                if self.players.contains_key(&player) || &**hello == b"no" {
                    return Err(Not::Applied);
                }
                if &**hello == b"panic" {
                    return Err(Not::Fault("join"));
                }
                let note = String::from_utf8_lossy(hello).into_owned();
                let level = self.level();
                self.players.insert(player, Player { score: 0, level, note, is_connected: true, consumed: 0 });
            }
            Input::Leave { reason, .. } => {
                self.players.remove(&player).ok_or(Not::Applied)?;
                if &**reason == STUCK && !self.has_learnt() {
                    return Err(Not::Fault("leave"));
                }
            }
            Input::Drop { .. } | Input::Reconnect { .. } => {
                let was = matches!(input, Input::Drop { .. });
                let player = self.players.get_mut(&player).filter(|player| player.is_connected == was);
                player.ok_or(Not::Applied)?.is_connected = !was;
            }
            Input::Skip { number, .. } => self.consume(player, *number)?,
            Input::Message { number, bytes, .. } => {
                self.consume(player, *number)?;
                self.message(now_us, player, bytes)?;
            }
            Input::Tick => self.tick(now_us, seed)?,
            Input::Request(request) => self.request(request)?,
            Input::Swap { to, .. } => self.swap(to.version().0)?,
            other => unreachable!("{other:?}"),
        }
        Ok(())
    }

    fn level(&self) -> u32 {
        if self.version == 1003 { 7 } else { 0 }
    }

    fn consume(&mut self, player: u64, number: u32) -> Result<(), Not> {
        let player = self.players.get_mut(&player).filter(|player| player.consumed < number);
        player.ok_or(Not::Applied)?.consumed = number;
        Ok(())
    }

    fn message(&mut self, now_us: u64, player: u64, bytes: &[u8]) -> Result<(), Not> {
        let (what, number, serial) = parse(bytes);
        let (has_learnt, factor) = (self.has_learnt(), if self.has_learnt() { 2 } else { 1 });
        assert_eq!(self.heard.insert(serial, now_us), None, "the simulation numbers each message anew");
        let player = self.players.get_mut(&player).unwrap();
        match what {
            order::ADD => player.score += u64::from(number) * factor,
            order::NOTE => player.note = note(number),
            order::TIMER => self.timers.push((now_us + u64::from(number) * 50_000, number.into())),
            order::BOMB => self.bomb = true,
            order::NEW if has_learnt => player.score += 1000,
            order::END if has_learnt => player.score += 500,
            order::END => return Err(Not::Ends),
            order::MINE => self.mine = true,
            _ => return Err(Not::Fault("message")),
        }
        Ok(())
    }

    fn tick(&mut self, now_us: u64, seed: u64) -> Result<(), Not> {
        if self.mine && !self.has_learnt() {
            return Err(Not::Ends);
        }
        let is_due = |(due_us, _): &(u64, u64)| *due_us <= now_us;
        self.fired += self.timers.iter().filter(|timer| is_due(timer)).map(|(_, tag)| tag).sum::<u64>();
        self.timers.retain(|timer| !is_due(timer));
        self.ticks += 1;
        self.chance = Rng::new(seed).next_u64();
        self.players.values_mut().for_each(|player| player.score += self.ticks % 3);
        self.laps += u64::from(self.version == 1003);
        if self.bomb && !self.has_learnt() { Err(Not::Fault("tick")) } else { Ok(()) }
    }

    fn request(&mut self, request: &Request) -> Result<(), Not> {
        self.requests += 1;
        if request.path == "/panic" { Err(Not::Fault("request")) } else { Ok(()) }
    }

    fn swap(&mut self, version: u32) -> Result<(), Not> {
        match (version, self.version) {
            (1005, _) | (_, 1003) if version != 1003 => return Err(Not::Applied),
            (1004, _) => return Err(Not::Fault("upgraded")),
            (1006, _) if !self.players.is_empty() => return Err(Not::Ends),
            (1003, _) if self.version != 1003 => {
                self.players.values_mut().for_each(|player| player.level = 7);
                self.laps = 0;
            }
            _ => {}
        }
        (self.upgraded_from, self.version) = (self.version, version);
        Ok(())
    }

    pub(crate) fn dump(&self) -> String {
        let Self { born, ticks, chance, fired, requests, bomb, mine, upgraded_from, laps, .. } = self;
        let mut text = format!("{born} {ticks} {chance} {fired} {requests} {bomb} {mine} {upgraded_from} {laps}\n");
        for (player, Player { score, level, note, .. }) in &self.players {
            writeln!(text, "{} {score} {level} {note}", PlayerId(*player)).unwrap();
        }
        let heard: Vec<_> = self.heard.iter().map(|(serial, at_us)| (*serial, *at_us)).collect();
        write!(text, "{heard:?}").unwrap();
        text
    }
}
