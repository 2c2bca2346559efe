//! What is sent to the thread of a room.

use std::sync::Arc;
use std::time::Duration;

use room::{Request, Response, Room, Spent, Stamp, StepError};
use tokio::sync::oneshot;

use crate::loader::versions::Mapped;
use crate::rooms::error::RoomError;

/// To one room of a thread, or to the thread itself. Whoever drops the other end of `reply` before the command's turn has
/// taken it back.
#[derive(Debug)]
pub(super) enum Command {
    Request {
        seat: usize,
        request: Arc<Request>,
        reply: oneshot::Sender<Answer>,
    },
    /// A room to try things on, away from the thread.
    Twin {
        seat: usize,
        reply: oneshot::Sender<(Room, Stamp)>,
    },
    /// If the reply cannot be given any more, the swap is taken back.
    Swap {
        seat: usize,
        to: Arc<Mapped>,
        reply: oneshot::Sender<Result<Swapped, StepError>>,
    },
    /// The reply is what was spent, to be dropped elsewhere.
    KeepSwap {
        seat: usize,
        reply: oneshot::Sender<Spent>,
    },
    RewindSwap {
        seat: usize,
        reply: oneshot::Sender<()>,
    },
    /// Terminates and disposes of every room, and ends the thread.
    End,
}

pub(super) type Answer = Result<Response, RoomError>;

/// A room runs the new version: its code has answered from inside the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swapped {
    /// How long the room took no input.
    pub pause: Duration,
}
