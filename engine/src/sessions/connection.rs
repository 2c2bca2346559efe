//! The task of a connection: it reads, hands over what it read, and keeps the times.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use logic_api::PlayerId;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use wire::{ClientFrame, CloseCode, EngineFrame};

use crate::rooms::{FromPlayer, RoomDoor};
use crate::sessions::bad::Bad;
use crate::sessions::frames::{Read, Reader, Transport};
use crate::sessions::link::{Due, Framing, Link};
use crate::sessions::lobby::Lobby;
use crate::sessions::rate::Rate;
use crate::sessions::socket::Socket;
use crate::sessions::tcp::TcpReader;
use crate::sessions::websocket::WebSocketReader;
use crate::stop::Stop;

/// What one read takes from a socket.
const READ_BYTES: usize = 64 << 10;
/// Messages that the room is given at a time. Between two such portions it looks whether a tick is due, which a client that has many to
/// say must not make late.
const MESSAGES_TOGETHER_MAX: usize = 16;
/// In how many portions all connections are pinged in an interval. With few, others wait for a portion that is large.
const PING_TIMES: u32 = 500;
/// How long the client has to read the last frame, and to close its end.
const LINGER_MAX: Duration = Duration::from_secs(2);

thread_local! {
    /// What is read is worked off before the task lets go of its thread, so that a connection needs no buffer of its
    /// own.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A bit less than an interval later, so that connections are pinged together with those whose time is next to theirs: most of a ping
/// is to wake up for it, here and where it is answered.
fn next_ping(now: Instant, micros_since_start: u64, interval: Duration) -> Instant {
    let together = u64::try_from((interval / PING_TIMES).as_micros()).unwrap_or(u64::MAX).max(1);
    now + interval - Duration::from_micros(micros_since_start % together)
}

/// What the transport says of a client, before its first frame.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// The room that it asks for, if the Join names none.
    pub(super) room: Option<String>,
    /// Its credentials, if the Join has none.
    pub(super) bearer: Option<String>,
    /// Bytes that were read from the socket already.
    pub(super) unread: Vec<u8>,
}

/// One connection, from its first frame.
#[derive(Debug)]
pub(super) struct Connection {
    lobby: Arc<Lobby>,
    link: Arc<Link>,
    socket: Socket,
    /// `None` only while it reads.
    reader: Option<Reader>,
    opening: Opening,
    rate: Rate,
    /// Who is on the other end; `None` until the room has let them in.
    seat: Option<Seat>,
    /// What the first frame asks for, until the room has answered.
    request: Option<Request>,
    opened_at: Instant,
    heard_at: Instant,
    /// When the frame under way began.
    began_at: Option<Instant>,
    ping_at: Instant,
    /// The number of the ping that is not answered.
    pinged: Option<u64>,
}

#[derive(Debug)]
struct Seat {
    door: RoomDoor,
    player: PlayerId,
}

/// The first frame.
#[derive(Debug)]
pub(super) enum Request {
    Join { room: String, credentials: String, hello: Arc<[u8]> },
    Resume { token: Arc<str> },
}

/// Why the task goes no further.
#[derive(Debug)]
enum End {
    /// The client has closed its end, or the socket is broken.
    Gone,
    /// Somebody else has ended the connection, and said why.
    Closed,
    /// The client is told.
    Bad(Bad),
}

impl From<Bad> for End {
    fn from(bad: Bad) -> End {
        End::Bad(bad)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

impl Connection {
    pub(super) fn new(
        lobby: Arc<Lobby>,
        stream: TcpStream,
        framing: Framing,
        opening: Opening,
    ) -> io::Result<Connection> {
        let limits = &lobby.limits;
        let transport = match framing {
            Framing::Tcp => Transport::Tcp(TcpReader::new(limits.frame_bytes_max)),
            Framing::WebSocket => Transport::WebSocket(WebSocketReader::new(limits.frame_bytes_max)),
        };
        let now = Instant::now();
        let stream = Arc::new(stream.into_std()?);
        let socket = Socket::watch(Arc::clone(&stream))?;
        let link = Link::new(stream, framing, limits.queue_bytes_max, Arc::clone(&lobby.metrics));
        Ok(Connection {
            link,
            socket,
            reader: Some(Reader::new(transport)),
            opening,
            rate: Rate::new(limits.frames_per_second_max, now.into_std()),
            seat: None,
            request: None,
            opened_at: now,
            heard_at: now,
            began_at: None,
            ping_at: now + limits.ping_interval,
            pinged: None,
            lobby,
        })
    }

    /// Until the player is in, or the connection has ended.
    pub(super) async fn run(mut self) -> Option<Seated> {
        let mut unread = std::mem::take(&mut self.opening.unread);
        let taken = self.take(&mut unread);
        drop(unread);
        let served = match taken {
            Ok(()) => self.serve(true).await,
            Err(end) => Err(end),
        };
        match served {
            Ok(()) => Some(Seated(self)),
            Err(end) => {
                self.end(end).await;
                None
            }
        }
    }

    async fn end(mut self, end: End) {
        if let End::Bad(bad) = &end {
            self.link.close(bad);
        }
        if let Some(Seat { door, player }) = &self.seat {
            door.tell(*player, &self.link, FromPlayer::Gone);
        }
        if !matches!(end, End::Gone) {
            // A client that still sends would otherwise be sent a reset, and never see why.
            let _cut = timeout(LINGER_MAX, self.linger()).await;
        }
    }

    /// Until there is an end, or until the player is in if it is only for that.
    async fn serve(&mut self, is_for_entry: bool) -> Result<(), End> {
        let (link, stop) = (Arc::clone(&self.link), self.lobby.stop.clone());
        let mut alarm = pin!(sleep_until(self.deadline()));
        while !is_for_entry || self.seat.is_none() {
            self.serve_once(&link, &stop, alarm.as_mut()).await?;
        }
        Ok(())
    }

    async fn serve_once(&mut self, link: &Link, stop: &Stop, mut alarm: Pin<&mut Sleep>) -> Result<(), End> {
        if let Some(request) = self.request.take() {
            return self.come_in(request).await;
        }
        let due = link.due();
        if matches!(due, Due::End | Due::WriteLast) {
            return Err(End::Closed);
        }
        let is_paused = link.is_room_behind();
        let is_seated = self.seat.is_some();
        tokio::select! {
            biased;
            result = poll_fn(|context| self.poll_socket(context, !is_paused, due == Due::Write)) => result,
            () = link.woken.notified() => Ok(()),
            () = alarm.as_mut() => {
                // Deadlines move with every read, but only away: the alarm is set anew when it has rung.
                let deadline = self.on_time(is_paused)?;
                alarm.as_mut().reset(deadline);
                Ok(())
            }
            () = stop.begun(), if !is_seated => {
                Err(Bad::new(CloseCode::EngineEnds, "engine-ends", "the engine ends").into())
            }
        }
    }

    fn poll_socket(&mut self, context: &mut Context<'_>, may_read: bool, must_write: bool) -> Poll<Result<(), End>> {
        if may_read && let Poll::Ready(result) = self.poll_read(context) {
            return Poll::Ready(result);
        }
        if must_write { self.poll_write(context).map_err(End::from) } else { Poll::Pending }
    }

    /// Writes what waits for the socket.
    fn poll_write(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write(context, || {
            self.link.write();
            !matches!(self.link.due(), Due::Write | Due::WriteLast)
        })
    }

    /// Reads what there is, and works it off, until there is an end or something else to be done first.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            loop {
                let read = ready!(self.socket.poll_read(context, buffer))?;
                if read == 0 {
                    return Poll::Ready(Err(End::Gone));
                }
                self.work_off(&mut buffer[..read])?;
                if self.request.is_some() || self.link.is_room_behind() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    /// When there is something to do though nothing happens.
    fn deadline(&self) -> Instant {
        let limits = &self.lobby.limits;
        if self.seat.is_none() {
            return self.opened_at + limits.handshake_timeout;
        }
        let silence = self.heard_at + limits.pong_timeout;
        let frame = self.began_at.map_or(silence, |began| began + limits.pong_timeout);
        self.ping_at.min(silence).min(frame)
    }

    /// The next time that there is something to do.
    fn on_time(&mut self, is_paused: bool) -> Result<Instant, Bad> {
        let now = Instant::now();
        if is_paused {
            // Nothing is read, so nothing can be heard.
            self.heard_at = now;
            self.began_at = self.began_at.map(|_| now);
        }
        self.check_times(now)?;
        if self.seat.is_some() && now >= self.ping_at {
            let (interval, number) = (self.lobby.limits.ping_interval, self.lobby.micros_since_start(now));
            self.ping_at = next_ping(now, number, interval);
            // An unanswered one stays the one that is waited for: its round trip is the longer.
            self.pinged.get_or_insert(number);
            self.link.say(&EngineFrame::Ping(number));
        }
        Ok(self.deadline())
    }

    fn check_times(&self, now: Instant) -> Result<(), Bad> {
        let limits = &self.lobby.limits;
        let too_slow = |cause, reason: String| Err(Bad::new(CloseCode::TooSlow, cause, reason));
        let timeout_ms = limits.pong_timeout.as_millis();
        if self.seat.is_none() {
            if now < self.opened_at + limits.handshake_timeout {
                return Ok(());
            }
            let reason = format!("no Join or Resume within {} ms", limits.handshake_timeout.as_millis());
            return too_slow("join-timeout", reason);
        }
        if now >= self.heard_at + limits.pong_timeout {
            return too_slow("pong-timeout", format!("no sign of life within {timeout_ms} ms"));
        }
        if self.began_at.is_some_and(|began| now >= began + limits.pong_timeout) {
            return too_slow("frame-timeout", format!("a frame took longer than {timeout_ms} ms to come"));
        }
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), End> {
        if bytes.is_empty() { Ok(()) } else { self.work_off(bytes) }
    }

    /// Works off what was left behind the first frame.
    fn take_rest(&mut self) -> Result<(), End> {
        self.work_off(&mut [])
    }

    /// Works bytes off: what is in them for the room goes there at once.
    fn work_off(&mut self, bytes: &mut [u8]) -> Result<(), End> {
        let now = Instant::now();
        self.heard_at = now;
        self.rate.fill(now.into_std());
        let mut batch = Batch { messages: Vec::new(), bytes: 0, frames: 0, has_message: false, is_closed: false };
        // Taken out for the time, because the frames change the connection.
        let mut reader = self.reader.take().expect("put back below");
        let was_within_message = reader.is_within_message();
        let result = reader.read(bytes, &mut |read| self.on_read(read, &mut batch));
        // What comes between the parts of a message does not end it.
        let has_ended = if was_within_message { batch.has_message } else { batch.frames > 0 };
        let began_before = self.began_at.filter(|_| !has_ended);
        self.began_at = reader.is_within_frame().then(|| began_before.unwrap_or(now));
        self.reader = Some(reader);
        // What came before bad bytes still counts.
        self.hand_over(&mut batch);
        self.lobby.metrics.frames_received.inc_by(batch.frames);
        result?;
        if batch.is_closed { Err(End::Closed) } else { Ok(()) }
    }

    fn hand_over(&mut self, batch: &mut Batch) {
        if let (Some(Seat { door, player }), false) = (&self.seat, batch.messages.is_empty()) {
            self.link.gave(batch.bytes);
            batch.bytes = 0;
            door.tell(*player, &self.link, FromPlayer::Messages(std::mem::take(&mut batch.messages)));
        }
    }

    /// The first frame is the last until the room has answered it.
    fn on_read(&mut self, read: Read<'_>, batch: &mut Batch) -> Result<ControlFlow<()>, Bad> {
        self.rate.take()?;
        batch.frames += u64::from(read != Read::Fragment);
        match read {
            Read::Frame(bytes) => {
                batch.has_message = true;
                self.on_frame(ClientFrame::decode(bytes)?, batch)?;
            }
            Read::Ping(payload) => self.link.pong(payload),
            // They cost time to read, which is all that the rate is about.
            Read::Pong | Read::Fragment => {}
            Read::Close => {
                self.link.close_back();
                batch.is_closed = true;
            }
        }
        let is_last = self.request.is_some() || batch.is_closed;
        Ok(if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn on_frame(&mut self, frame: ClientFrame<'_>, batch: &mut Batch) -> Result<(), Bad> {
        let Some(Seat { door, player }) = &self.seat else { return self.first_frame(frame) };
        match frame {
            ClientFrame::Join { .. } | ClientFrame::Resume { .. } => {
                Err(Bad::frame("joined-twice", "a second Join or Resume; one connection is one player"))
            }
            ClientFrame::Message { number: 0, .. } => {
                Err(Bad::frame("number-unexpected", "input number 0; the first one is 1"))
            }
            ClientFrame::Message { number, bytes } => {
                batch.bytes += Link::cost(bytes.len());
                batch.messages.push((number, bytes.into()));
                if batch.messages.len() >= MESSAGES_TOGETHER_MAX {
                    self.hand_over(batch);
                }
                Ok(())
            }
            ClientFrame::Ping(number) => {
                self.link.say(&EngineFrame::Pong(number));
                Ok(())
            }
            ClientFrame::Pong(number) => {
                self.on_pong(number);
                Ok(())
            }
            ClientFrame::Leave => {
                let (door, player) = (door.clone(), *player);
                self.hand_over(batch);
                door.tell(player, &self.link, FromPlayer::Leave);
                Ok(())
            }
        }
    }

    fn on_pong(&mut self, number: u64) {
        if self.pinged != Some(number) {
            // Of an earlier ping, or made up: it says nothing of the time.
            return;
        }
        self.pinged = None;
        let rtt_us = self.lobby.micros_since_start(Instant::now()).saturating_sub(number);
        self.link.set_rtt_us(u32::try_from(rtt_us).unwrap_or(u32::MAX));
        self.lobby.metrics.rtt_seconds.observe(Duration::from_micros(rtt_us).as_secs_f64());
    }

    fn first_frame(&mut self, frame: ClientFrame<'_>) -> Result<(), Bad> {
        self.request = Some(match frame {
            ClientFrame::Join { room, credentials, hello } => {
                Request::Join { room: room.to_owned(), credentials: credentials.to_owned(), hello: hello.into() }
            }
            ClientFrame::Resume { token } => Request::Resume { token: token.into() },
            _ => return Err(Bad::frame("not-joined", "the first frame is neither a Join nor a Resume")),
        });
        Ok(())
    }

    /// Asks the room. Its answer comes as a frame too, or as the end of the connection.
    async fn come_in(&mut self, request: Request) -> Result<(), End> {
        let (player, entered) = self.lobby.let_in(&self.opening, request, &self.link).await?;
        self.opening = Opening::default();
        let Ok(door) = entered else { return Err(End::Closed) };
        self.seat = Some(Seat { door, player });
        self.ping_at = Instant::now();
        // What came behind the first frame.
        self.take_rest()
    }

    /// Writes what is left, closes the engine's end, and reads until the client has closed its own.
    async fn linger(&mut self) -> io::Result<()> {
        if self.link.due() == Due::WriteLast {
            poll_fn(|context| self.poll_write(context)).await?;
        }
        self.socket.stream().shutdown(Shutdown::Write)?;
        let poll_read =
            |context: &mut Context<'_>| READ_BUFFER.with_borrow_mut(|buffer| self.socket.poll_read(context, buffer));
        while poll_fn(poll_read).await? > 0 {}
        Ok(())
    }
}

/// A connection whose player is in a room.
#[derive(Debug)]
pub(super) struct Seated(Connection);

impl Seated {
    /// Where it is to run.
    pub(super) fn runtime(&self) -> &Handle {
        self.0.seat.as_ref().expect("the player is in a room").door.runtime()
    }

    /// Until the connection has ended, from whichever side.
    pub(super) async fn run(self) {
        let Seated(mut connection) = self;
        let served = match Socket::watch(Arc::clone(connection.socket.stream())) {
            Ok(socket) => {
                connection.socket = socket;
                connection.serve(false).await
            }
            Err(error) => Err(error.into()),
        };
        if let Err(end) = served {
            connection.end(end).await;
        }
    }
}

/// What one read had for the room.
struct Batch {
    messages: Vec<(u32, Arc<[u8]>)>,
    bytes: usize,
    frames: u64,
    /// A frame of the protocol was among them.
    has_message: bool,
    /// The client has said its last word.
    is_closed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_that_are_near_each_other_are_one() {
        let start = Instant::now();
        let next = |interval_ms, at_us| {
            let interval = Duration::from_millis(interval_ms);
            next_ping(start + Duration::from_micros(at_us), at_us, interval) - start
        };
        let every_ten_seconds: Vec<_> = [0, 1, 19_999, 20_000, 39_999].map(|at_us| next(10_000, at_us)).into();
        assert_eq!(every_ten_seconds, [10_000, 10_000, 10_000, 10_020, 10_020].map(Duration::from_millis));
        // As short as it may be, and for ever.
        assert_eq!(next(1, 4_567), Duration::from_micros(5_566));
        assert_eq!(next(u64::from(u32::MAX), 5_000_000), Duration::from_millis(u32::MAX.into()));
    }
}
