//! Players over real sockets.

mod client;

mod bad_input;
mod door;
mod sessions;
