//! Who comes, sends and leaves at an engine that is killed, and keeps account of what was sent and of what was answered.

use std::collections::BTreeMap;

use logic_api::Rng;
use wire::{ClientFrame, CloseCode, EngineFrame, Header};

use crate::client::{Reply, try_get};
use crate::kills::Life;
use crate::players::client::{Client, Transport};

/// Messages of a player under way at a time.
const AHEAD: u32 = 4;
pub(super) const MESSAGE_BYTES_MAX: usize = 400;
/// By how much they differ. Not by more, so that a life that makes one snapshot is not far from one that could make two.
const PADDING_BYTES: usize = 160;

/// A place in a room, and who takes it one after the other, over all lives of the engine.
pub(super) struct Player {
    /// All places are numbered through.
    place: usize,
    pub(super) room: &'static str,
    /// One for each Join. All but the last are over.
    pub(super) visits: Vec<Visit>,
}

pub(super) struct Visit {
    /// Nobody else has it: what the Join says, and what each number sent begins with.
    pub(super) name: u32,
    /// As the engine calls them; 0 until it has said so.
    pub(super) id: u64,
    token: String,
    pub(super) standing: Standing,
    /// The highest number of a message that was sent, whether it arrived or not.
    pub(super) sent: u32,
    /// The same, of this connection.
    said: u32,
    /// The highest that the engine said to be consumed.
    pub(super) consumed: u32,
    pub(super) answered: BTreeMap<u32, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The Join was sent, and not answered by a Joined.
    Joining,
    In,
    /// The Leave was sent, and not answered.
    Leaving,
    /// So the engine has said.
    Out,
}

/// What a frame says of a visit.
enum Said {
    Joined,
    Closing(CloseCode),
    Else,
}

impl Player {
    pub(super) fn new(place: usize, room: &'static str) -> Player {
        Player { place, room, visits: Vec::new() }
    }

    /// Comes, plays, and perhaps leaves and comes as somebody else. `None` when the engine is gone, and so it ends in any case.
    pub(super) fn live(&mut self, places: usize, life: &Life<'_>, mut rng: Rng) -> Option<()> {
        // Whoever was told that they are out is that for good.
        let out = self.visits.iter_mut().rfind(|visit| visit.standing == Standing::Out);
        if let Some(visit) = out.filter(|_| rng.below(4) == 0) {
            while visit.enter(self.room, life, &mut rng)?.is_some() || visit.standing != Standing::Out {}
        }
        let mut client = self.come(places, life, &mut rng)?;
        if rng.below(3) == 0 {
            let visit = self.visits.last_mut()?;
            visit.play(&mut client, u32::try_from(rng.below(u64::from(life.each))).unwrap(), life, &mut rng)?;
            visit.leave(&mut client, life)?;
            client = self.come(places, life, &mut rng)?;
        }
        let visit = self.visits.last_mut()?;
        visit.play(&mut client, life.each, life, &mut rng)?;
        loop {
            visit.hear(&mut client, life)?;
        }
    }

    /// Joins, or comes back to where they were.
    fn come(&mut self, places: usize, life: &Life<'_>, rng: &mut Rng) -> Option<Client> {
        loop {
            if !self.visits.last().is_some_and(|visit| matches!(visit.standing, Standing::In | Standing::Leaving)) {
                let name = u32::try_from(self.place + places * self.visits.len()).unwrap();
                self.visits.push(Visit::new(name));
            }
            if let Some(client) = self.visits.last_mut()?.enter(self.room, life, rng)? {
                return Some(client);
            }
        }
    }
}

impl Visit {
    fn new(name: u32) -> Visit {
        let (id, token, standing) = (0, String::new(), Standing::Joining);
        Visit { name, id, token, standing, sent: 0, said: 0, consumed: 0, answered: BTreeMap::new() }
    }

    /// Nobody sends the same twice under two numbers, so that each number is known by its bytes.
    pub(super) fn message(&self, number: u32) -> Vec<u8> {
        let padding = MESSAGE_BYTES_MAX - PADDING_BYTES - 40 + (number as usize * 37) % PADDING_BYTES;
        format!("number {} {}", self.full(number), "x".repeat(padding)).into_bytes()
    }

    fn full(&self, number: u32) -> u64 {
        u64::from(self.name) << 32 | u64::from(number)
    }

    /// Joins or resumes; `Some(None)` if they are not let in.
    fn enter(&mut self, room: &str, life: &Life<'_>, rng: &mut Rng) -> Option<Option<Client>> {
        let transport = if rng.below(2) == 0 { Transport::WebSocket } else { Transport::Tcp };
        let mut client = Client::try_open(life.address, transport)?;
        let (was, name) = (self.standing, self.name.to_string());
        let asks = match was {
            Standing::Joining => ClientFrame::Join { room, credentials: "", hello: name.as_bytes() },
            _ => ClientFrame::Resume { token: &self.token },
        };
        client.try_send(&asks).ok()?;
        loop {
            match self.hear(&mut client, life)? {
                Said::Joined => {
                    assert_ne!(was, Standing::Out, "player {} is out, and was let in again", self.id);
                    (life.heard)();
                    return Some(Some(client));
                }
                Said::Else => continue,
                // The room takes nobody just then.
                Said::Closing(CloseCode::Failed) => {}
                Said::Closing(CloseCode::BadToken) if matches!(was, Standing::Leaving | Standing::Out) => {
                    self.standing = Standing::Out;
                }
                Said::Closing(code) => panic!("player {}, {was:?}: {code}", self.id),
            }
            return Some(None);
        }
    }

    /// Sends on from what is consumed, a few messages ahead, until so many were sent.
    fn play(&mut self, client: &mut Client, count: u32, life: &Life<'_>, rng: &mut Rng) -> Option<()> {
        let first = self.consumed + 1;
        for number in first..first + count {
            while number > self.consumed + AHEAD {
                self.hear(client, life)?;
            }
            if !life.pause_max.is_zero() {
                std::thread::sleep(life.pause_max.mul_f64(rng.below(1000) as f64 / 1000.0));
            }
            (self.sent, self.said) = (self.sent.max(number), number);
            client.try_send(&ClientFrame::Message { number, bytes: &self.message(number) }).ok()?;
        }
        Some(())
    }

    /// With the last messages still under way.
    fn leave(&mut self, client: &mut Client, life: &Life<'_>) -> Option<()> {
        self.standing = Standing::Leaving;
        client.try_send(&ClientFrame::Leave).ok()?;
        loop {
            if let Said::Closing(code) = self.hear(client, life)? {
                assert_eq!(code, CloseCode::Left);
                // Behind the messages that came before it.
                (self.standing, self.consumed) = (Standing::Out, self.said);
                (life.heard)();
                return Some(());
            }
        }
    }

    /// The next frame, of which account is taken.
    fn hear(&mut self, client: &mut Client, life: &Life<'_>) -> Option<Said> {
        let frame = client.next_raw()?;
        let (Header { consumed, .. }, frame) = EngineFrame::decode(&frame).unwrap();
        match frame {
            EngineFrame::Closing { code, .. } => return Some(Said::Closing(code)),
            EngineFrame::Error { number, text, .. } => panic!("player {}: {number} failed: {text}", self.id),
            EngineFrame::Message(text) => {
                let text = String::from_utf8_lossy(text);
                // Whatever else the room says is not an answer.
                if let Some((number, _)) = text.strip_prefix("number ").and_then(|rest| rest.split_once(' ')) {
                    let number: u64 = number.parse().unwrap();
                    let own = u32::try_from(number & 0xFFFF_FFFF).unwrap();
                    assert_eq!(number, self.full(own), "an answer for another player");
                    assert_eq!(self.answered.insert(own, text.into_owned()), None, "{number} was answered twice");
                    (life.heard)();
                }
            }
            EngineFrame::Joined(joined) => {
                assert!(self.id == 0 || self.id == joined.player, "player {} is {}", self.id, joined.player);
                (self.id, self.token, self.standing) = (joined.player, joined.token.to_owned(), Standing::In);
                let (acknowledged, sent) = (self.consumed, self.sent);
                assert!(
                    (acknowledged..=sent).contains(&consumed),
                    "player {}: {consumed} consumed, {acknowledged} were acknowledged and {sent} sent",
                    self.id
                );
                (self.consumed, self.said) = (consumed, consumed);
                return Some(Said::Joined);
            }
            _ => {}
        }
        self.consumed = self.consumed.max(consumed);
        Some(Said::Else)
    }
}

/// Asks a room over HTTP, each request with a number of its own.
pub(super) struct Asker {
    pub(super) room: &'static str,
    pub(super) sent: u32,
    pub(super) answered: BTreeMap<u32, String>,
}

impl Asker {
    pub(super) fn new(room: &'static str) -> Asker {
        Asker { room, sent: 0, answered: BTreeMap::new() }
    }

    /// `None` when the engine is gone.
    pub(super) fn live(&mut self, life: &Life<'_>) -> Option<()> {
        for _ in 0..life.each {
            self.sent += 1;
            let target = format!("/count?n={}&room={}", self.sent, self.room);
            let Reply { status, body, .. } = try_get(life.address, &target).ok()?;
            // Half an answer is none.
            if !body.ends_with('\n') {
                return None;
            }
            assert_eq!(status, 200, "{body}");
            self.answered.insert(self.sent, body);
            (life.heard)();
        }
        Some(())
    }
}
