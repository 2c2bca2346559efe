//! What a thread of rooms is doing, for the watchdog: written with each callback, so without a lock and without a look at the clock.
//! A start that brings rooms back has one, too.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use logic_api::PlayerId;
use parking_lot::Mutex;
use room::{Again, Input, Watch};

use crate::journal::last_word;
use crate::progress::Part;

/// Of one thread and its helper. Written by whichever has the rooms, read by anybody.
///
/// A room is known here by its number; 0 for one that has none as yet.
#[derive(Debug, Default)]
pub struct Beat {
    /// Odd while a callback is under way. Whoever sees the same odd number twice has seen the same callback twice.
    count: AtomicU64,
    room: AtomicU64,
    /// 0 for nobody.
    player: AtomicU64,
    /// As the last word has it.
    thread: AtomicUsize,
    /// A place in [`CALLBACKS`].
    callback: AtomicU8,
    /// The room that is being made or brought back, whose number tells nobody anything as yet.
    making: Mutex<Option<String>>,
}

/// As an input is called, and `query`, which is none.
const CALLBACKS: [&str; 17] = [
    "query",
    "create",
    "join",
    "drop",
    "reconnect",
    "leave",
    "message",
    "skip",
    "presence",
    "tick",
    "request",
    "signal",
    "upgraded",
    "confirm",
    "rewind",
    "terminate",
    "dispose",
];

const REWIND: u8 = 14;

/// Ends the callback when it is dropped.
#[derive(Debug)]
pub struct Busy<'a>(&'a Beat);

/// A callback that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callback {
    pub count: u64,
    pub room: u64,
    pub name: &'static str,
    pub player: PlayerId,
    pub thread: usize,
}

impl Beat {
    /// A room of this name is being made, or brought back, until [`Beat::made`].
    pub fn makes(&self, room: &str) {
        *self.making.lock() = Some(room.to_owned());
    }

    pub fn made(&self) {
        *self.making.lock() = None;
    }

    pub fn making(&self) -> Option<String> {
        self.making.lock().clone()
    }

    pub fn query(&self, room: u64) -> Busy<'_> {
        self.begin(room, 0, PlayerId(0))
    }

    pub fn step(&self, room: u64, input: &Input) -> Busy<'_> {
        self.begin(room, Self::place_of(input), input.player())
    }

    /// Shows what a rewind applies once more as callbacks of their own, for together they may take longer than any callback; `part`
    /// counts them. To be used while the rewind is under way.
    pub fn rewinding<'a>(&'a self, watch: &'a mut dyn Watch, part: Option<Part>) -> Rewinding<'a> {
        Rewinding { beat: self, watch, part }
    }

    fn place_of(input: &Input) -> u8 {
        match input {
            Input::Create { .. } => 1,
            Input::Join { .. } => 2,
            Input::Drop { .. } => 3,
            Input::Reconnect { .. } => 4,
            Input::Leave { .. } => 5,
            Input::Message { .. } => 6,
            Input::Skip { .. } => 7,
            Input::Presence { .. } => 8,
            Input::Tick => 9,
            Input::Request(_) => 10,
            Input::Signal { .. } => 11,
            Input::Swap { .. } => 12,
            Input::Confirm => 13,
            Input::Rewind { .. } => REWIND,
            Input::Terminate { .. } => 15,
            Input::Dispose => 16,
        }
    }

    fn begin(&self, room: u64, callback: u8, player: PlayerId) -> Busy<'_> {
        self.room.store(room, Ordering::Relaxed);
        self.player.store(player.0, Ordering::Relaxed);
        self.thread.store(last_word::this_thread(), Ordering::Relaxed);
        self.callback.store(callback, Ordering::Relaxed);
        self.count(1);
        Busy(self)
    }

    /// Another callback within the one that is under way.
    fn go_on(&self, callback: u8, player: PlayerId) {
        self.player.store(player.0, Ordering::Relaxed);
        self.callback.store(callback, Ordering::Relaxed);
        self.count(2);
    }

    /// Only one writes at a time, so what was read is still so when it is written.
    fn count(&self, steps: u64) {
        self.count.store(self.count.load(Ordering::Relaxed) + steps, Ordering::Release);
    }

    /// What is under way. Of what takes long it tells the truth; of what has ended meanwhile, perhaps not all of it.
    pub fn under_way(&self) -> Option<Callback> {
        let count = self.count.load(Ordering::Acquire);
        (!count.is_multiple_of(2)).then(|| Callback {
            count,
            room: self.room.load(Ordering::Relaxed),
            name: CALLBACKS[usize::from(self.callback.load(Ordering::Relaxed))],
            player: PlayerId(self.player.load(Ordering::Relaxed)),
            thread: self.thread.load(Ordering::Relaxed),
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.count(1);
    }
}

/// The way of what a rewind applies once more, past a [`Beat`].
pub struct Rewinding<'a> {
    beat: &'a Beat,
    watch: &'a mut dyn Watch,
    part: Option<Part>,
}

impl fmt::Debug for Rewinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewinding").field("beat", self.beat).finish_non_exhaustive()
    }
}

impl Watch for Rewinding<'_> {
    fn begins(&mut self, again: Again<'_>) {
        self.beat.go_on(Beat::place_of(again.input), again.input.player());
        self.watch.begins(again);
    }

    fn ended(&mut self) {
        self.watch.ended();
        self.part.iter_mut().for_each(|part| part.step(1));
        self.beat.go_on(REWIND, PlayerId(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::prelude::*;
    use room::{LogicVersion, Stamp, TrialId};
    use std::sync::Arc;
    use std::time::Duration;

    #[derive(World)]
    struct Nothing {}

    #[logic(linked)]
    impl Logic for Nothing {}

    #[test]
    fn every_input_is_shown_under_its_own_name() {
        let (beat, player) = (Beat::default(), PlayerId(7));
        let inputs = [
            Input::Create { config: Arc::from([]) },
            Input::Join { player, hello: Arc::from([]), claims: "".into() },
            Input::Drop { player },
            Input::Reconnect { player },
            Input::Leave { player, reason: "".into() },
            Input::Message { player, number: 1, bytes: Arc::from([]) },
            Input::Skip { player, number: 1 },
            Input::Presence { player, is_connected: true },
            Input::Tick,
            Input::Request(Arc::default()),
            Input::Signal { name: "".into(), bytes: Arc::from([]) },
            Input::Confirm,
            Input::rewind(),
            Input::Terminate { grace: Duration::ZERO },
            Input::Dispose,
        ];
        let mut last = 0;
        for input in inputs {
            let busy = beat.step(3, &input);
            let shown = beat.under_way().unwrap();
            assert_eq!((shown.room, shown.name, shown.player), (3, input.callback(), input.player()));
            assert!(shown.count > last);
            last = shown.count;
            drop(busy);
            assert_eq!(beat.under_way(), None);
        }
        let busy = beat.query(4);
        assert_eq!(beat.under_way().map(|shown| shown.name), Some("query"));
        drop(busy);
        // A rewind, with each of its inputs.
        let (input, logic) = (Input::Drop { player }, LogicVersion::linked::<Nothing>().unwrap());
        let busy = beat.step(3, &Input::rewind());
        let mut last = beat.under_way().unwrap().count;
        let mut shown = || {
            let shown = beat.under_way().unwrap();
            assert!(shown.count > std::mem::replace(&mut last, shown.count));
            (shown.room, shown.name, shown.player)
        };
        let (mut nobody, stamp, tick) = ((), Stamp::default(), Tick(0));
        let mut rewinding = beat.rewinding(&mut nobody, None);
        for number in 1..3 {
            let again = Again { trial: TrialId(1), number, stamp, input: &input, tick, running: &logic };
            rewinding.begins(again);
            assert_eq!(shown(), (3, "drop", player));
            rewinding.ended();
            assert_eq!(shown(), (3, "rewind", PlayerId(0)));
        }
        drop(busy);
        assert_eq!(beat.under_way(), None);
    }
}
