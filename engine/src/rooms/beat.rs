//! What a thread of rooms is doing, for the watchdog: written with each callback, so without a lock and without a look at the clock.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use logic_api::PlayerId;
use room::Input;

use crate::journal::last_word;
use crate::rooms::name::RoomId;

/// Of one thread and its helper. Written by whichever has the rooms, read by anybody.
#[derive(Debug, Default)]
pub(super) struct Beat {
    /// Odd while a callback is under way. Whoever sees the same odd number twice has seen the same callback twice.
    count: AtomicU64,
    room: AtomicU64,
    /// 0 for nobody.
    player: AtomicU64,
    /// As the last word has it.
    thread: AtomicUsize,
    /// A place in [`CALLBACKS`].
    callback: AtomicU8,
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

/// Ends the callback when it is dropped.
#[derive(Debug)]
pub(super) struct Busy<'a>(&'a Beat);

/// A callback that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Callback {
    pub(super) count: u64,
    pub(super) room: RoomId,
    pub(super) name: &'static str,
    pub(super) player: PlayerId,
    pub(super) thread: usize,
}

impl Beat {
    pub(super) fn query(&self, room: RoomId) -> Busy<'_> {
        self.begin(room, 0, PlayerId(0))
    }

    pub(super) fn step(&self, room: RoomId, input: &Input) -> Busy<'_> {
        let callback = match input {
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
            Input::Rewind { .. } => 14,
            Input::Terminate { .. } => 15,
            Input::Dispose => 16,
        };
        self.begin(room, callback, input.player())
    }

    fn begin(&self, room: RoomId, callback: u8, player: PlayerId) -> Busy<'_> {
        self.room.store(room.0, Ordering::Relaxed);
        self.player.store(player.0, Ordering::Relaxed);
        self.thread.store(last_word::this_thread(), Ordering::Relaxed);
        self.callback.store(callback, Ordering::Relaxed);
        self.count();
        Busy(self)
    }

    /// Only one writes at a time, so what was read is still so when it is written.
    fn count(&self) {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// What is under way. Of what takes long it tells the truth; of what has ended meanwhile, perhaps not all of it.
    pub(super) fn under_way(&self) -> Option<Callback> {
        let count = self.count.load(Ordering::Acquire);
        (!count.is_multiple_of(2)).then(|| Callback {
            count,
            room: RoomId(self.room.load(Ordering::Relaxed)),
            name: CALLBACKS[usize::from(self.callback.load(Ordering::Relaxed))],
            player: PlayerId(self.player.load(Ordering::Relaxed)),
            thread: self.thread.load(Ordering::Relaxed),
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

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
            let busy = beat.step(RoomId(3), &input);
            let shown = beat.under_way().unwrap();
            assert_eq!((shown.room, shown.name, shown.player), (RoomId(3), input.callback(), input.player()));
            assert!(shown.count > last);
            last = shown.count;
            drop(busy);
            assert_eq!(beat.under_way(), None);
        }
        let _busy = beat.query(RoomId(4));
        assert_eq!(beat.under_way().map(|shown| shown.name), Some("query"));
    }
}
