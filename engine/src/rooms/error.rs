//! Why a room did not do what it was asked.

use std::time::Duration;
use std::{fmt, io};

use room::StepError;
use wire::CloseCode;

use crate::config::ROOMS_MAX;
use crate::http::{Kind, Refusal};
use crate::rooms::entrance::NoSeat;
use crate::rooms::inbox::COMMANDS_MAX;
use crate::rooms::name::RoomName;

/// A logic's fault in the words in which players and visitors may see it: its text, or where operators find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldFault(pub(super) String);

impl fmt::Display for ToldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a room did not do what it was asked, or why there is none.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    #[error("there is no room {name:?}; there {}", listed(.known, *.more))]
    Unknown { name: String, known: Vec<String>, more: usize },
    #[error("the room {room} has {COMMANDS_MAX} requests waiting already; try again")]
    Busy { room: String },
    /// It has been closed, or its thread has ended.
    #[error("the room {room} has ended")]
    Ended { room: String },
    #[error("the room {room} did not get to it within {waited_ms} ms")]
    Stuck { room: String, waited_ms: u128 },
    #[error("the room {room} is frozen: {fault}; load a fix")]
    Frozen { room: String, fault: ToldFault },
    /// Between a swap that ends its freeze and the last room's; or it has as many inputs since the swap as it can take back.
    #[error("the room {room} is taking a new version; try again")]
    Swapping { room: String },
    #[error("{0}")]
    Fault(ToldFault),
    /// To a player, what the logic or the world has against it.
    #[error("{0}")]
    Step(StepError),
    #[error(
        "player {player} is out and cannot come back, but the logic failed on their leave, and hears of it once more in {} s: {error}",
        again.as_secs_f64().ceil()
    )]
    LeaveFailed { player: u64, again: Duration, error: String },
    #[error("{key} = {found} is not accepted; accepted is {accepted}")]
    NotAccepted { key: &'static str, found: String, accepted: String },
    #[error("there is a room {name} already; give another name, or none for one that is made up")]
    NameTaken { name: String },
    #[error("a room {name} is being made; try again when it is there or has failed, or give another name")]
    BeingMade { name: String },
    #[error("there are {ROOMS_MAX} rooms, which is the limit; close one")]
    TooMany,
    #[error("as many files are open as there may be (ulimit -n), and a room needs some; try again")]
    NoFiles,
    #[error("the room {room} cannot be made: {error}")]
    NotMade { room: String, error: StepError },
    #[error("the room {room} is full: it has {players_max} seats")]
    Full { room: String, players_max: usize },
    #[error("the room {room} is locked")]
    Locked { room: String },
    #[error("the room {room} is ending")]
    Ending { room: String },
    #[error("no room{} has a free seat", .label.as_ref().map_or_else(String::new, |label| format!(" labelled {label}")))]
    NoneFree { label: Option<RoomName> },
}

impl RoomError {
    pub(super) fn no_seat(room: String, reason: NoSeat) -> RoomError {
        match reason {
            NoSeat::Full { players_max } => RoomError::Full { room, players_max },
            NoSeat::Locked => RoomError::Locked { room },
            NoSeat::Ending => RoomError::Ending { room },
        }
    }

    /// The close code (docs/protocol.md) for a player who cannot be let in for this reason.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            RoomError::Unknown { .. } | RoomError::NotAccepted { .. } => CloseCode::NoSuchRoom,
            RoomError::NameTaken { .. }
            | RoomError::BeingMade { .. }
            | RoomError::TooMany
            | RoomError::NoFiles
            | RoomError::Full { .. }
            | RoomError::Locked { .. }
            | RoomError::Ending { .. }
            | RoomError::NoneFree { .. } => CloseCode::NoPlace,
            RoomError::Step(StepError::Refused(_)) => CloseCode::Refused,
            RoomError::Step(StepError::RoomFull) => CloseCode::NoPlace,
            // What passes: a session that meets it may come back.
            RoomError::Busy { .. }
            | RoomError::Ended { .. }
            | RoomError::Stuck { .. }
            | RoomError::Frozen { .. }
            | RoomError::Swapping { .. }
            | RoomError::Fault(_)
            | RoomError::LeaveFailed { .. }
            | RoomError::Step(_)
            | RoomError::NotMade { .. } => CloseCode::Failed,
        }
    }
}

fn listed(known: &[String], more: usize) -> String {
    match (known, more) {
        ([], _) => "are none".to_owned(),
        (_, 0) => format!("are {}", known.join(", ")),
        _ => format!("are {} and {more} more", known.join(", ")),
    }
}

impl From<RoomError> for Refusal {
    fn from(error: RoomError) -> Refusal {
        let (kind, code) = match &error {
            RoomError::Unknown { .. } => (Kind::NotFound, "room-unknown"),
            RoomError::Busy { .. } => (Kind::Unavailable, "room-busy"),
            RoomError::Ended { .. } => (Kind::Unavailable, "room-ended"),
            RoomError::Stuck { .. } => (Kind::Unavailable, "room-stuck"),
            RoomError::Frozen { .. } => (Kind::Unavailable, "room-frozen"),
            RoomError::Swapping { .. } => (Kind::Unavailable, "room-swapping"),
            RoomError::Fault(_) | RoomError::LeaveFailed { .. } => (Kind::Internal, "logic-fault"),
            RoomError::Step(StepError::NotIn(_)) => (Kind::NotFound, "player-unknown"),
            RoomError::Step(_) => (Kind::Internal, "room-refused"),
            RoomError::NotAccepted { .. } => (Kind::BadRequest, "room-not-accepted"),
            RoomError::NameTaken { .. } | RoomError::BeingMade { .. } => (Kind::Conflict, "room-name-taken"),
            RoomError::TooMany => (Kind::Conflict, "rooms-too-many"),
            RoomError::NoFiles => (Kind::Unavailable, "files-short"),
            RoomError::NotMade { .. } => (Kind::Unprocessable, "room-not-made"),
            RoomError::Full { .. } => (Kind::Conflict, "room-full"),
            RoomError::Locked { .. } => (Kind::Conflict, "room-locked"),
            RoomError::Ending { .. } => (Kind::Conflict, "room-ending"),
            RoomError::NoneFree { .. } => (Kind::Conflict, "room-none-free"),
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
    #[error("a thread for rooms or loads cannot be started: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Room(RoomError),
    #[error("a thread of rooms ended while it made them; see the log")]
    Died,
}
