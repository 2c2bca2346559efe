//! A player's socket, as the task that reads it has it. The socket itself is shared with the [`Link`](super::Link), and knows of no
//! runtime, so that a connection can go on in another one.

use std::io::{self, ErrorKind, Read as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use crate::sessions::raw;

/// A socket that the runtime of the task watches.
#[derive(Debug)]
pub(super) struct Socket(AsyncFd<Arc<TcpStream>>);

impl Socket {
    /// Within the runtime that is to watch it. `stream` is one that does not block.
    pub(super) fn watch(stream: Arc<TcpStream>) -> io::Result<Socket> {
        raw::watch(stream).map(Socket)
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        self.0.get_ref()
    }

    /// Reads what there is; none is the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            match self.stream().as_ref().read(to) {
                Ok(read) => {
                    // There was no more, which need not be asked for.
                    if 0 < read && read < to.len() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Calls `write` whenever the socket takes something, until it says that nothing is left.
    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        mut write: impl FnMut() -> bool,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if write() {
                return Poll::Ready(Ok(()));
            }
            guard.clear_ready();
        }
    }
}
