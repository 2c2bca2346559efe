//! The rooms at run time: threads that own them, the way in for requests and swaps, and what can be seen of them from outside.
//!
//! A room lives on one thread from its creation to its end, and only that thread touches it; everybody else sends a command
//! and may wait for the reply. No lock is held while a logic runs. What a room is like is read from its board, which never
//! waits for the room.

mod command;
mod door;
mod error;
mod handle;
mod opening;
mod registry;
mod swap;

mod helper;
mod inbox;
mod outlet;
mod thread;

mod board;
mod clock;
mod entrance;
mod pace;
mod play;
mod players;
mod seat;
mod trial;
mod watched;

mod name;
mod news;

pub use command::{Entry, Rewound, Swapped};
pub use error::{NotSwapped, RoomError, StartError};
pub use handle::{RoomOptions, Rooms};
pub use name::{RoomId, RoomName};
pub use opening::{Admission, RoomSettings};
pub use trial::{Failure, FailureKind, Full, Swap, TableRewrites, Told};
pub use watched::{UnderWay, Watched};

pub(crate) use command::FromPlayer;
pub(crate) use door::RoomDoor;

#[cfg(test)]
mod tests;
