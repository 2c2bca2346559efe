//! Players over real sockets.

mod client;

mod door;
mod sessions;
