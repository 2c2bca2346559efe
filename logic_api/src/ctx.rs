//! [`Ctx`]: what a callback may do beside changing its tables.

use crate::abi::emit;
use crate::raw::CallRef;
use crate::{PlayerId, Rng, Tick, TimerId};
use std::{fmt::Display, time::Duration};

/// The input under way: its time and randomness, and the outputs it causes. Outputs leave the engine after the callback has
/// returned, and not at all if it panics.
#[derive(Debug)]
pub struct Ctx<'a> {
    call: CallRef<'a>,
    rng: Rng,
}

impl<'a> Ctx<'a> {
    #[inline]
    pub(crate) fn new(call: CallRef<'a>) -> Self {
        Self { call, rng: Rng::new(call.fields().seed) }
    }

    /// The room's name.
    pub fn room(&self) -> &'a str {
        self.call.room()
    }

    /// Ticks since the room was created.
    #[inline]
    pub fn tick(&self) -> Tick {
        Tick(self.call.fields().tick)
    }

    /// The time of the input, since the Unix epoch. The same on a replay; the only clock a logic may read.
    #[inline]
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.call.fields().now_us)
    }

    /// Random numbers, seeded by the input: the same on a replay.
    #[inline]
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The players in the room, ascending, with or without a connection.
    #[inline]
    pub fn players(&self) -> &'a [PlayerId] {
        self.call.players()
    }

    /// Whether a player has a connection. One who has none may be back; what is sent to them meanwhile is lost.
    #[inline]
    pub fn is_connected(&self, player: PlayerId) -> bool {
        self.call.is_connected(player)
    }

    /// Sends bytes to a player. A player who is not in the room, or has no connection, gets nothing.
    #[inline]
    pub fn send(&mut self, player: PlayerId, bytes: &[u8]) {
        self.call.emit(emit::SEND, player.0, bytes);
    }

    /// Sends bytes to the player whose input this is.
    #[inline]
    pub fn reply(&mut self, bytes: &[u8]) {
        self.call.emit(emit::SEND, self.call.fields().player, bytes);
    }

    /// Sends bytes to every player in the room who has a connection.
    #[inline]
    pub fn broadcast(&mut self, bytes: &[u8]) {
        self.call.emit(emit::BROADCAST, 0, bytes);
    }

    /// Sends bytes to every player in the room but one.
    pub fn broadcast_except(&mut self, player: PlayerId, bytes: &[u8]) {
        self.call.emit(emit::BROADCAST, player.0, bytes);
    }

    /// Puts a player out of the room. `leave` is called for them as an input of its own.
    pub fn kick(&mut self, player: PlayerId, reason: &str) {
        self.call.emit(emit::KICK, player.0, reason.as_bytes());
    }

    /// Has [`Logic::timer`](crate::Logic::timer) called with this tag, at the first tick that is at least this much later.
    /// Timers are state of the room: they outlive a swap and a restart.
    ///
    /// # Panics
    /// If the room has as many timers as it may.
    #[track_caller]
    pub fn after(&mut self, delay: Duration, tag: u64) -> TimerId {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let timer = self.call.timer_set(delay_us, tag);
        assert!(timer != 0, "the room has as many timers as it may");
        TimerId(timer)
    }

    /// Forgets a timer; false if it has fired or was cancelled already.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        self.call.timer_cancel(timer.0)
    }

    /// Writes a line to the engine's log. The macros of `tracing` do the same, with levels and fields.
    pub fn log(&self, message: impl Display) {
        tracing::info!(target: "logic", "{message}");
    }
}
