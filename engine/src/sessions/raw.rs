//! Where the runtime is promised that a socket stays open for as long as it is watched.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

/// Has the runtime of the task watch a socket.
pub(super) fn watch(stream: Arc<TcpStream>) -> io::Result<AsyncFd<Arc<TcpStream>>> {
    // SAFETY: a `TcpStream` has one descriptor for life and closes it when it is dropped, which it is not before the `AsyncFd`,
    // by which it is held. Nothing here puts another file under the descriptor.
    let watched = unsafe { AsyncFd::register(stream) };
    Ok(watched?)
}
