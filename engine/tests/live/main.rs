//! The engine as users run it: the binary, real plugins, real sockets.

#![expect(clippy::unwrap_used, reason = "all of it is test code, of which clippy sees only what is marked #[test]")]

mod client;
mod support;

mod bad_input;
mod dev;
mod ending;
mod faults;
mod journal;
mod kept;
mod kills;
mod leaves;
mod loading;
mod metrics;
mod players;
#[cfg(debug_assertions)]
mod points;
mod replays;
mod rooms;
mod schema;
mod schema_made_up;
mod schema_refused;
mod second_act;
mod skipped;
mod starting;
mod trials;
mod walk_through;
mod watchdog;
