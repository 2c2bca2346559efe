//! How players move.

use logic_api::prelude::*;

/// The arena is a square of this side, which wraps around.
const SIDE: f32 = 1000.0;
/// Distance in a tick at full speed.
const SPEED: f32 = 8.0;

/// A player's place in the arena.
#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Avatar {
    #[row(key)]
    player: PlayerId,
    x: f32,
    y: f32,
    /// Distance in a tick.
    dx: f32,
    dy: f32,
    nick: Str<16>,
}

impl Avatar {
    pub(crate) fn new(player: PlayerId, nick: &str, rng: &mut Rng) -> Self {
        let (x, y) = (rng.unit_f32() * SIDE, rng.unit_f32() * SIDE);
        Self { player, x, y, dx: 0.0, dy: 0.0, nick: Str::truncated(nick) }
    }

    /// Takes a message of two bytes: where to, from -127 to 127 each way. Anything else is ignored.
    pub(crate) fn steer(&mut self, message: &[u8]) {
        if let [dx, dy] = message {
            self.dx = f32::from(dx.cast_signed()) / 127.0 * SPEED;
            self.dy = f32::from(dy.cast_signed()) / 127.0 * SPEED;
        }
    }

    pub(crate) fn advance(&mut self) {
        self.x = (self.x + self.dx).rem_euclid(SIDE);
        self.y = (self.y + self.dy).rem_euclid(SIDE);
    }
}
