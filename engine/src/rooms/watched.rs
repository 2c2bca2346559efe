//! What the watchdog sees of the rooms.

use std::sync::Arc;

use crate::journal::last_word::{self, Cause};
use crate::rooms::beat::Callback;
use crate::rooms::handle::Rooms;
use crate::rooms::registry::Place;

/// A callback that is under way.
#[derive(Debug)]
pub struct UnderWay {
    callback: Callback,
    /// `None` while the room is being made.
    place: Option<Arc<Place>>,
}

impl UnderWay {
    /// The callback with this number, of nobody.
    #[cfg(test)]
    pub(crate) fn of(count: u64) -> UnderWay {
        let (room, player) = (crate::rooms::RoomId(1), logic_api::PlayerId(0));
        UnderWay { callback: Callback { count, room, name: "tick", player, thread: usize::MAX }, place: None }
    }

    /// Whether it has been under way all the time since.
    #[must_use]
    pub fn is_same(&self, other: &UnderWay) -> bool {
        self.callback.count == other.callback.count
    }

    #[must_use]
    pub fn room(&self) -> String {
        self.place.as_ref().map_or_else(|| "one that is being made".to_owned(), |place| place.name())
    }

    #[must_use]
    pub fn callback(&self) -> &'static str {
        self.callback.name
    }

    /// Of the logic that runs the room; `None` while the room is being made.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.board.logic().version().0)
    }

    /// Whose input it is, if it is anybody's.
    #[must_use]
    pub fn player(&self) -> Option<u64> {
        Some(self.callback.player.0).filter(|player| *player > 0)
    }

    /// The process ends by it.
    pub fn ends_the_process(&self) {
        last_word::say_of(self.callback.thread, Cause::Watchdog);
    }

    /// Has the room shown as stuck, or not any more.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.place.iter().for_each(|place| place.board.set_stuck(is_stuck));
    }
}

impl Rooms {
    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.beats.len()
    }

    /// What the thread with this number is doing, `None` if it waits or is between two callbacks.
    #[must_use]
    pub fn under_way(&self, thread: usize) -> Option<UnderWay> {
        let callback = self.0.beats[thread].under_way()?;
        Some(UnderWay { callback, place: self.0.registry.place(callback.room) })
    }

    /// Whether the watchdog has found a room whose callback does not return.
    #[must_use]
    pub fn any_stuck(&self) -> bool {
        self.0.registry.places().iter().any(|place| place.board.is_stuck())
    }
}
