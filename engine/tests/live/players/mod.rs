//! Players over real sockets.

pub(crate) mod client;

mod bad_input;
mod crowd;
mod door;
mod sessions;
mod slow;
mod storms;
mod trials;
mod witness;
