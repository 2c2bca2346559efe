//! The players of a room as the engine knows them: which connection each has, who is awaited back, and what cannot be
//! applied yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logic_api::PlayerId;
use parking_lot::Mutex;
use wire::{EngineFrame, Header, Severity, kind};

use crate::journal::keeper::Keeper;
use crate::metrics::SessionMetrics;
use crate::rooms::outlet::{Outlet, Slot};
use crate::sessions::{Bad, Link, Out};

/// What all rooms share of how players are treated.
#[derive(Debug)]
pub(super) struct House {
    /// How long a player who has lost the connection is awaited back.
    pub(super) grace: Duration,
    /// What whoever develops the game is told, newcomers included; `None` while there is nothing.
    pub(super) notice: Mutex<Option<Notice>>,
    pub(super) metrics: Arc<SessionMetrics>,
    /// `None` where nothing is kept.
    pub(super) keeper: Option<Keeper>,
}

#[derive(Debug, Clone)]
pub(super) struct Notice {
    pub(super) severity: Severity,
    pub(super) text: Arc<str>,
}

/// What came from a player's connection, or is about it, on its way to becoming an input.
#[derive(Debug)]
pub(super) enum Wish {
    Message { player: PlayerId, link: Arc<Link>, number: u32, bytes: Arc<[u8]> },
    Drop(PlayerId),
    Reconnect(PlayerId),
    Leave { player: PlayerId, reason: Arc<str> },
}

#[derive(Debug)]
pub(super) struct Players {
    sessions: HashMap<PlayerId, Session>,
    /// When each grace ends, the earliest first, since all are of the same length. One that is over by itself stays in
    /// here until its time, and is passed over then.
    awaited: VecDeque<(Instant, PlayerId)>,
    /// In order. Not empty only while the room can apply nothing.
    pub(super) waiting: VecDeque<Wish>,
    pub(super) house: Arc<House>,
}

/// A player who is in the room.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// `None` while they are awaited back.
    pub(super) link: Option<Arc<Link>>,
    slot: Slot,
    away_until: Option<Instant>,
    /// As in the world: what the header of every frame says.
    pub(super) consumed: u32,
}

impl Session {
    fn push(&mut self, outlet: &mut Outlet, frame: Out) {
        if let Some(link) = &self.link {
            outlet.push(link, &mut self.slot, frame);
        }
    }
}

impl Players {
    pub(super) fn new(house: Arc<House>) -> Self {
        Self { sessions: HashMap::new(), awaited: VecDeque::new(), waiting: VecDeque::new(), house }
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
        self.sessions.len() - self.sessions.values().filter(|session| session.link.is_none()).count()
    }

    /// Whether this is the connection that the player has now: what comes from an older one is passed over.
    pub(super) fn is_link_of(&self, player: PlayerId, link: &Arc<Link>) -> bool {
        let session = self.sessions.get(&player);
        session.and_then(|session| session.link.as_ref()).is_some_and(|own| Arc::ptr_eq(own, link))
    }

    /// Gives a connection to a player who has none.
    pub(super) fn connect(&mut self, player: PlayerId, link: Arc<Link>, consumed: u32) {
        let session = Session { link: Some(link), slot: Slot::default(), away_until: None, consumed };
        let before = self.sessions.insert(player, session);
        assert!(before.is_none_or(|before| before.link.is_none()), "the one before has been disconnected");
    }

    /// The player is awaited back. What they had of a connection is returned.
    pub(super) fn disconnect(&mut self, player: PlayerId, now: Instant) -> Option<(Arc<Link>, Slot)> {
        let session = self.sessions.entry(player).or_default();
        let until = now + self.house.grace;
        session.away_until = Some(until);
        self.awaited.push_back((until, player));
        session.link.take().map(|link| (link, session.slot))
    }

    pub(super) fn remove(&mut self, player: PlayerId) -> Option<(Arc<Link>, Slot)> {
        let session = self.sessions.remove(&player)?;
        session.link.map(|link| (link, session.slot))
    }

    /// When the next grace ends, at the earliest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.awaited.front().map(|(until, _)| *until)
    }

    /// Somebody whose grace is over.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<PlayerId> {
        while self.awaited.front().is_some_and(|(until, _)| *until <= now) {
            let (until, player) = self.awaited.pop_front()?;
            if self.sessions.get(&player).is_some_and(|session| session.away_until == Some(until)) {
                return Some(player);
            }
        }
        None
    }

    pub(super) fn send(&mut self, outlet: &mut Outlet, to: PlayerId, tick: u64, payload: Arc<[u8]>) {
        if let Some(session) = self.sessions.get_mut(&to) {
            let header = Header { tick, consumed: session.consumed }.with_kind(kind::MESSAGE);
            session.push(outlet, Out::Frame { header, payload });
        }
    }

    /// The payload is everybody's; only the headers differ.
    pub(super) fn broadcast(&mut self, outlet: &mut Outlet, except: PlayerId, tick: u64, payload: &Arc<[u8]>) {
        for (player, session) in &mut self.sessions {
            if *player != except {
                let header = Header { tick, consumed: session.consumed }.with_kind(kind::MESSAGE);
                session.push(outlet, Out::Frame { header, payload: Arc::clone(payload) });
            }
        }
    }

    /// Says something to one player.
    pub(super) fn tell(&mut self, outlet: &mut Outlet, to: PlayerId, tick: u64, frame: &EngineFrame<'_>) {
        if let Some(session) = self.sessions.get_mut(&to) {
            let header = Header { tick, consumed: session.consumed };
            session.push(outlet, Out::new(header, frame));
        }
    }

    /// Says something to everybody.
    pub(super) fn tell_all(&mut self, outlet: &mut Outlet, tick: u64, frame: &EngineFrame<'_>) {
        let Out::Frame { payload, .. } = Out::new(Header::default(), frame) else {
            unreachable!("it is a frame of the protocol");
        };
        for session in self.sessions.values_mut() {
            let header = Header { tick, consumed: session.consumed }.with_kind(frame.kind());
            session.push(outlet, Out::Frame { header, payload: Arc::clone(&payload) });
        }
    }

    /// Ends everybody's connection, and forgets them.
    pub(super) fn close_all(&mut self, outlet: &mut Outlet, bad: &Bad) {
        for (_, Session { link, mut slot, .. }) in self.sessions.drain() {
            link.iter().for_each(|link| outlet.close(link, &mut slot, bad.clone()));
        }
        self.waiting.clear();
    }
}
