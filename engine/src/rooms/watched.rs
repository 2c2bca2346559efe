//! What the watchdog sees of the rooms.

use std::sync::{Arc, OnceLock};

use crate::beat::{Beat, Callback};
use crate::journal::last_word;
use crate::rooms::handle::Rooms;
use crate::rooms::name::RoomId;
use crate::rooms::registry::{Place, Registry};

/// A callback that is under way.
#[derive(Debug)]
pub struct UnderWay {
    callback: Callback,
    /// `None` while the room is being made or brought back.
    place: Option<Arc<Place>>,
    /// The name of that one.
    making: Option<String>,
}

impl UnderWay {
    /// The callback with this number, of nobody.
    #[cfg(test)]
    pub(crate) fn of(count: u64) -> UnderWay {
        let (name, player) = ("tick", logic_api::PlayerId(0));
        let callback = Callback { count, room: 1, name, player, thread: usize::MAX };
        UnderWay { callback, place: None, making: None }
    }

    /// Whether it has been under way all the time since.
    #[must_use]
    pub fn is_same(&self, other: &UnderWay) -> bool {
        self.callback.count == other.callback.count
    }

    #[must_use]
    pub fn room(&self) -> String {
        let name = self.place.as_ref().map(|place| place.name());
        name.or_else(|| self.making.clone()).unwrap_or_else(|| "one that is being made".to_owned())
    }

    #[must_use]
    pub fn callback(&self) -> &'static str {
        self.callback.name
    }

    /// Of the logic that runs the room; `None` while the room is being made or brought back.
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
        last_word::say_watchdog(self.callback.thread);
    }

    /// Has the room shown as stuck, or not any more.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.place.iter().for_each(|place| place.board.set_stuck(is_stuck));
    }
}

/// The threads that run callbacks, from before there are any rooms on them: a start may bring them back, which takes callbacks, too.
#[derive(Debug, Clone)]
pub struct Watched(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// By thread; the last is that of the start.
    beats: Vec<Arc<Beat>>,
    registry: OnceLock<Arc<Registry>>,
}

impl Watched {
    /// For so many threads of rooms.
    #[must_use]
    pub fn new(threads: usize) -> Watched {
        let beats = (0..=threads).map(|_| Arc::default()).collect();
        Watched(Arc::new(Shared { beats, registry: OnceLock::new() }))
    }

    /// Of whoever brings rooms back.
    #[must_use]
    pub fn start(&self) -> &Arc<Beat> {
        &self.0.beats[self.0.beats.len() - 1]
    }

    pub(super) fn beat(&self, thread: usize) -> &Arc<Beat> {
        &self.0.beats[thread]
    }

    /// From here on these are the rooms.
    pub(super) fn set_registry(&self, registry: &Arc<Registry>) {
        self.0.registry.get_or_init(|| Arc::clone(registry));
    }

    /// Whether there are rooms, which a next process would bring back.
    #[must_use]
    pub fn has_rooms(&self) -> bool {
        self.0.registry.get().is_some_and(|registry| !registry.places().is_empty())
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.beats.len()
    }

    /// What the thread with this number is doing, `None` if it waits or is between two callbacks.
    #[must_use]
    pub fn under_way(&self, thread: usize) -> Option<UnderWay> {
        let beat = &self.0.beats[thread];
        let callback = beat.under_way()?;
        let place = self.0.registry.get().and_then(|registry| registry.place(RoomId(callback.room)));
        let making = if place.is_none() { beat.making() } else { None };
        Some(UnderWay { callback, place, making })
    }
}

impl Rooms {
    /// Whether the watchdog has found a room whose callback does not return.
    #[must_use]
    pub fn any_stuck(&self) -> bool {
        self.0.registry.places().iter().any(|place| place.board.is_stuck())
    }
}
