//! The listener and its end: bind, tell where, accept, and on a signal stop in order.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use engine::{config::Config, http::Backend, lock::DataFolder, metrics::RequestMetrics, serve::{self, Door, ServeError}};
//! # async fn start<B: Backend>(config: &Config, data: &DataFolder, backend: Arc<B>, requests: RequestMetrics) -> Result<(), ServeError> {
//! let door = Door::open(config, data).await?; // a taken port is told before any plugin is loaded
//! serve::end_on_signals(door.stop())?;
//! // … start the backend, which keeps a `door.stop()` …
//! let announced = door.announce()?; // held while the door is open: dropping it takes the address file away
//! println!("{announced}");
//! door.serve(backend, requests).await; // until the stop has begun and what was in flight is answered
//! # Ok(())
//! # }
//! ```

mod socket;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::tcp::PREAMBLE;

use crate::config::Config;
use crate::descriptors;
use crate::guard::Guard;
use crate::http::{Backend, Front, RequestLimits};
use crate::lock::{DataFolder, write_atomically};
use crate::metrics::RequestMetrics;
pub(crate) use crate::serve::socket::HttpSocket;
use crate::stop::Stop;
use crate::token::{TOKEN_FILE, Token, TokenError};

/// The name of the file in the data folder that tells clients where the engine listens.
pub const ADDRESS_FILE: &str = "engine.addr";

/// Connections of HTTP at a time; those beyond wait in the kernel's queue. Those of players are the lobby's.
const CONNECTIONS_MAX: usize = 16_384;
/// Longer heads are answered with 431.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// What the engine reads ahead of one connection.
const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Out of descriptors, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(CONNECTIONS_MAX <= Semaphore::MAX_PERMITS);
// A head that is not too long has to fit, and hyper refuses a buffer below 8 KiB.
const _: () = assert!(READ_AHEAD_BYTES_MAX >= HEAD_BYTES_MAX && READ_AHEAD_BYTES_MAX >= 8192);

/// Why the engine cannot serve. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {listen}: address in use (is another engine running? see --listen)")]
    AddressInUse { listen: SocketAddr },
    #[error("cannot listen on {listen}: no interface of this machine has that address (see --listen)")]
    AddressUnknown { listen: SocketAddr },
    #[error("cannot listen on {listen}: not permitted; ports below 1024 want a privilege (see --listen)")]
    AddressDenied { listen: SocketAddr },
    #[error("cannot listen on {listen}: {source} (see --listen)")]
    Listen { listen: SocketAddr, source: io::Error },
    #[error("the address cannot be written to {file}: {source}")]
    Announce { file: String, source: io::Error },
    #[error("signals cannot be waited for: {source}")]
    Signals { source: io::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A bound listener that accepts nobody yet: who connects meanwhile waits in the kernel's queue.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
    limits: RequestLimits,
    end_grace: Duration,
    /// For a connection's first byte, for the head of a request, and for an idle connection until its next one.
    head_timeout: Duration,
    address_file: PathBuf,
    stop: Stop,
}

impl Door {
    /// Binds, and makes the token if there is none.
    ///
    /// # Errors
    /// [`ServeError`] if the address cannot be had or the token cannot be used.
    pub async fn open(config: &Config, data: &DataFolder) -> Result<Door, ServeError> {
        let token = Token::load_or_make(data.path(), TOKEN_FILE)?;
        let listen = config.listen;
        let bind_error = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => ServeError::AddressInUse { listen },
            ErrorKind::AddrNotAvailable => ServeError::AddressUnknown { listen },
            ErrorKind::PermissionDenied => ServeError::AddressDenied { listen },
            _ => ServeError::Listen { listen, source },
        };
        let listener = TcpListener::bind(listen).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Door {
            listener,
            address,
            guard: Guard::new(address, &config.allowed_hosts, token),
            limits: RequestLimits { body_bytes_max: config.request_body_bytes_max, timeout: config.request_timeout },
            end_grace: config.end_grace(),
            head_timeout: config.handshake_timeout,
            address_file: data.path().join(ADDRESS_FILE),
            stop: Stop::new(),
        })
    }

    /// As bound: with the real port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle that ends [`Door::serve`].
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Tells clients on this machine where the engine listens, in the data folder and in the log.
    ///
    /// # Errors
    /// [`ServeError::Announce`] if the address file cannot be written.
    pub fn announce(&self) -> Result<Announced, ServeError> {
        let address = reachable(self.address);
        write_atomically(&self.address_file, format!("{address}\n").as_bytes())
            .map_err(|source| ServeError::Announce { file: self.address_file.display().to_string(), source })?;
        tracing::info!(listen = %self.address, "listening for HTTP");
        Ok(Announced { address, file: self.address_file.clone() })
    }

    /// Accepts until the stop has begun; then answers what is in flight, for as long as the config's grace, and returns.
    pub async fn serve<B: Backend>(self, backend: Arc<B>, requests: RequestMetrics) {
        let Door { listener, guard, limits, end_grace, head_timeout, stop, .. } = self;
        let front = Arc::new(Front::new(backend, guard, limits, requests));
        let mut connections = JoinSet::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Some((stream, peer, slot)) = accept(&listener, &slots, &stop).await {
            while connections.try_join_next().is_some() {}
            let times = Times { head: head_timeout, stall: limits.timeout };
            connections.spawn(connection(stream, peer, Arc::clone(&front), stop.clone(), times, slot));
        }
        // Closed first, so that nobody new comes in while the others are waited for.
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(end_grace, all_ended).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections were cut: they did not end in time");
        }
        connections.shutdown().await;
    }
}

/// The first SIGTERM, Ctrl-C or SIGHUP (its terminal is closed) begins the stop; another SIGTERM or Ctrl-C ends the process at once.
/// SIGHUP does not, for a shell and the kernel may each send one.
///
/// # Errors
/// [`ServeError::Signals`] if the handlers cannot be set.
pub fn end_on_signals(stop: Stop) -> Result<(), ServeError> {
    let listen = |kind| signal(kind).map_err(|source| ServeError::Signals { source });
    let [terminate, interrupt, hangup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let (mut terminated, mut interrupted) = (listen(terminate)?, listen(interrupt)?);
    // As `nohup` wants it.
    let mut hung_up = if is_ignored(hangup) { None } else { Some(listen(hangup)?) };
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminated.recv() => terminate,
                _ = interrupted.recv() => interrupt,
            }
        };
        tokio::select! {
            _ = next() => {}
            Some(()) = async { hung_up.as_mut()?.recv().await } => {}
        }
        tracing::info!("stopping in order; a second signal stops at once");
        stop.begin();
        let second = next().await;
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(128 + second.as_raw_value());
    });
    Ok(())
}

/// Whether who started this process wanted it to take no notice of a signal.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored >> (signal.as_raw_value() - 1) & 1 == 1)
}

/// The next connection, or `None` once the stop has begun.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &Stop,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
        let mut is_told = false;
        loop {
            if descriptors::are_short(0) {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        "nobody is let in: as many files are open as there may be (ulimit -n), but for the engine's own"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, slot),
                // The peer was gone before its turn came.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted; is the limit of open files too low?");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.begun() => None,
        accepted = accepted => Some(accepted),
    }
}

/// What a connection of HTTP may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// For its first byte, for the head of a request, and until the next one begins.
    head: Duration,
    /// For its client to take some more of an answer.
    stall: Duration,
}

/// One socket from its first byte to its last. A player's over TCP branches off here, before anything is read; one over
/// WebSocket in the front, which gets its [`TcpStream`] and the unread bytes back through `hyper::upgrade`. Both have tasks of
/// their own from then on.
async fn connection<B: Backend>(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Front<B>>,
    stop: Stop,
    times: Times,
    _slot: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY was refused");
    }
    let first = tokio::select! {
        first = timeout(times.head, first_byte(&stream)) => first,
        () = stop.begun() => return,
    };
    let Ok(Some(first)) = first else {
        // Who says nothing cannot be answered: it is not known what they speak.
        if first.is_err() {
            front.count_refused("silent");
        }
        return;
    };
    if first == PREAMBLE[0]
        && let Some(lobby) = front.lobby()
    {
        tokio::spawn(lobby.serve_tcp(stream, peer));
        return;
    }
    let front = &*front;
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(front.answer(peer, request).await) });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_AHEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(HttpSocket::new(stream, times.stall)), answer)
        .with_upgrades();
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = stop.begun() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else { return };
    tracing::debug!(%peer, %error, "a connection ended early");
    if is_stalled(&error) {
        front.count_refused("answer-unread");
    }
    // A connection that is kept alive and says nothing more has not begun a head.
    if error.is_timeout()
        && let Some(parts) = connection.into_parts().filter(|parts| !parts.read_buf.is_empty())
    {
        // Not waited for: it is short, and whoever does not take it has no use for it.
        let _unread = parts.io.into_inner().into_stream().try_write(&front.head_timeout(times.head));
    }
}

/// Whether a connection ended because its client did not take an answer.
fn is_stalled(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == ErrorKind::TimedOut)
}

/// Without taking it; `None` if there is none.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => Some(first[0]),
        _ => None,
    }
}

/// Where a client on this machine connects to: nobody can connect to "any address".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address file, removed when this is dropped. It prints as the line that tells a user where to go.
#[derive(Debug)]
#[must_use = "dropping it takes the announcement back"]
pub struct Announced {
    address: SocketAddr,
    file: PathBuf,
}

impl fmt::Display for Announced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "listening on http://{}", self.address)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.file) {
            tracing::warn!(file = %self.file.display(), %error, "the address file could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_is_known() {
        // As every Rust program has it.
        assert!(is_ignored(SignalKind::pipe()));
        assert!(!is_ignored(SignalKind::terminate()));
    }
}
