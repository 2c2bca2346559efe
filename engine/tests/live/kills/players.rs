//! Who sends to an engine that is killed, and keeps account of what was sent and of what was answered.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;

use wire::{ClientFrame, EngineFrame};

use crate::client::{Reply, try_get};
use crate::players::client::{Client, Transport};

pub(super) const PLAYERS: usize = 3;
/// Messages under way at a time.
const AHEAD: u32 = 4;
pub(super) const MESSAGE_BYTES_MAX: usize = 400;

/// A player, over all lives of the engine.
pub(super) struct Player {
    name: u64,
    /// As the engine calls them.
    pub(super) id: u64,
    token: Option<String>,
    client: Option<Client>,
    /// The highest number of a message that was sent.
    pub(super) sent: u32,
    /// The place among all that the world was sent, by number of message, as its answer said.
    pub(super) answered: BTreeMap<u32, u64>,
}

impl Player {
    pub(super) fn new(name: u64) -> Player {
        Player { name, id: 0, token: None, client: None, sent: 0, answered: BTreeMap::new() }
    }

    /// Nobody sends the same twice under two numbers, so that each number is known by its bytes.
    pub(super) fn message(&self, number: u32) -> Vec<u8> {
        let padding = (number as usize * 37) % (MESSAGE_BYTES_MAX - 40);
        format!("number {} {}", self.name << 32 | u64::from(number), "x".repeat(padding)).into_bytes()
    }

    /// Joins, or comes back to where they were.
    pub(super) fn come(&mut self, address: SocketAddr) {
        let transport = if self.name.is_multiple_of(2) { Transport::WebSocket } else { Transport::Tcp };
        let mut client = Client::open(address, transport);
        match &self.token {
            None => {
                client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"" });
                let joined = client.joined();
                (self.id, self.token) = (joined.player, Some(joined.token));
            }
            Some(token) => assert_eq!(client.resume(token).player, self.id),
        }
        let consumed = client.header.consumed;
        let acknowledged = self.answered.last_key_value().map_or(0, |(number, _)| *number);
        assert!(
            (acknowledged..=self.sent).contains(&consumed),
            "player {}: {consumed} consumed, {acknowledged} were acknowledged and {} sent",
            self.name,
            self.sent
        );
        self.client = Some(client);
    }

    /// What the engine said at their last coming.
    pub(super) fn consumed(&self) -> u32 {
        self.client.as_ref().map_or(0, |client| client.header.consumed)
    }

    /// Sends on from what is consumed, a few messages ahead, until so many were sent or the engine is gone.
    pub(super) fn play(&mut self, count: u32, heard: impl Fn()) {
        let mut client = self.client.take().unwrap();
        let (first, mut next) = (client.header.consumed + 1, client.header.consumed + 1);
        loop {
            while next < first + count && next < self.answered_upto().max(first - 1) + AHEAD + 1 {
                let (bytes, number) = (self.message(next), next);
                // Sent, whether it arrives or not.
                self.sent = self.sent.max(number);
                let mut frame = Vec::new();
                ClientFrame::Message { number, bytes: &bytes }.encode(&mut frame);
                if client.stream.write_all(&client.framed(&frame)).is_err() {
                    return;
                }
                next += 1;
            }
            let Some(frame) = client.next_raw() else { return };
            if let (_, EngineFrame::Message(text)) = EngineFrame::decode(&frame).unwrap()
                && let Some((number, place)) = self.parse(text)
            {
                assert_eq!(self.answered.insert(number, place), None, "{number} was answered twice");
                heard();
            }
        }
    }

    fn answered_upto(&self) -> u32 {
        self.answered.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// `number <number> <place>`; whatever else the room says is not an answer.
    fn parse(&self, text: &[u8]) -> Option<(u32, u64)> {
        let mut words = str::from_utf8(text).ok()?.strip_prefix("number ")?.split(' ');
        let number: u64 = words.next()?.parse().ok()?;
        assert_eq!(number >> 32, self.name, "an answer for another player");
        Some((u32::try_from(number & 0xFFFF_FFFF).unwrap(), words.next()?.parse().ok()?))
    }
}

/// Asks over HTTP, each request with a number of its own.
#[derive(Debug, Default)]
pub(super) struct Asker {
    pub(super) sent: u32,
    pub(super) answered: BTreeMap<u32, u64>,
}

impl Asker {
    pub(super) fn query(number: u32) -> String {
        format!("n={number}")
    }

    pub(super) fn ask(&mut self, address: SocketAddr, count: u32, heard: impl Fn()) {
        for _ in 0..count {
            self.sent += 1;
            let target = format!("/count?{}", Self::query(self.sent));
            let Ok(Reply { body: answer, .. }) = try_get(address, &target) else { return };
            let place = answer.split(' ').next().and_then(|place| place.parse().ok());
            // Half an answer is none.
            let Some(place) = place.filter(|_| answer.ends_with('\n')) else { return };
            self.answered.insert(self.sent, place);
            heard();
        }
    }
}
