//! Players over real sockets.

pub(crate) mod client;

mod bad_input;
mod crowd;
mod door;
mod sessions;
mod trials;
mod witness;
