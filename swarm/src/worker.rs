//! One thread of players: their tasks, and the pacer that sends what is due for all of them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::options::{Options, Pace, Protocol};
use crate::player::{self, Player};
use crate::run::{Phase, Run, Slot};
use crate::tally::{Tally, Times};

/// How often is looked at what is due: the finest that a timer of tokio can.
const PACE: Duration = Duration::from_millis(1);
/// The same while there is nothing to send.
const IDLE_PACE: Duration = Duration::from_millis(10);
/// How often the figures of the progress line are brought up to date.
const PUBLISH_EVERY_NS: u64 = 100_000_000;
/// At the end, how often the engine is asked what it has consumed.
const ASK_EVERY_NS: u64 = 200_000_000;
/// For the goodbyes.
const LEAVE_MAX: Duration = Duration::from_secs(2);
const SECOND_NS: f64 = 1e9;

/// What the players of a thread have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Arc<Options>,
    pub(crate) address: SocketAddr,
    pub(crate) run: Arc<Run>,
    pub(crate) tally: RefCell<Tally>,
    /// Since the last time they were published.
    pub(crate) recent: RefCell<Times>,
    /// Of this thread's players, whether they have been let in, or never will be.
    settled: RefCell<Vec<bool>>,
    settled_count: Cell<u32>,
    first: u32,
}

impl Shared {
    pub(crate) fn settle(&self, index: u32) {
        let place = usize::try_from(index - self.first).expect("one of this thread's");
        if !std::mem::replace(&mut self.settled.borrow_mut()[place], true) {
            self.settled_count.set(self.settled_count.get() + 1);
        }
    }
}

/// Runs the players `first..first + count` to the end of the run.
pub(crate) fn work(
    options: Arc<Options>,
    address: SocketAddr,
    run: Arc<Run>,
    worker: usize,
    first: u32,
    count: u32,
) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread");
    let shared = Rc::new(Shared {
        options,
        address,
        run,
        tally: RefCell::new(Tally::new()),
        recent: RefCell::new(Times::new()),
        settled: RefCell::new(vec![false; usize::try_from(count).expect("within the limit")]),
        settled_count: Cell::new(0),
        first,
    });
    let players: Vec<_> =
        (0..count).map(|place| Rc::new(RefCell::new(Player::new(first + place, Rc::clone(&shared))))).collect();
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let start = Instant::now();
        let lives: Vec<_> = players
            .iter()
            .zip(first..)
            .map(|(player, index)| {
                let delay = Duration::from_secs_f64(f64::from(index) / shared.options.joins_per_second);
                tokio::task::spawn_local(player::live(Rc::clone(player), start + delay))
            })
            .collect();
        Pacer::new(&players, &shared, worker).run().await;
        if shared.options.protocol == Protocol::BareEcho {
            // It knows no goodbye that could be waited for.
            return;
        }
        let all = async {
            for life in lives {
                let _ended = life.await;
            }
        };
        // Who has not said goodbye by then is hung up on.
        let _all_or_not = timeout(LEAVE_MAX, all).await;
    });
    shared.tally.replace(Tally::new())
}

/// Who of `players` is due when: each of them `rate` times a second, evenly spread, without a list of times.
#[derive(Debug)]
struct Round {
    /// Between two players' turns; `None`: never.
    between_ns: Option<f64>,
    players: usize,
    started: u64,
    turns: u64,
}

impl Round {
    fn new(rate: f64, players: usize) -> Self {
        let between_ns = (rate > 0.0 && players > 0).then(|| SECOND_NS / rate / players as f64);
        Self { between_ns, players, started: 0, turns: 0 }
    }

    fn restart(&mut self, now: u64) {
        (self.started, self.turns) = (now, 0);
    }

    /// The place of the next player whose turn has come, and when that was.
    fn due(&mut self, now: u64) -> Option<(usize, u64)> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "nanoseconds of a run, which are few"
        )]
        let due = self.started + (self.between_ns? * self.turns as f64) as u64;
        if due > now {
            return None;
        }
        let place = usize::try_from(self.turns % self.players as u64).expect("a place");
        self.turns += 1;
        Some((place, due))
    }
}

struct Pacer<'a> {
    players: &'a [Rc<RefCell<Player>>],
    shared: &'a Shared,
    messages: Round,
    pings: Round,
    /// Fed in this turn, to be flushed at its end.
    fed: Vec<usize>,
    phase: Phase,
    worker: usize,
    published_at: u64,
    asked_at: u64,
}

impl<'a> Pacer<'a> {
    fn new(players: &'a [Rc<RefCell<Player>>], shared: &'a Shared, worker: usize) -> Self {
        let rate = match shared.options.pace {
            Pace::PerSecond(rate) => rate,
            Pace::InFlight(_) | Pace::Idle => 0.0,
        };
        let ping_rate = shared.options.ping_every.map_or(0.0, |every| every.as_secs_f64().recip());
        Self {
            players,
            shared,
            messages: Round::new(rate, players.len()),
            pings: Round::new(ping_rate, players.len()),
            fed: Vec::new(),
            phase: Phase::Joining,
            worker,
            published_at: 0,
            asked_at: 0,
        }
    }

    async fn run(mut self) {
        loop {
            let pace =
                if self.messages.between_ns.is_some() && self.phase == Phase::Running { PACE } else { IDLE_PACE };
            sleep(pace).await;
            let phase = Phase::of(self.shared.run.phase.load(Ordering::Acquire));
            if phase != self.phase {
                self.enter(phase);
            }
            let now = self.shared.run.now();
            match phase {
                Phase::Joining => {}
                Phase::Running => self.send_due(now),
                Phase::Draining => self.drain(now),
                Phase::Leaving => break,
            }
            if now.saturating_sub(self.published_at) >= PUBLISH_EVERY_NS || phase == Phase::Draining {
                self.published_at = now;
                self.publish();
            }
        }
        self.publish();
    }

    fn enter(&mut self, phase: Phase) {
        let now = self.shared.run.now();
        match phase {
            Phase::Joining => {}
            Phase::Running => {
                self.messages.restart(now);
                self.pings.restart(now);
                for player in self.players {
                    let mut player = player.borrow_mut();
                    player.give_up_joining();
                    player.fill();
                    player.flush();
                }
            }
            Phase::Draining => {
                let playing = self.players.iter().filter(|player| player.borrow().is_playing());
                playing.for_each(|player| player.borrow_mut().break_silence(now));
            }
            Phase::Leaving => {
                let open: u64 = self.players.iter().map(|player| u64::from(player.borrow().open())).sum();
                self.shared.tally.borrow_mut().unconfirmed = open;
                self.players.iter().for_each(|player| player.borrow_mut().leave());
            }
        }
        self.phase = phase;
    }

    fn send_due(&mut self, now: u64) {
        while let Some((place, due)) = self.messages.due(now) {
            if self.players[place].borrow_mut().send_due() {
                self.shared.tally.borrow_mut().lateness.add(self.shared.run.now().saturating_sub(due));
                self.fed.push(place);
            }
        }
        while let Some((place, _)) = self.pings.due(now) {
            self.players[place].borrow_mut().ping();
            self.fed.push(place);
        }
        self.flush();
    }

    /// Asks all that have something open, since not every game says anything by itself.
    fn drain(&mut self, now: u64) {
        if now.saturating_sub(self.asked_at) < ASK_EVERY_NS {
            return;
        }
        self.asked_at = now;
        for (place, player) in self.players.iter().enumerate() {
            let mut player = player.borrow_mut();
            if player.may_settle() {
                player.ping();
                self.fed.push(place);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        for place in self.fed.drain(..) {
            self.players[place].borrow_mut().flush();
        }
    }

    fn publish(&self) {
        let slot: &Slot = &self.shared.run.slots[self.worker];
        let tally = self.shared.tally.borrow();
        let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum();
        for (to, figure) in [
            (&slot.joined, tally.joined),
            (&slot.refused, sum(&tally.refused)),
            (&slot.disconnects, sum(&tally.disconnects)),
            (&slot.sent, tally.sent),
            (&slot.confirmed, tally.confirmed),
            (&slot.frames, tally.frames),
            (&slot.settled, u64::from(self.shared.settled_count.get())),
        ] {
            to.store(figure, Ordering::Relaxed);
        }
        let mut recent = self.shared.recent.borrow_mut();
        slot.recent.lock().merge(&recent);
        recent.clear();
        let settled = !self.players.iter().any(|player| player.borrow().may_settle());
        slot.drained.store(self.phase == Phase::Draining && settled, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_gives_everybody_a_turn_at_the_rate() {
        let mut round = Round::new(10.0, 4);
        round.restart(1000);
        let turns: Vec<_> = std::iter::from_fn(|| round.due(100_001_000)).collect();
        let expected: Vec<_> = [0, 1, 2, 3, 0].into_iter().zip((0..5).map(|turn| 1000 + turn * 25_000_000)).collect();
        assert_eq!(turns, expected);
        assert_eq!(round.due(125_000_999), None);
        assert_eq!(round.due(125_001_000), Some((1, 125_001_000)));
        assert_eq!(Round::new(0.0, 4).due(u64::MAX), None);
        assert_eq!(Round::new(1.0, 0).due(u64::MAX), None);
    }
}
