//! What is done with all rooms at once: trying a version on twins of them, and swapping them to it.

use std::sync::Arc;

use room::{PAGE_BYTES, Room, Stamp};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::points::{self, Point};
use crate::rooms::command::{Ask, Rewound, Swapped};
use crate::rooms::error::{NotSwapped, RoomError};
use crate::rooms::handle::{ROOM_TIMEOUT, Rooms};
use crate::rooms::registry::Place;
use crate::rooms::trial::{FailureKind, Swap};

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

    /// Swaps every room, or none: where one cannot be, those that were are taken back. The version is on trial in all of them
    /// then, and in those that are opened from here on, until [`Rooms::confirm_all`] or [`Rooms::rewind_all`]. No room is opened
    /// meanwhile. Must be polled to its end.
    ///
    /// # Errors
    /// [`NotSwapped`] with the first room that could not be.
    ///
    /// # Panics
    /// If a version is on trial.
    pub async fn swap_all(&self, swap: &Arc<Swap>) -> Result<Vec<(String, Swapped)>, NotSwapped> {
        let _alone = self.0.turn.write().await;
        assert!(self.0.on_trial.lock().is_none(), "one version is on trial at a time");
        let asked = self.ask_all(|reply| Ask::Swap { swap: Arc::clone(swap), reply }).await;
        let swapped = asked.into_iter().map(|(place, answer)| {
            let swapped = answer?.map_err(|error| NotSwapped::Refused { room: place.name(), error })?;
            Ok((place.name(), swapped))
        });
        let swapped: Result<Vec<_>, NotSwapped> = swapped.collect();
        // Nothing is seen of the version before all rooms have written that they were swapped.
        self.written().await;
        if swapped.is_ok() {
            points::reached(Point::SwapWritten);
            *self.0.on_trial.lock() = Some(Arc::clone(swap));
            self.ask_all(|reply| Ask::AllSwapped { reply }).await;
            points::reached(Point::SwapTold);
        } else {
            // A room that was not swapped has nothing to take back.
            self.ask_all(|reply| Ask::RewindSwap { reply }).await;
        }
        swapped
    }

    /// The version on trial stays, in every room. What the version from before needed is dropped here. Must be polled to its end.
    ///
    /// # Panics
    /// If no version is on trial.
    pub async fn confirm_all(&self) {
        let _alone = self.0.turn.write().await;
        let swap = self.0.on_trial.lock().take().expect("a version is on trial");
        *self.0.current.lock() = Arc::clone(&swap.to.logic);
        for (place, spent) in self.ask_all(|reply| Ask::KeepSwap { reply }).await {
            if let Err(error) = spent {
                tracing::warn!(room = place.name(), "the room has yet to hear that its version is confirmed: {error}");
            }
        }
    }

    /// Every room goes back to before the swap, and takes the inputs since once more on the version from before. The rooms, and
    /// what they did. Must be polled to its end.
    ///
    /// # Panics
    /// If no version is on trial.
    pub async fn rewind_all(&self) -> Vec<(String, Rewound)> {
        let _alone = self.0.turn.write().await;
        let swap = self.0.on_trial.lock().take();
        assert!(swap.is_some(), "a version is on trial");
        let mut rewound = Vec::new();
        for (place, answer) in self.ask_all(|reply| Ask::RewindSwap { reply }).await {
            match answer {
                Ok((of_room, _spent)) => rewound.extend(of_room.map(|of_room| (place.name(), of_room))),
                // It is in its inbox: it goes back before it does anything else.
                Err(error) => tracing::error!(room = place.name(), "the room has not gone back as yet: {error}"),
            }
        }
        rewound
    }

    /// Swaps a new room to the version on trial, if there is one. If it cannot be, it stays on the version from before, and the
    /// one on trial has failed.
    pub(super) async fn swap_new(&self, place: &Place) {
        let Some(swap) = self.0.on_trial.lock().clone() else { return };
        let (reply, answer) = oneshot::channel();
        let sent = place.send(Ask::Swap { swap: Arc::clone(&swap), reply });
        let swapped = match sent {
            // In time: `ROOM_TIMEOUT` after this the reply is dropped, and the room takes the swap back.
            Ok(()) => timeout(ROOM_TIMEOUT, answer).await,
            Err(_) => return,
        };
        match swapped {
            Ok(Ok(Ok(_))) => {
                let (reply, answer) = oneshot::channel();
                if place.send(Ask::AllSwapped { reply }).is_ok() {
                    let _all_heard = timeout(ROOM_TIMEOUT, answer).await;
                }
            }
            Ok(Ok(Err(error))) => swap.failed(&place.name(), FailureKind::NotSwapped(error)),
            // It has ended, or it takes the swap back because nobody waits for it.
            Ok(Err(_)) | Err(_) => {}
        }
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
