//! One player: joins, sends, checks what comes back, and returns when the connection broke.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use wire::{ClientFrame, CloseCode, EngineFrame, Header};

use crate::ledger::Ledger;
use crate::link::{Broken, Link, OpenError};
use crate::options::{Expect, Pace, Protocol};
use crate::run::Phase;
use crate::worker::Shared;

/// For connecting and the handshake.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to come back: doubled each time, up to the second one.
const RETURN_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETURN_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a player tries to come back: as long as an engine keeps the place, unless it is told otherwise.
const RETURN_MAX: Duration = Duration::from_secs(30);

/// What stands before a payload whose echo is expected: this, the player and the number of the message, as little-endian `u32`.
const STAMP: [u8; 4] = *b"swrm";
const STAMP_BYTES: usize = STAMP.len() + 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Connecting, or connected and not let in yet.
    Outside,
    Playing,
    /// For good.
    Over,
}

/// A player, and the connection if there is one.
#[derive(Debug)]
pub(crate) struct Player {
    index: u32,
    shared: Rc<Shared>,
    link: Option<Link>,
    place: Place,
    ledger: Ledger,
    /// For Resume; empty before the first Joined.
    token: String,
    /// What a Closing frame said.
    closing: Option<CloseCode>,
    last_frame_at: u64,
    /// A frame was fed and not flushed.
    fed: bool,
    payload: Vec<u8>,
    compared: Vec<u8>,
}

impl Player {
    pub(crate) fn new(index: u32, shared: Rc<Shared>) -> Self {
        let ledger = Ledger::new(shared.options.expect);
        Self {
            index,
            shared,
            link: None,
            place: Place::Outside,
            ledger,
            token: String::new(),
            closing: None,
            last_frame_at: 0,
            fed: false,
            payload: Vec::new(),
            compared: Vec::new(),
        }
    }

    pub(crate) fn is_playing(&self) -> bool {
        self.place == Place::Playing
    }

    pub(crate) fn open(&self) -> u32 {
        self.ledger.open()
    }

    /// Whether something may still confirm what is open.
    pub(crate) fn may_settle(&self) -> bool {
        self.ledger.open() > 0 && self.place != Place::Over
    }

    /// Sends the message that is due; [`flush`](Self::flush) lets it out. False if the player has no connection now.
    pub(crate) fn send_due(&mut self) -> bool {
        let playing = self.is_playing();
        if playing {
            self.send();
        } else {
            self.shared.tally.borrow_mut().skipped += 1;
        }
        playing
    }

    /// Sends as much as the pace allows to be on its way.
    pub(crate) fn fill(&mut self) {
        let Pace::InFlight(in_flight) = self.shared.options.pace else { return };
        while self.is_playing() && self.ledger.open() < in_flight {
            self.send();
        }
    }

    fn send(&mut self) {
        let number = self.ledger.send(self.shared.run.now());
        self.shared.tally.borrow_mut().sent += 1;
        self.feed_message(number);
    }

    fn feed_message(&mut self, number: u32) {
        let mut payload = std::mem::take(&mut self.payload);
        self.write_payload(number, &mut payload);
        self.feed(&ClientFrame::Message { number, bytes: &payload });
        self.payload = payload;
    }

    fn write_payload(&self, number: u32, to: &mut Vec<u8>) {
        let options = &self.shared.options;
        to.clear();
        if options.expect == Expect::Echo {
            to.extend_from_slice(&STAMP);
            to.extend_from_slice(&self.index.to_le_bytes());
            to.extend_from_slice(&number.to_le_bytes());
        }
        options.script.write(options.seed, self.index, number, to);
    }

    /// Asks for an answer, whose header says what was consumed.
    pub(crate) fn ping(&mut self) {
        if self.is_playing() && self.shared.options.protocol == Protocol::Hotseat {
            let now = self.shared.run.now();
            self.feed(&ClientFrame::Ping(now));
        }
    }

    fn feed(&mut self, frame: &ClientFrame<'_>) {
        if let Some(link) = &mut self.link {
            link.feed(frame);
            self.fed = true;
        }
    }

    pub(crate) fn flush(&mut self) {
        if std::mem::take(&mut self.fed)
            && let Some(link) = &mut self.link
        {
            link.flush();
        }
    }

    /// Out for good: what happens to the connection from here on is no concern of the report.
    pub(crate) fn leave(&mut self) {
        let playing = std::mem::replace(&mut self.place, Place::Over) == Place::Playing;
        let Some(link) = &mut self.link else { return };
        match self.shared.options.protocol {
            // The engine answers by closing.
            Protocol::Hotseat if playing => {
                link.feed(&ClientFrame::Leave);
                link.flush();
            }
            Protocol::Hotseat | Protocol::BareEcho => link.close(),
        }
    }

    /// The silence that lasts until now ends, or is looked at.
    pub(crate) fn break_silence(&mut self, now: u64) {
        let since = self.last_frame_at.max(self.shared.run.run_started());
        let mut tally = self.shared.tally.borrow_mut();
        tally.silence_max_ns = tally.silence_max_ns.max(now.saturating_sub(since));
    }

    fn enter(&mut self, mut link: Link) {
        let options = &self.shared.options;
        self.closing = None;
        match options.protocol {
            Protocol::BareEcho => {
                self.link = Some(link);
                self.now_playing();
                self.shared.tally.borrow_mut().joined += 1;
            }
            Protocol::Hotseat => {
                if self.token.is_empty() {
                    let hello = options.hello.filled(options.seed, self.index);
                    let (room, credentials) = (&options.room, &options.credentials);
                    link.feed(&ClientFrame::Join { room, credentials, hello: &hello });
                } else {
                    link.feed(&ClientFrame::Resume { token: &self.token });
                }
                link.flush();
                self.link = Some(link);
            }
        }
    }

    fn now_playing(&mut self) {
        self.place = Place::Playing;
        self.last_frame_at = self.shared.run.now();
        self.shared.settle(self.index);
    }

    /// Reads what has come, until the connection ends.
    fn poll(&mut self, context: &Context<'_>) -> Poll<Broken> {
        let Some(mut link) = self.link.take() else { return Poll::Ready(Broken::Cut) };
        link.wake_by(context.waker());
        let ended = loop {
            let read = link.read();
            // A frame's answers go out by the link.
            self.link = Some(link);
            match read {
                Ok(Some(frame)) => {
                    if let Err(broken) = self.receive(&frame) {
                        break Some(broken);
                    }
                }
                Ok(None) => break None,
                Err(broken) => break Some(broken),
            }
            link = self.link.take().expect("put back above");
        };
        if let Some(broken) = ended {
            self.link = None;
            return Poll::Ready(broken);
        }
        if self.shared.phase() == Phase::Running {
            self.fill();
        }
        // Also what the WebSocket itself has to answer, and what could not be written before.
        self.fed = true;
        self.flush();
        Poll::Pending
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let now = self.shared.run.now();
        if self.shared.phase() == Phase::Running && self.is_playing() {
            self.break_silence(now);
            let mut tally = self.shared.tally.borrow_mut();
            tally.frames += 1;
            tally.frame_bytes += bytes.len() as u64;
        }
        if self.is_playing() {
            self.last_frame_at = now;
        }
        if self.shared.options.protocol == Protocol::BareEcho {
            match ClientFrame::decode(bytes) {
                Ok(ClientFrame::Message { bytes, .. }) => self.echoed(bytes, now),
                Ok(_) => {}
                Err(error) => return Err(Broken::Malformed(error.to_string())),
            }
            return Ok(());
        }
        let (header, frame) = EngineFrame::decode(bytes).map_err(|error| Broken::Malformed(error.to_string()))?;
        self.take(header, frame, now);
        Ok(())
    }

    fn take(&mut self, header: Header, frame: EngineFrame<'_>, now: u64) {
        match frame {
            EngineFrame::Joined(joined) => {
                self.token.clear();
                self.token.push_str(joined.token);
                if joined.resumed {
                    self.shared.tally.borrow_mut().resumed += 1;
                    if self.shared.phase() == Phase::Running {
                        // The time without a connection was a silence too.
                        self.break_silence(now);
                    }
                    self.now_playing();
                    self.send_again(header.consumed, now);
                } else {
                    self.shared.tally.borrow_mut().joined += 1;
                    self.now_playing();
                }
                return;
            }
            EngineFrame::Resync { .. } => return self.ledger.resync(header.consumed),
            EngineFrame::Closing { code, .. } => self.closing = Some(code),
            _ => {}
        }
        let Player { ledger, shared, .. } = self;
        let findings = ledger.header(header.consumed, |sent_at| shared.confirm(sent_at, now));
        shared.tally.borrow_mut().note(findings);
        match frame {
            EngineFrame::Message(bytes) if shared.options.expect == Expect::Echo => self.echoed(bytes, now),
            EngineFrame::Ping(number) => self.feed(&ClientFrame::Pong(number)),
            EngineFrame::Pong(sent_at) => shared.tally.borrow_mut().pings.add(now.saturating_sub(sent_at)),
            EngineFrame::Error { number, .. } => {
                ledger.failed(number);
                shared.tally.borrow_mut().failed += 1;
            }
            _ => {}
        }
    }

    /// Whether this is the answer to a message of this player, and what that shows.
    fn echoed(&mut self, bytes: &[u8], now: u64) {
        let Some(stamp) = bytes.first_chunk::<STAMP_BYTES>() else { return };
        let [s0, s1, s2, s3, p0, p1, p2, p3, n0, n1, n2, n3] = *stamp;
        if [s0, s1, s2, s3] != STAMP || u32::from_le_bytes([p0, p1, p2, p3]) != self.index {
            // The game's own words, or the answer to somebody else which everybody sees.
            return;
        }
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        let mut compared = std::mem::take(&mut self.compared);
        self.write_payload(number, &mut compared);
        let damaged = compared != bytes;
        self.compared = compared;
        let Player { ledger, shared, .. } = self;
        let findings = ledger.echo(number, |sent_at| shared.confirm(sent_at, now));
        let mut tally = shared.tally.borrow_mut();
        tally.note(findings);
        tally.damaged += u64::from(damaged);
    }

    fn send_again(&mut self, consumed: u32, now: u64) {
        let Player { ledger, shared, .. } = self;
        let (findings, again) = ledger.resume(consumed, |sent_at| shared.confirm(sent_at, now));
        {
            let mut tally = shared.tally.borrow_mut();
            tally.note(findings);
            tally.sent_again += u64::from(again.end.saturating_sub(again.start));
        }
        for number in again {
            self.feed_message(number);
        }
    }

    /// The connection has ended; whether to come back.
    fn ended(&mut self, broken: Broken) -> bool {
        self.link = None;
        if self.place == Place::Over {
            return false;
        }
        let was_playing = self.place == Place::Playing;
        let code = self.closing.map(CloseCode::code).or(match broken {
            Broken::Closed(code) => Some(code),
            Broken::Cut | Broken::Malformed(_) => None,
        });
        let reason = match (code, broken) {
            (Some(code), _) => match CloseCode::of(code) {
                Some(known) => format!("{code} {known:?}"),
                None => code.to_string(),
            },
            (None, Broken::Malformed(what)) => format!("malformed: {what}"),
            (None, _) => "cut".to_owned(),
        };
        {
            let mut tally = self.shared.tally.borrow_mut();
            let counted = if was_playing { &mut tally.disconnects } else { &mut tally.refused };
            *counted.entry(reason).or_default() += 1;
        }
        let may_resume = code.is_none_or(|code| CloseCode::of(code).is_none_or(CloseCode::may_resume));
        self.come_back_if(may_resume)
    }

    fn come_back_if(&mut self, may_resume: bool) -> bool {
        let back = self.shared.options.reconnect && may_resume && !self.token.is_empty();
        self.place = if back { Place::Outside } else { Place::Over };
        if !back {
            self.shared.settle(self.index);
        }
        back
    }

    fn not_opened(&mut self, reason: &str) {
        *self.shared.tally.borrow_mut().refused.entry(reason.to_owned()).or_default() += 1;
        self.place = Place::Over;
        self.shared.settle(self.index);
    }

    /// All have had their time to join. Who is still outside stays there.
    pub(crate) fn give_up_joining(&mut self) {
        if self.place == Place::Outside && self.token.is_empty() {
            self.link = None;
            self.not_opened("no answer in time");
        }
    }
}

/// A player's whole life, from the moment given.
pub(crate) async fn live(player: Rc<RefCell<Player>>, join_at: Instant) {
    sleep_until(join_at).await;
    let shared = Rc::clone(&player.borrow().shared);
    let index = player.borrow().index;
    let mut broke_at: Option<Instant> = None;
    let mut pause = RETURN_PAUSE_MIN;
    loop {
        let opened = timeout(CONNECT_MAX, Link::open(&shared.options.target, shared.address)).await;
        let opened = opened.unwrap_or_else(|_| Err(OpenError::Connect(std::io::ErrorKind::TimedOut.into())));
        if player.borrow().place == Place::Over {
            return;
        }
        match opened {
            Ok(link) => {
                player.borrow_mut().enter(link);
                let broken = std::future::poll_fn(|context| player.borrow_mut().poll(context)).await;
                let was_playing = player.borrow().is_playing();
                if !player.borrow_mut().ended(broken) {
                    return;
                }
                if was_playing {
                    (broke_at, pause) = (None, RETURN_PAUSE_MIN);
                }
            }
            Err(error) if broke_at.is_none_or(|at| at.elapsed() > RETURN_MAX) => {
                return player.borrow_mut().not_opened(&error.to_string());
            }
            // The engine may be on its way back too.
            Err(_) => {}
        }
        broke_at.get_or_insert_with(Instant::now);
        // Not all at once.
        sleep(pause + Duration::from_millis(u64::from(index) % 100)).await;
        pause = (pause * 2).min(RETURN_PAUSE_MAX);
    }
}

impl Shared {
    fn confirm(&self, sent_at: u64, now: u64) {
        let time = now.saturating_sub(sent_at);
        let mut tally = self.tally.borrow_mut();
        tally.confirmed += 1;
        if self.run.window.overlaps(sent_at, now) {
            tally.inside.add(time);
        } else {
            tally.outside.add(time);
        }
        self.recent.borrow_mut().add(time);
    }

    fn phase(&self) -> Phase {
        Phase::of(self.run.phase.load(Ordering::Relaxed))
    }
}
