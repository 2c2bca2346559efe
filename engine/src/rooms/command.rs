//! What is sent to the thread of a room.

use std::sync::Arc;
use std::time::Duration;

use logic_api::PlayerId;
use room::{LogicVersion, Request, Response, Room, Spent, Stamp, StepError};
use tokio::sync::oneshot;

use crate::loader::versions::Mapped;
use crate::rooms::entrance::Reservation;
use crate::rooms::error::RoomError;
use crate::rooms::name::RoomId;
use crate::rooms::registry::Place;

/// To one room of a thread, or to the thread itself.
#[derive(Debug)]
pub(super) enum Command {
    /// If the room is gone, the reply is dropped.
    ToRoom { room: RoomId, ask: Ask },
    /// Creates a room on this thread. If the reply cannot be given any more, the room is disposed of.
    Open { new: Box<NewSeat>, reply: oneshot::Sender<Result<(), StepError>> },
    /// Ends every room, and then the thread.
    End { grace: Duration },
}

/// What is asked of one room. Whoever drops the other end of `reply` before its turn has taken it back.
#[derive(Debug)]
pub(super) enum Ask {
    Request {
        request: Arc<Request>,
        reply: oneshot::Sender<Answer>,
    },
    /// A player who comes in on a seat that is kept.
    Join {
        player: PlayerId,
        hello: Arc<[u8]>,
        claims: Arc<str>,
        reservation: Reservation,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    Leave {
        player: PlayerId,
        reason: Arc<str>,
        reply: oneshot::Sender<Result<(), RoomError>>,
    },
    /// A room to try things on, away from the thread.
    Twin {
        reply: oneshot::Sender<(Room, Stamp)>,
    },
    /// If the reply cannot be given any more, the swap is taken back.
    Swap {
        to: Arc<Mapped>,
        reply: oneshot::Sender<Result<Swapped, StepError>>,
    },
    /// The reply is what was spent, to be dropped elsewhere.
    KeepSwap {
        reply: oneshot::Sender<Spent>,
    },
    RewindSwap {
        reply: oneshot::Sender<()>,
    },
    /// Terminates the room, and disposes of it once the grace is over or nobody is in it. `gone` is dropped after that.
    End {
        grace: Duration,
        gone: oneshot::Sender<()>,
    },
}

pub(super) type Answer = Result<Response, RoomError>;

/// A room that is to be created.
#[derive(Debug)]
pub(super) struct NewSeat {
    pub(super) place: Arc<Place>,
    pub(super) logic: Arc<LogicVersion>,
    /// For the logic's `create`.
    pub(super) config: Arc<[u8]>,
    /// How long the room stays when nobody is in it; `None` for ever.
    pub(super) linger: Option<Duration>,
}

/// A room runs the new version: its code has answered from inside the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swapped {
    /// How long the room took no input.
    pub pause: Duration,
}
