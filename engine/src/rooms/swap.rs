//! What is done with all rooms at once: trying a version on twins of them, and swapping them to it.

use std::sync::Arc;

use room::{PAGE_BYTES, Room, Stamp};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::loader::versions::Mapped;
use crate::rooms::command::{Ask, Swapped};
use crate::rooms::error::{NotSwapped, RoomError};
use crate::rooms::handle::{ROOM_TIMEOUT, Rooms};
use crate::rooms::registry::Place;

/// Pages that a pool gets ready at a time: what it takes from the system at once.
const RESERVE_PAGES: usize = (2 << 20) / PAGE_BYTES;
/// The most pages that are got ready for a swap.
const RESERVE_PAGES_MAX: usize = 2048;

impl Rooms {
    /// A twin of every room, to try something on away from the rooms, and the stamp to do it with.
    ///
    /// # Errors
    /// [`RoomError`] of the first room that does not answer.
    pub async fn twins(&self) -> Result<Vec<(Room, Stamp)>, RoomError> {
        let twins = self.ask_all(|reply| Ask::Twin { reply }).await;
        twins.into_iter().map(|(_, twin)| twin).collect()
    }

    /// Gets as many free pages ready as the rooms have, so that the copies after the fork of a swap need not wait for the
    /// system. Takes its time; not for the rooms' threads.
    pub fn reserve_pages(&self) {
        let places = self.0.registry.places();
        for (thread, pool) in self.0.pools.iter().enumerate() {
            let of_pool = places.iter().filter(|place| place.thread == thread);
            let pages: u64 = of_pool.map(|place| place.board.size().pages).sum();
            let pages = usize::try_from(pages).map_or(RESERVE_PAGES_MAX, |pages| pages.min(RESERVE_PAGES_MAX));
            (0..pages).step_by(RESERVE_PAGES).for_each(|less| pool.reserve(pages - less));
        }
    }

    /// Swaps every room, or none: where one cannot be, those that were are taken back. No room is opened meanwhile; those that
    /// are opened later run the version that this leaves. Must be polled to its end.
    ///
    /// # Errors
    /// [`NotSwapped`] with the first room that could not be.
    pub async fn swap_all(&self, to: &Arc<Mapped>) -> Result<Vec<(String, Swapped)>, NotSwapped> {
        let _alone = self.0.turn.write().await;
        let asked = self.ask_all(|reply| Ask::Swap { to: Arc::clone(to), reply }).await;
        let swapped = asked.into_iter().map(|(place, answer)| {
            let swapped = answer?.map_err(|error| NotSwapped::Refused { room: place.name(), error })?;
            Ok((place.name(), swapped))
        });
        let swapped: Result<Vec<_>, NotSwapped> = swapped.collect();
        if let Err(error) = swapped {
            // A room that was not swapped has nothing to take back.
            self.ask_all(|reply| Ask::RewindSwap { reply }).await;
            return Err(error);
        }
        *self.0.current.lock() = Arc::clone(&to.logic);
        let spent = self.ask_all(|reply| Ask::KeepSwap { reply }).await;
        drop(spent);
        swapped
    }

    /// Asks every room, then waits for the replies, in the rooms' order. A room that is closed meanwhile is left out.
    async fn ask_all<T>(&self, ask: impl Fn(oneshot::Sender<T>) -> Ask) -> Vec<(Arc<Place>, Result<T, RoomError>)> {
        let ask = |place: &Arc<Place>| {
            let (reply, answer) = oneshot::channel();
            place.send(ask(reply)).map(|()| answer)
        };
        let asked: Vec<_> = self.0.registry.places().into_iter().map(|place| (ask(&place), place)).collect();
        // One for all: many rooms may be stuck behind one.
        let deadline = Instant::now() + ROOM_TIMEOUT;
        let mut answers = Vec::with_capacity(asked.len());
        for (answer, place) in asked {
            let answer = match answer {
                Ok(answer) => match timeout_at(deadline, answer).await {
                    Ok(answer) => answer.map_err(|_| place.ended()),
                    Err(_) => Err(RoomError::Stuck { room: place.name(), waited_ms: ROOM_TIMEOUT.as_millis() }),
                },
                Err(error) => Err(error),
            };
            let is_closed = matches!(answer, Err(RoomError::Ended { .. })) && !self.0.registry.has(place.id());
            if !is_closed {
                answers.push((place, answer));
            }
        }
        answers
    }
}
