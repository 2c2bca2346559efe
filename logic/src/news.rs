//! What the arena tells its clients: messages of one or more parts. Numbers are little-endian.
//!
//! | kind | part | after the kind byte |
//! |---|---|---|
//! | 1 | rules | `u8` format (this one: 1), `u16` width and `u16` height of the map, three colours of 3 bytes: ground, grid, walls |
//! | 2 | you | `u16` number of one's own avatar; whatever was known of avatars and orbs is forgotten |
//! | 3 | face | `u16` number of an avatar, `u8` 1 for a bot, `u8` length and nick |
//! | 4 | gone | `u16` number of an avatar |
//! | 5 | orb | `u16` number, `u16` x, `u16` y, `u8` points, `u16` number of the avatar that lost it (0: nobody) |
//! | 6 | taken | `u16` number of the orb, `u16` number of the avatar |
//! | 7 | bump | `u16` and `u16` numbers of two avatars, `u8` strength |
//! | 8 | round | `u8` phase (1 play, 2 break), `u32` round, `u32` milliseconds left, `u8` places on the podium, for each: `u16` number, `u32` score, `u8` length and nick |
//! | 9 | swept | nothing: all orbs are gone |
//! | 10 | state | `u32` time in milliseconds (wraps around), `u16` avatars, for each: `u16` number, `u16` x, `u16` y, `u16` score, `u8` radius in half units, `u8` flags (1 away, 2 dazed) |
//!
//! Places are in 65535ths of the map's width and height. A state is sent every tick: 10 bytes an avatar, and no more than
//! [`STATE_AVATARS_MAX`] of them; where there are more, they take turns.
//!
//! What clients send: two bytes, x and y from -127 to 127, are where to steer; one byte 0 asks for everything anew,
//! which is answered once a second (five times at once) and otherwise passed over.

use crate::avatar::{Avatar, micros};
use crate::bot::is_bot;
use crate::orb::Orb;
use crate::round::Game;
use crate::rules::{GRID, GROUND, HEIGHT, WALLS, WIDTH};
use logic_api::prelude::*;
use std::time::Duration;

/// Raised when a page of an older version could not read it any more; it then asks to be loaded anew.
const FORMAT: u8 = 1;
/// Avatars in one state.
pub(crate) const STATE_AVATARS_MAX: usize = 128;
/// Bumps in one message: nobody sees more of them at once.
const BUMPS_MAX: usize = 32;

/// A message in the making.
#[derive(Debug, Default)]
pub(crate) struct News {
    bytes: Vec<u8>,
    bumps: usize,
}

impl News {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn rules(&mut self) {
        self.bytes.extend([1, FORMAT]);
        self.number(whole(WIDTH));
        self.number(whole(HEIGHT));
        self.bytes.extend([GROUND, GRID, WALLS].concat());
    }

    pub(crate) fn you(&mut self, number: u16) {
        self.bytes.push(2);
        self.number(number);
    }

    pub(crate) fn face(&mut self, avatar: &Avatar) {
        self.bytes.push(3);
        self.number(avatar.number);
        self.bytes.push(u8::from(is_bot(avatar.player)));
        self.text(&avatar.nick);
    }

    pub(crate) fn gone(&mut self, number: u16) {
        self.bytes.push(4);
        self.number(number);
    }

    /// `from` is the number of the avatar that has lost it, 0 for nobody.
    pub(crate) fn orb(&mut self, orb: &Orb, from: u16) {
        self.bytes.push(5);
        self.number(orb.number);
        self.place(orb.x, orb.y);
        self.bytes.push(orb.value);
        self.number(from);
    }

    pub(crate) fn taken(&mut self, orb: u16, by: u16) {
        self.bytes.push(6);
        self.number(orb);
        self.number(by);
    }

    /// `strength` from 0.0 to 1.0. In a crowd some go untold.
    pub(crate) fn bump(&mut self, one: u16, other: u16, strength: f32) {
        self.bumps += 1;
        if self.bumps > BUMPS_MAX {
            return;
        }
        self.bytes.push(7);
        self.number(one);
        self.number(other);
        self.bytes.push(byte(strength * 255.0));
    }

    pub(crate) fn round(&mut self, game: &Game, now: Duration) {
        self.bytes.extend([8, game.phase as u8]);
        self.bytes.extend(game.round.to_le_bytes());
        let left_ms = u32::try_from(game.left(now).as_millis()).unwrap_or(u32::MAX);
        self.bytes.extend(left_ms.to_le_bytes());
        self.bytes.push(u8::try_from(game.podium.len()).unwrap_or(u8::MAX));
        for place in &*game.podium {
            self.number(place.number);
            self.bytes.extend(place.score.to_le_bytes());
            self.text(&place.nick);
        }
    }

    pub(crate) fn swept(&mut self) {
        self.bytes.push(9);
    }

    pub(crate) fn state(&mut self, avatars: &Table<Avatar>, tick: Tick, now: Duration) {
        let turns = avatars.len().div_ceil(STATE_AVATARS_MAX).max(1);
        let turn = usize::try_from(tick.0 % turns as u64).unwrap_or_default();
        let chosen = avatars.iter().skip(turn).step_by(turns);
        let count = avatars.len().saturating_sub(turn).div_ceil(turns);
        self.bytes.reserve(7 + 10 * count);
        self.bytes.push(10);
        #[expect(clippy::cast_possible_truncation, reason = "it wraps around")]
        let now_ms = (micros(now) / 1000) as u32;
        self.bytes.extend(now_ms.to_le_bytes());
        self.number(u16::try_from(count).unwrap_or(u16::MAX));
        for avatar in chosen {
            self.number(avatar.number);
            self.place(avatar.x, avatar.y);
            self.number(u16::try_from(avatar.score).unwrap_or(u16::MAX));
            let flags = u8::from(avatar.away) | u8::from(avatar.is_dazed(now)) << 1;
            self.bytes.extend([byte(avatar.radius() * 2.0), flags]);
        }
    }

    fn number(&mut self, number: u16) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn place(&mut self, x: f32, y: f32) {
        self.number(whole(x / WIDTH * 65535.0));
        self.number(whole(y / HEIGHT * 65535.0));
    }

    /// Texts are columns of at most 255 bytes.
    fn text(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        self.bytes.push(length);
        self.bytes.extend(&text.as_bytes()[..usize::from(length)]);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
fn whole(number: f32) -> u16 {
    number as u16
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
fn byte(number: f32) -> u8 {
    number as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_table_above() {
        let mut news = News::new();
        news.rules();
        news.you(0x0102);
        news.gone(3);
        news.orb(&Orb { number: 4, value: 5, x: WIDTH, y: 0.0 }, 6);
        news.taken(4, 7);
        news.bump(8, 9, 0.5);
        news.swept();
        let mut expected = vec![1, FORMAT, 0x40, 0x06, 0xe8, 0x03];
        expected.extend([GROUND, GRID, WALLS].concat());
        expected.extend([2, 2, 1, 4, 3, 0, 5, 4, 0, 0xff, 0xff, 0, 0, 5, 6, 0, 6, 4, 0, 7, 0, 7, 8, 0, 9, 0, 127, 9]);
        assert_eq!(news.bytes(), expected);
    }

    #[test]
    fn a_face_and_a_round_have_texts() {
        let mut news = News::new();
        news.face(&Avatar::new(PlayerId(1), 2, Str::truncated("ann"), &mut Rng::new(1)));
        assert_eq!(news.bytes(), b"\x03\x02\0\0\x03ann");
        let mut game = Game { round: 3, ends_at_us: 5_000_000, ..Game::default() };
        game.begin(crate::round::Phase::Break, Duration::from_secs(4), Duration::from_secs(1));
        game.podium.push(crate::round::Place { number: 2, score: 9, nick: Str::truncated("ann") }).unwrap();
        let mut news = News::new();
        news.round(&game, Duration::from_secs(4));
        assert_eq!(news.bytes(), b"\x08\x02\x03\0\0\0\xe8\x03\0\0\x01\x02\0\x09\0\0\0\x03ann");
    }
}
