//! The shell over real sockets, in front of a backend that answers from a script instead of rooms.

#![expect(clippy::unwrap_used, reason = "all of it is test code, of which clippy sees only what is marked #[test]")]

mod client;
mod door;
mod ending;
mod fake;
mod logic;
mod rooms;
mod routes;
