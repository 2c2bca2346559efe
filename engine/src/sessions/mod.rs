//! Players from the socket inwards: the way in, the frames, and one task for each connection.
//!
//! What a player *is* lives in a room's world and in its thread (`rooms::players`): here are only connections, which
//! come and go. A task reads its socket and hands what it read to the room. Once its player is in, it runs on the thread that
//! does the room's light work (`rooms::helper`). What a room sends is written to the socket by whoever releases the room's
//! outputs, at once as far as the kernel takes it, and by the task for the rest. So a message wakes one thread on its way in, and
//! none on its way through the room and out.

mod addresses;
mod auth;
mod token;

mod bad;
mod frames;
mod tcp;
mod websocket;

mod connection;
mod link;
mod rate;
#[expect(unsafe_code, reason = "the runtime must be promised that a descriptor stays open")]
mod raw;
mod socket;

mod lobby;
mod upgrade;

pub use auth::{Auth, AuthError};
pub use bad::Bad;
pub use lobby::{Limits, Lobby};
pub use token::Tokens;

pub(crate) use link::{Link, Out};
pub(crate) use upgrade::ORIGIN_FOREIGN;
