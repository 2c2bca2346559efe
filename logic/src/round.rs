//! Rounds: when they begin and end, and who is on the podium.

use crate::avatar::{Avatar, micros};
use logic_api::prelude::*;
use std::time::Duration;

/// Places on the podium.
const PLACES: usize = 3;

/// What the arena is doing.
#[derive(Row, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nobody is here: nothing moves, and no time is spent.
    #[default]
    Idle,
    Play,
    /// The podium is shown.
    Break,
}

/// The one row about the game itself.
#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Game {
    pub phase: Phase,
    /// From 1.
    pub round: u32,
    /// When the phase ends: microseconds since the Unix epoch.
    pub ends_at_us: u64,
    /// What the next avatar and the next orb are called, if that is free.
    pub avatar_numbers: u16,
    pub orb_numbers: u16,
    /// The timers that are set, to be cancelled when everybody has left.
    pub round_timer: u64,
    pub orb_timer: u64,
    /// When the last tick was: microseconds since the Unix epoch.
    pub ticked_at_us: u64,
    pub podium: List<Place, PLACES>,
}

/// A place on the podium. The nick, because its bearer may have left.
#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Place {
    pub number: u16,
    pub score: u32,
    pub nick: Str<16>,
}

impl Game {
    pub(crate) fn begin(&mut self, phase: Phase, now: Duration, length: Duration) {
        self.phase = phase;
        self.ends_at_us = micros(now + length);
    }

    /// The time since the last tick in seconds, however fast the room ticks; a long silence counts as a short one.
    pub(crate) fn seconds_since_tick(&mut self, now: Duration) -> f32 {
        let since = micros(now).saturating_sub(self.ticked_at_us).min(100_000);
        self.ticked_at_us = micros(now);
        #[expect(clippy::cast_precision_loss, reason = "at most 100,000")]
        let since = since as f32;
        since / 1e6
    }

    pub(crate) fn left(&self, now: Duration) -> Duration {
        Duration::from_micros(self.ends_at_us.saturating_sub(micros(now)))
    }

    pub(crate) fn next_avatar(&mut self) -> u16 {
        self.avatar_numbers = self.avatar_numbers.checked_add(1).unwrap_or(1);
        self.avatar_numbers
    }

    pub(crate) fn next_orb(&mut self) -> u16 {
        self.orb_numbers = self.orb_numbers.checked_add(1).unwrap_or(1);
        self.orb_numbers
    }

    /// Puts the best on the podium; nobody without a point.
    pub(crate) fn award(&mut self, avatars: &Table<Avatar>) {
        self.podium.clear();
        for avatar in ranking(avatars).into_iter().filter(|avatar| avatar.score > 0).take(PLACES) {
            let place = Place { number: avatar.number, score: avatar.score, nick: avatar.nick };
            self.podium.push(place).expect("no more are taken than there are places");
        }
    }
}

/// All avatars, the best first; of two with the same score the one who came first.
pub(crate) fn ranking(avatars: &Table<Avatar>) -> Vec<&Avatar> {
    let mut all: Vec<&Avatar> = avatars.iter().collect();
    all.sort_by_key(|avatar| std::cmp::Reverse(avatar.score));
    all
}
