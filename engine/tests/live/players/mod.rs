//! Players over real sockets.

mod client;

mod sessions;
