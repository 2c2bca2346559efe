//! The way in for players: who may open a connection, and what becomes of their first frame.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use logic_api::PlayerId;
use prometheus::IntGauge;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use wire::CloseCode;

use crate::config::Config;
use crate::metrics::SessionMetrics;
use crate::rooms::{Admission, Entry, RoomDoor, RoomError, Rooms};
use crate::sessions::addresses::{Addresses, FromAddress};
use crate::sessions::auth::Auth;
use crate::sessions::bad::Bad;
use crate::sessions::connection::{Connection, Opening, Request};
use crate::sessions::link::{Framing, Link};
use crate::sessions::token::{Tokens, random_player};
use crate::stop::Stop;

/// What bounds a connection. All of it is in the engine's config.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections_max: usize,
    /// 0: no limit.
    pub connections_per_address_max: usize,
    /// For the first frame, from the connection's beginning; and for the room's answer to it.
    pub handshake_timeout: Duration,
    pub ping_interval: Duration,
    /// How long a client may be silent.
    pub pong_timeout: Duration,
    pub frame_bytes_max: usize,
    /// 0: no limit.
    pub frames_per_second_max: u32,
    pub queue_bytes_max: usize,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Limits {
        Limits {
            connections_max: config.connections_max,
            connections_per_address_max: config.connections_per_address_max,
            handshake_timeout: config.handshake_timeout,
            ping_interval: config.ping_interval,
            pong_timeout: config.pong_timeout,
            frame_bytes_max: config.frame_bytes_max,
            frames_per_second_max: config.frames_per_second_max,
            queue_bytes_max: config.queue_bytes_max,
        }
    }
}

/// Lets players in. One for an engine.
#[derive(Debug)]
pub struct Lobby {
    pub(super) limits: Limits,
    pub(super) metrics: Arc<SessionMetrics>,
    pub(super) stop: Stop,
    rooms: Rooms,
    auth: Auth,
    tokens: Tokens,
    /// `Origin` values of pages that may connect beside the engine's own.
    pub(super) allowed_origins: Vec<String>,
    /// Names by which the engine is reached, with the port: pages from there are its own.
    pub(super) allowed_hosts: Vec<String>,
    /// One for each connection that there may be.
    slots: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    started: Instant,
}

/// A connection's place among those that there may be.
#[derive(Debug)]
#[expect(dead_code, reason = "held for their end")]
pub(crate) struct Slot(OwnedSemaphorePermit, Option<FromAddress>);

/// Counts a connection for as long as it is there.
#[derive(Debug)]
struct Present {
    gauge: IntGauge,
    _slot: Slot,
}

impl Present {
    fn new(gauge: &IntGauge, slot: Slot) -> Present {
        gauge.inc();
        Present { gauge: gauge.clone(), _slot: slot }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Lobby {
    pub fn new(
        config: &Config,
        rooms: Rooms,
        auth: Auth,
        tokens: Tokens,
        metrics: Arc<SessionMetrics>,
        stop: Stop,
    ) -> Lobby {
        let limits = Limits::from(config);
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        let addresses = Addresses::new(limits.connections_per_address_max);
        let (allowed_origins, allowed_hosts) = (config.allowed_origins.clone(), config.allowed_hosts.clone());
        let started = Instant::now();
        Lobby { limits, metrics, stop, rooms, auth, tokens, allowed_origins, allowed_hosts, slots, addresses, started }
    }

    /// Somebody who did not come as far as a connection. The cause is a word of the source.
    pub(crate) fn count_refused(&self, cause: &'static str) {
        self.metrics.count_refused(cause);
    }

    /// Connections of players at this moment.
    pub fn connections(&self) -> usize {
        self.limits.connections_max - self.slots.available_permits()
    }

    /// Returns once no connection of a player is left, or after this time. False if some are left.
    pub async fn ended(&self, time_max: Duration) -> bool {
        let all = u32::try_from(self.limits.connections_max).expect("its bounds fit");
        timeout(time_max, self.slots.acquire_many(all)).await.is_ok()
    }

    /// # Errors
    /// There are as many connections as there may be, of this address or of all, or the engine is ending.
    pub(super) fn take_slot(&self, peer: IpAddr) -> Result<Slot, Bad> {
        if self.stop.is_begun() {
            return Err(Bad::new(CloseCode::EngineEnds, "engine-ends", "the engine ends"));
        }
        let from_address = self.addresses.take(peer)?;
        Arc::clone(&self.slots).try_acquire_owned().map(|permit| Slot(permit, from_address)).map_err(|_| {
            let reason = format!("{} connections are open (connections_max)", self.limits.connections_max);
            // It passes, so a session that is on its way back is not to end by it.
            Bad::new(CloseCode::Failed, "no-connection", reason)
        })
    }

    /// A TCP connection that began with the first byte of the preamble, which has not been read.
    pub(crate) async fn serve_tcp(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        match self.take_slot(peer.ip()) {
            Ok(slot) => self.serve(stream, Framing::Tcp, Opening::default(), slot).await,
            Err(bad) => {
                tracing::debug!(%peer, reason = %bad.reason, "a player was turned away");
                // Told without waiting: whoever has no place has none to wait in. What has come is taken, for a socket
                // that is closed over unread bytes resets, and its client may never see why.
                let _unread = stream.try_read(&mut [0; 1024]);
                let Ok(stream) = stream.into_std() else { return };
                let (stream, metrics) = (Arc::new(stream), Arc::clone(&self.metrics));
                Link::new(stream, Framing::Tcp, self.limits.queue_bytes_max, metrics).close(&bad);
            }
        }
    }

    /// Until the player is in a room: from there on the connection goes on where the room's are.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, framing: Framing, opening: Opening, slot: Slot) {
        let present = Present::new(self.metrics.connections(framing == Framing::WebSocket), slot);
        // A socket that cannot be watched has nobody who could be told.
        let Ok(connection) = Connection::new(self, stream, framing, opening) else { return };
        if let Some(seated) = connection.run().await {
            let runtime = seated.runtime().clone();
            runtime.spawn(async move {
                seated.run().await;
                drop(present);
            });
        }
    }

    pub(super) fn micros_since_start(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }

    /// Brings whoever sent the first frame into a room.
    ///
    /// # Errors
    /// The connection is to be ended for it. An error within is what the room has against them, and has told them itself.
    pub(super) async fn let_in(
        &self,
        opening: &Opening,
        request: Request,
        link: &Arc<Link>,
    ) -> Result<(PlayerId, Result<RoomDoor, ()>), Bad> {
        match request {
            Request::Join { room, credentials, hello } => {
                let claims = self.auth.check(either(&credentials, opening.bearer.as_deref()))?;
                let room = either(&room, opening.room.as_deref());
                let admission = self.admit(room).await.map_err(not_admitted)?;
                let player = random_player().map_err(no_randomness)?;
                let entry = self.entry(link, self.tokens.token(admission.room().as_str(), player).into());
                let joined = admission.join(player, hello, claims, entry).await;
                Ok((player, told(joined)?))
            }
            Request::Resume { token } => {
                let bad_token = || Bad::new(CloseCode::BadToken, "token-wrong", "the token is none of this engine's");
                let (room, player) = self.tokens.check(&token).ok_or_else(bad_token)?;
                let resumed = self.rooms.resume(&room, player, self.entry(link, token)).await;
                if let Err(error @ RoomError::Unknown { .. }) = resumed {
                    return Err(Bad::new(CloseCode::BadToken, "token-of-no-room", error.to_string()));
                }
                Ok((player, told(resumed)?))
            }
        }
    }

    fn entry(&self, link: &Arc<Link>, token: Arc<str>) -> Entry {
        Entry { link: Arc::clone(link), token, patience: self.limits.handshake_timeout }
    }

    /// A seat, which may be in a room that has to be made first.
    async fn admit(&self, room: &str) -> Result<Admission, RoomError> {
        let patience = self.limits.handshake_timeout;
        let stuck = |_| RoomError::Stuck { room: room.to_owned(), waited_ms: patience.as_millis() };
        timeout(patience, self.rooms.admit(room)).await.map_err(stuck)?
    }
}

/// The first, unless it is empty.
fn either<'a>(one: &'a str, other: Option<&'a str>) -> &'a str {
    if one.is_empty() { other.unwrap_or("") } else { one }
}

fn not_admitted(error: RoomError) -> Bad {
    let cause = if matches!(error, RoomError::Stuck { .. }) { "room-stuck" } else { "not-admitted" };
    Bad::new(error.close_code(), cause, error.to_string())
}

fn no_randomness(error: std::io::Error) -> Bad {
    Bad::new(CloseCode::Failed, "no-randomness", format!("the operating system gave no random bytes: {error}"))
}

/// A room that refuses somebody ends their connection; one that has not got to it has not.
fn told(entered: Result<RoomDoor, RoomError>) -> Result<Result<RoomDoor, ()>, Bad> {
    match entered {
        Ok(door) => Ok(Ok(door)),
        Err(error @ (RoomError::Ended { .. } | RoomError::Stuck { .. })) => Err(not_admitted(error)),
        Err(_) => Ok(Err(())),
    }
}
