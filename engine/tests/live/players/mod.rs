//! Players over real sockets.

pub(crate) mod client;

mod bad_input;
mod door;
mod sessions;
