//! The players of a room as the engine knows them: which connection each has, who is awaited back, and what cannot be
//! applied yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logic_api::PlayerId;
use parking_lot::Mutex;
use room::{LogicFault, StepError};
use wire::{EngineFrame, Header, Severity, kind};

use crate::journal::keeper::Keeper;
use crate::metrics::SessionMetrics;
use crate::rooms::error::ToldFault;
use crate::rooms::news::{Heard, News};
use crate::rooms::outlet::{Outlet, Slot};
use crate::sessions::{Bad, Link, Out};

/// A leave that failed is not tried again sooner, however short the grace is: each time is a fault.
pub(super) const LEAVE_AGAIN_MIN: Duration = Duration::from_secs(1);
/// Connections that are gone and that messages which wait hold on to, at most.
const LOST_LINKS_MAX: usize = 64;

/// What all rooms share of how players are treated.
#[derive(Debug)]
pub(super) struct House {
    /// How long a player who has lost the connection is awaited back.
    pub(super) grace: Duration,
    /// Whether players and visitors see the text and the place of a logic's fault.
    pub(super) shows_faults: bool,
    /// What whoever develops the game is told, newcomers included; `None` while there is nothing.
    pub(super) notice: Mutex<Option<Notice>>,
    pub(super) metrics: Arc<SessionMetrics>,
    /// `None` where nothing is kept.
    pub(super) keeper: Option<Keeper>,
}

impl House {
    /// A fault as players and visitors see it. Its text may hold what they are not to know: whose data it failed on, and
    /// where the source lies.
    pub(super) fn told(&self, fault: &LogicFault) -> ToldFault {
        if self.shows_faults {
            return ToldFault(fault.to_string());
        }
        let LogicFault { version, callback, tick, .. } = fault;
        let reference = fault.reference();
        ToldFault(format!("version {version} failed in {callback} at tick {tick} (fault {reference})"))
    }

    /// As [`House::told`], and all else as it is.
    pub(super) fn told_error(&self, error: &StepError) -> String {
        match error {
            StepError::Fault(fault) => self.told(fault).to_string(),
            StepError::Frozen(fault) => format!("the room is frozen: {}; load a fix", self.told(fault)),
            error => error.to_string(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Notice {
    pub(super) severity: Severity,
    pub(super) text: Arc<str>,
    /// It is about what was to be loaded: over when a version is.
    pub(super) until_loaded: bool,
}

/// What came from a player's connection, or is about it, on its way to becoming an input.
#[derive(Debug)]
pub(super) enum Wish {
    Message {
        player: PlayerId,
        link: Arc<Link>,
        number: u32,
        bytes: Arc<[u8]>,
    },
    Drop(PlayerId),
    Reconnect(PlayerId),
    /// What is left of all the goings and comings of a player that had to wait: the logic is told of one.
    Return(PlayerId),
    Leave {
        player: PlayerId,
        reason: Arc<str>,
    },
}

impl Wish {
    fn message_bytes(&self) -> usize {
        match self {
            Wish::Message { bytes, .. } => Link::cost(bytes.len()),
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Players {
    sessions: HashMap<PlayerId, Session>,
    /// When each grace ends, the earliest first; most are of the same length. One that is over by itself stays in here until its
    /// time, and is passed over then.
    awaited: VecDeque<(Instant, PlayerId)>,
    /// In order. Not empty only while the room can apply nothing.
    pub(super) waiting: VecDeque<Wish>,
    /// What the messages in there count for.
    waiting_bytes: usize,
    /// The part of it that came by connections which are gone, and that nobody will look at.
    lost_bytes: usize,
    /// Those connections: each is an open file for as long as a message of it waits.
    lost_links: usize,
    /// Of the version that runs.
    pub(super) news: News,
    pub(super) house: Arc<House>,
}

/// A player who is in the room.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// `None` while they are awaited back.
    pub(super) link: Option<Arc<Link>>,
    slot: Slot,
    /// When their grace is over, if they have one.
    away_until: Option<Instant>,
    /// A [`Wish::Return`] waits.
    returns: bool,
    /// They have left, and the room is still to hear of it: by a [`Wish::Leave`] that waits, or when their grace is over. The
    /// connection is closed; one that is still here has messages that wait before it.
    leaves: bool,
    /// A [`Wish::Leave`] waits.
    leave_waits: bool,
    /// Why they left, where the logic failed on it.
    left_because: Option<Arc<str>>,
    /// As in the world: what the header of every frame says.
    pub(super) consumed: u32,
    heard: Heard,
}

impl Session {
    fn push(&mut self, outlet: &mut Outlet, news: &News, tick: u64, (kind, payload): (u8, Arc<[u8]>)) {
        self.push_news(outlet, news, tick);
        self.push_alone(outlet, tick, (kind, payload));
    }

    fn push_news(&mut self, outlet: &mut Outlet, news: &News, tick: u64) {
        if self.is_connected()
            && let Some(payload) = news.tell(&mut self.heard)
        {
            self.push_alone(outlet, tick, (kind::VERSION, payload));
        }
    }

    fn push_alone(&mut self, outlet: &mut Outlet, tick: u64, (kind, payload): (u8, Arc<[u8]>)) {
        if let Some(link) = self.link.as_ref().filter(|_| !self.leaves) {
            let header = Header { tick, consumed: self.consumed }.with_kind(kind);
            outlet.push(link, &mut self.slot, Out::Frame { header, payload });
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some() && !self.leaves
    }

    pub(super) fn leaves(&self) -> bool {
        self.leaves
    }
}

impl Players {
    pub(super) fn new(house: Arc<House>) -> Self {
        Self {
            sessions: HashMap::new(),
            awaited: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lost_bytes: 0,
            lost_links: 0,
            news: News::default(),
            house,
        }
    }

    pub(super) fn get(&self, player: PlayerId) -> Option<&Session> {
        self.sessions.get(&player)
    }

    pub(super) fn get_mut(&mut self, player: PlayerId) -> Option<&mut Session> {
        self.sessions.get_mut(&player)
    }

    pub(super) fn ids(&self) -> Vec<PlayerId> {
        self.sessions.keys().copied().collect()
    }

    /// How many have a connection.
    pub(super) fn connected(&self) -> usize {
        self.sessions.values().filter(|session| session.is_connected()).count()
    }

    /// Whether this is the connection that the player has now: what comes from an older one is passed over.
    pub(super) fn is_link_of(&self, player: PlayerId, link: &Arc<Link>) -> bool {
        let session = self.sessions.get(&player);
        session.and_then(|session| session.link.as_ref()).is_some_and(|own| Arc::ptr_eq(own, link))
    }

    /// As [`Players::is_link_of`], while it has something to say: what comes behind a leave is passed over, too.
    pub(super) fn hears(&self, player: PlayerId, link: &Arc<Link>) -> bool {
        let session = self.sessions.get(&player).filter(|session| !session.leaves);
        session.and_then(|session| session.link.as_ref()).is_some_and(|own| Arc::ptr_eq(own, link))
    }

    /// Gives a connection to a player who has none.
    pub(super) fn connect(&mut self, player: PlayerId, link: Arc<Link>, consumed: u32) {
        let session = self.sessions.entry(player).or_default();
        assert!(session.link.is_none(), "the one before has been disconnected");
        let (returns, heard) = (session.returns, self.news.heard());
        *session = Session { link: Some(link), returns, consumed, heard, ..Session::default() };
    }

    /// The player is awaited back. What they had of a connection is returned.
    pub(super) fn disconnect(&mut self, player: PlayerId, now: Instant) -> Option<(Arc<Link>, Slot)> {
        let session = self.sessions.entry(player).or_default();
        let until = now + self.house.grace;
        session.away_until = Some(until);
        self.awaited.push_back((until, player));
        let had = session.link.take().map(|link| (link, session.slot));
        self.lose_messages_of(&had);
        had
    }

    /// The player is out as soon as the room takes inputs, and what they sent before is of no use any more. Gives what they
    /// had of a connection.
    pub(super) fn put_out(&mut self, player: PlayerId) -> Option<(Arc<Link>, Slot)> {
        let session = self.sessions.get_mut(&player)?;
        let is_open = !std::mem::replace(&mut session.leaves, true);
        session.away_until = None;
        let had = session.link.take().map(|link| (link, session.slot));
        self.lose_messages_of(&had);
        had.filter(|_| is_open)
    }

    /// As [`Players::put_out`], but what they sent before comes before their leave.
    pub(super) fn take_leave(&mut self, outlet: &mut Outlet, player: PlayerId, bad: Bad) {
        let Some(session) = self.sessions.get_mut(&player) else { return };
        session.away_until = None;
        if !std::mem::replace(&mut session.leaves, true)
            && let Some(link) = &session.link
        {
            outlet.close(link, &mut session.slot, bad);
            if link.in_room_bytes() == 0 {
                session.link = None;
            }
        }
    }

    /// They have left and know it; the room is still to hear of it.
    pub(super) fn leaves(&mut self, player: PlayerId) {
        let session = self.sessions.entry(player).or_default();
        (session.leaves, session.away_until) = (true, None);
    }

    /// As [`Players::leaves`]: the room hears of it once more when the grace is over.
    pub(super) fn leaves_again(&mut self, player: PlayerId, reason: Arc<str>, now: Instant) {
        let until = now + self.house.grace.max(LEAVE_AGAIN_MIN);
        let session = self.sessions.entry(player).or_default();
        (session.leaves, session.away_until, session.left_because) = (true, Some(until), Some(reason));
        let place = self.awaited.partition_point(|(other, _)| *other <= until);
        self.awaited.insert(place, (until, player));
    }

    pub(super) fn remove(&mut self, player: PlayerId) -> Option<(Arc<Link>, Slot)> {
        let session = self.sessions.remove(&player)?;
        let had = session.link.map(|link| (link, session.slot));
        self.lose_messages_of(&had);
        had
    }

    /// Has a wish wait for the room to take inputs again.
    pub(super) fn wait(&mut self, wish: Wish) {
        let wish = match wish {
            Wish::Drop(player) | Wish::Reconnect(player) => {
                let session = self.sessions.entry(player).or_default();
                if std::mem::replace(&mut session.returns, true) {
                    return;
                }
                Wish::Return(player)
            }
            Wish::Leave { player, .. } if self.sessions.get(&player).is_some_and(|session| session.leave_waits) => {
                return;
            }
            wish => wish,
        };
        if let Wish::Leave { player, .. } = &wish
            && let Some(session) = self.sessions.get_mut(player)
        {
            session.leave_waits = true;
        }
        self.waiting_bytes += wish.message_bytes();
        self.waiting.push_back(wish);
    }

    /// Has the return of a player wait before all else.
    pub(super) fn wait_first(&mut self, player: PlayerId) {
        if let Some(session) = self.sessions.get_mut(&player) {
            session.returns = true;
            self.waiting.push_front(Wish::Return(player));
        }
    }

    /// The first that waits.
    pub(super) fn take_waiting(&mut self) -> Option<Wish> {
        let wish = self.waiting.pop_front()?;
        self.waiting_bytes -= wish.message_bytes();
        if self.waiting.is_empty() {
            (self.lost_bytes, self.lost_links) = (0, 0);
        }
        if let Wish::Return(player) = &wish
            && let Some(session) = self.sessions.get_mut(player)
        {
            session.returns = false;
        }
        Some(wish)
    }

    /// What came by a connection that is gone is sent again by the next one, so it need not wait: a client that comes and
    /// goes while the room is frozen would fill the memory. What is lost is looked for only once it is half of all, or
    /// came by many connections, for thousands may go at once.
    fn lose_messages_of(&mut self, had: &Option<(Arc<Link>, Slot)>) {
        let bytes = had.as_ref().map_or(0, |(link, _)| link.in_room_bytes());
        if self.waiting_bytes == 0 || bytes == 0 {
            return;
        }
        self.lost_bytes += bytes;
        self.lost_links += 1;
        if self.lost_bytes < self.waiting_bytes / 2 && self.lost_links < LOST_LINKS_MAX {
            return;
        }
        let sessions = &self.sessions;
        self.waiting.retain(|wish| match wish {
            Wish::Message { player, link, .. } => {
                let own = sessions.get(player).and_then(|session| session.link.as_ref());
                own.is_some_and(|own| Arc::ptr_eq(own, link))
            }
            _ => true,
        });
        self.waiting_bytes = self.waiting.iter().map(Wish::message_bytes).sum();
        (self.lost_bytes, self.lost_links) = (0, 0);
    }

    /// When the next grace ends, or somebody is to be told something, at the earliest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.awaited.front().map(|(until, _)| *until).into_iter().chain(self.news.due()).min()
    }

    /// Somebody whose grace is over, and why they left if they did.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(PlayerId, Option<Arc<str>>)> {
        while self.awaited.front().is_some_and(|(until, _)| *until <= now) {
            let (until, player) = self.awaited.pop_front()?;
            if let Some(session) = self.sessions.get(&player).filter(|session| session.away_until == Some(until)) {
                return Some((player, session.left_because.clone()));
            }
        }
        None
    }

    pub(super) fn send(&mut self, outlet: &mut Outlet, to: PlayerId, tick: u64, payload: Arc<[u8]>) {
        if let Some(session) = self.sessions.get_mut(&to) {
            session.push(outlet, &self.news, tick, (kind::MESSAGE, payload));
        }
    }

    /// The payload is everybody's; only the headers differ.
    pub(super) fn broadcast(&mut self, outlet: &mut Outlet, except: PlayerId, tick: u64, payload: &Arc<[u8]>) {
        for (player, session) in &mut self.sessions {
            if *player != except {
                session.push(outlet, &self.news, tick, (kind::MESSAGE, Arc::clone(payload)));
            }
        }
    }

    /// Says something to one player.
    pub(super) fn tell(&mut self, outlet: &mut Outlet, to: PlayerId, tick: u64, frame: &EngineFrame<'_>) {
        if let Some(session) = self.sessions.get_mut(&to) {
            session.push(outlet, &self.news, tick, (frame.kind(), payload_of(frame)));
        }
    }

    /// Says something to everybody.
    pub(super) fn tell_all(&mut self, outlet: &mut Outlet, tick: u64, frame: &EngineFrame<'_>) {
        let payload = payload_of(frame);
        for session in self.sessions.values_mut() {
            session.push(outlet, &self.news, tick, (frame.kind(), Arc::clone(&payload)));
        }
    }

    /// Has everybody told of the version that runs from here on, before anything else and in time.
    pub(super) fn tell_version(&mut self, outlet: &mut Outlet, tick: u64, version: &EngineFrame<'_>) {
        // Whoever has not heard of the one before is not to hear of it after this one.
        for session in self.sessions.values_mut() {
            session.push_news(outlet, &self.news, tick);
        }
        self.news.set(payload_of(version));
    }

    /// Tells those of the version who had nothing else to hear.
    pub(super) fn tell_untold(&mut self, outlet: &mut Outlet, tick: u64, now: Instant) {
        let sessions = &mut self.sessions;
        let told = self.news.take_due(now, |heard| {
            sessions.iter().filter(|(_, session)| session.heard != heard).map(|(player, _)| *player).collect()
        });
        for player in told {
            if let Some(session) = sessions.get_mut(&player) {
                session.push_news(outlet, &self.news, tick);
            }
        }
    }

    /// Ends everybody's connection, and forgets them.
    pub(super) fn close_all(&mut self, outlet: &mut Outlet, bad: &Bad) {
        for (_, Session { link, mut slot, .. }) in self.sessions.drain() {
            link.iter().for_each(|link| outlet.close(link, &mut slot, bad.clone()));
        }
        self.waiting.clear();
        (self.waiting_bytes, self.lost_bytes, self.lost_links) = (0, 0, 0);
    }
}

fn payload_of(frame: &EngineFrame<'_>) -> Arc<[u8]> {
    let Out::Frame { payload, .. } = Out::new(Header::default(), frame) else {
        unreachable!("it is a frame of the protocol");
    };
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use tokio::net::{TcpListener, TcpStream};

    async fn link() -> Arc<Link> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Link::to(stream, Metrics::new().sessions())
    }

    #[tokio::test]
    async fn connections_that_are_gone_are_let_go() {
        let mut players = players();
        let (player, other) = (PlayerId(1), PlayerId(2));
        let wait = |players: &mut Players, player, link: &Arc<Link>, bytes: &[u8]| {
            link.gave(Link::cost(bytes.len()));
            players.wait(Wish::Message { player, link: Arc::clone(link), number: 1, bytes: bytes.into() });
        };
        let steady = link().await;
        players.connect(other, Arc::clone(&steady), 0);
        // So much that what the other one says is never half of it.
        wait(&mut players, other, &steady, &[0; 1 << 20]);
        let mut seen = Vec::new();
        for _ in 0..2 * LOST_LINKS_MAX {
            let link = link().await;
            players.connect(player, Arc::clone(&link), 0);
            wait(&mut players, player, &link, b"x");
            seen.push(Arc::downgrade(&link));
            drop((link, players.disconnect(player, Instant::now())));
            let open = seen.iter().filter(|link| link.strong_count() > 0).count();
            assert!(open < LOST_LINKS_MAX, "{open} connections are kept");
        }
        // Whoever leaves is kept only for what they have said.
        let silent = link().await;
        players.connect(player, Arc::clone(&silent), 0);
        players.take_leave(&mut Outlet::default(), player, Bad::frame("left", "left"));
        assert_eq!(Arc::strong_count(&silent), 1);
        assert!(!players.hears(player, &silent) && players.hears(other, &steady));
    }

    #[tokio::test]
    async fn a_broadcast_is_one_payload_for_all() {
        let (mut players, mut outlet) = (players(), Outlet::default());
        for player in 1..=100 {
            players.connect(PlayerId(player), link().await, 0);
        }
        let payload = Arc::<[u8]>::from(*b"to all");
        players.broadcast(&mut outlet, PlayerId(0), 1, &payload);
        // However many copies of the bytes there were, they would not be holders of these.
        assert_eq!(Arc::strong_count(&payload), 1 + 100);
        drop(outlet.take_batch());
        assert_eq!(Arc::strong_count(&payload), 1);
    }

    fn players() -> Players {
        let (grace, metrics) = (Duration::from_secs(60), Metrics::new().sessions());
        let house = House { grace, shows_faults: false, notice: Mutex::default(), metrics, keeper: None };
        Players::new(Arc::new(house))
    }

    #[tokio::test]
    async fn what_waits_does_not_grow_by_coming_and_going() {
        let mut players = players();
        let (player, other, bytes) = (PlayerId(1), PlayerId(2), Arc::<[u8]>::from([0; 1000]));
        let say = |players: &mut Players, player, link: &Arc<Link>, number| {
            link.gave(Link::cost(bytes.len()));
            players.wait(Wish::Message { player, link: Arc::clone(link), number, bytes: Arc::clone(&bytes) });
        };
        let steady = link().await;
        players.connect(other, Arc::clone(&steady), 0);
        (1..=10).for_each(|number| say(&mut players, other, &steady, number));
        for _ in 0..100 {
            let link = link().await;
            players.connect(player, Arc::clone(&link), 0);
            players.wait(Wish::Reconnect(player));
            (1..=10).for_each(|number| say(&mut players, player, &link, number));
            players.disconnect(player, Instant::now()).unwrap();
            players.wait(Wish::Drop(player));
        }
        assert!(players.waiting.len() <= 31, "{} wishes wait", players.waiting.len());
        // What the other one said is there, in order.
        let mut numbers = Vec::new();
        while let Some(wish) = players.take_waiting() {
            match wish {
                Wish::Message { player, number, .. } if player == other => numbers.push(number),
                _ => {}
            }
        }
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
        assert_eq!((players.waiting_bytes, players.lost_bytes, players.lost_links), (0, 0, 0));
    }
}
