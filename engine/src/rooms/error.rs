//! Why a room did not do what it was asked.

use std::io;

use room::{LogicFault, StepError};

use crate::http::{Kind, Refusal};
use crate::rooms::inbox::COMMANDS_MAX;

/// Why a request to a room has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    #[error("there is no room {name:?}; there are {}", .known.join(", "))]
    Unknown { name: String, known: Vec<String> },
    #[error("the room {room} has {COMMANDS_MAX} requests waiting already; try again")]
    Busy { room: String },
    /// Its thread has ended.
    #[error("the room {room} has ended")]
    Ended { room: String },
    #[error("the room {room} did not get to it within {waited_ms} ms")]
    Stuck { room: String, waited_ms: u128 },
    #[error("the room {room} is frozen: {fault}; load a fix")]
    Frozen { room: String, fault: LogicFault },
    #[error("{0}")]
    Fault(LogicFault),
    /// Impossible for what is sent here; kept so that a new reason cannot go unseen.
    #[error("{0}")]
    Step(StepError),
}

impl From<RoomError> for Refusal {
    fn from(error: RoomError) -> Refusal {
        let (kind, code) = match &error {
            RoomError::Unknown { .. } => (Kind::NotFound, "room-unknown"),
            RoomError::Busy { .. } => (Kind::Unavailable, "room-busy"),
            RoomError::Ended { .. } => (Kind::Unavailable, "room-ended"),
            RoomError::Stuck { .. } => (Kind::Unavailable, "room-stuck"),
            RoomError::Frozen { .. } => (Kind::Unavailable, "room-frozen"),
            RoomError::Fault(_) => (Kind::Internal, "logic-fault"),
            RoomError::Step(_) => (Kind::Internal, "room-refused"),
        };
        Refusal::new(kind, code, error.to_string())
    }
}

/// Why no room was swapped: the first room that could not be. Those that were have gone back.
#[derive(Debug, thiserror::Error)]
pub enum NotSwapped {
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("the room {room} could not be swapped: {error}")]
    Refused { room: String, error: StepError },
}

/// Why the rooms could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a thread for rooms cannot be started: {0}")]
    Thread(io::Error),
    #[error("the room {room} cannot be made: {error}")]
    Create { room: String, error: StepError },
    #[error("a thread of rooms ended while it made them; see the log")]
    Died,
}
