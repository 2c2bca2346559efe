//! A player's body: how it is steered, and how it moves.

use crate::rules::{DAZE, GRIP, GROWTH, HEAVINESS, HEIGHT, RADIUS, RADIUS_MAX, SPEED, WALL, WIDTH};
use logic_api::prelude::*;
use std::time::Duration;

/// The body of a player or of a bot.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Avatar {
    #[row(key)]
    pub player: PlayerId,
    pub x: f32,
    pub y: f32,
    /// Units a second.
    pub vx: f32,
    pub vy: f32,
    /// Where it is steered: at most 1 long.
    pub steer_x: f32,
    pub steer_y: f32,
    pub score: u32,
    /// What the clients call it: two bytes instead of eight in every tick. 0 is nobody's.
    #[row(unique)]
    pub number: u16,
    /// The connection is gone; it coasts, and nobody can touch it.
    pub away: bool,
    pub nick: Str<16>,
    /// Until then it cannot steer: microseconds since the Unix epoch.
    pub dazed_until_us: u64,
}

impl Avatar {
    pub(crate) fn new(player: PlayerId, number: u16, nick: Str<16>, rng: &mut Rng) -> Self {
        let x = RADIUS_MAX + rng.unit_f32() * (WIDTH - 2.0 * RADIUS_MAX);
        let y = RADIUS_MAX + rng.unit_f32() * (HEIGHT - 2.0 * RADIUS_MAX);
        Self {
            player,
            x,
            y,
            vx: 0.0,
            vy: 0.0,
            steer_x: 0.0,
            steer_y: 0.0,
            score: 0,
            number,
            away: false,
            nick,
            dazed_until_us: 0,
        }
    }

    /// Where to, in any length: more than 1 counts as 1.
    pub(crate) fn steer(&mut self, x: f32, y: f32) {
        let length = (x * x + y * y).sqrt().max(1.0);
        (self.steer_x, self.steer_y) = (x / length, y / length);
    }

    pub(crate) fn daze(&mut self, now: Duration) {
        self.dazed_until_us = micros(now + DAZE);
    }

    pub(crate) fn is_dazed(&self, now: Duration) -> bool {
        micros(now) < self.dazed_until_us
    }

    pub(crate) fn radius(&self) -> f32 {
        radius_of(self.score)
    }

    /// Lets `seconds` pass.
    pub(crate) fn advance(&mut self, seconds: f32, now: Duration) {
        if !self.away && !self.is_dazed(now) {
            let size = (self.radius() - RADIUS) / (RADIUS_MAX - RADIUS);
            let speed = SPEED * (1.0 - HEAVINESS * size);
            let share = (GRIP * seconds).min(1.0);
            self.vx += (self.steer_x * speed - self.vx) * share;
            self.vy += (self.steer_y * speed - self.vy) * share;
        } else {
            let share = (0.5 * GRIP * seconds).min(1.0);
            self.vx -= self.vx * share;
            self.vy -= self.vy * share;
        }
        self.x += self.vx * seconds;
        self.y += self.vy * seconds;
        let radius = self.radius();
        keep_within(&mut self.x, &mut self.vx, radius, WIDTH);
        keep_within(&mut self.y, &mut self.vy, radius, HEIGHT);
    }
}

/// Between a wall at 0 and one at `end`; whoever comes to one bounces.
fn keep_within(at: &mut f32, speed: &mut f32, radius: f32, end: f32) {
    let inside = at.clamp(radius, end - radius);
    if *at != inside {
        *at = inside;
        *speed *= -WALL;
    }
}

fn radius_of(score: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "nobody sees a millionth")]
    let points = score as f32;
    (RADIUS + GROWTH * points.sqrt()).min(RADIUS_MAX)
}

/// Microseconds as rows hold them.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A nick fit to be shown: no control characters, no spaces around it, never empty.
pub(crate) fn nick_of(hello: &[u8], number: u16) -> Str<16> {
    let text: String = String::from_utf8_lossy(hello).chars().filter(|letter| !letter.is_control()).take(16).collect();
    match text.trim() {
        "" => Str::truncated(&format!("guest {number}")),
        nick => Str::truncated(nick),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nick_is_fit_to_be_shown() {
        assert_eq!(nick_of(b"  ann\n\0 ", 3), "ann");
        assert_eq!(nick_of(b" \t", 3), "guest 3");
        assert_eq!(nick_of("ääääääääääääääääää".as_bytes(), 3), "ääääääää");
        assert_eq!(nick_of(b"\xff", 3), "\u{fffd}");
    }

    #[test]
    fn steering_harder_than_full_is_full() {
        let mut avatar = Avatar::new(PlayerId(1), 1, Str::new(), &mut Rng::new(1));
        avatar.steer(3.0, 4.0);
        assert_eq!((avatar.steer_x, avatar.steer_y), (0.6, 0.8));
        avatar.steer(0.3, 0.4);
        assert_eq!((avatar.steer_x, avatar.steer_y), (0.3, 0.4));
    }

    #[test]
    fn a_wall_throws_back() {
        let (mut at, mut speed) = (3.0, -10.0);
        keep_within(&mut at, &mut speed, 5.0, 100.0);
        assert_eq!((at, speed), (5.0, 10.0 * WALL));
    }
}
