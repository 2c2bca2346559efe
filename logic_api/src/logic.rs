//! The [`Logic`] trait: the callbacks that a game fills in.

use crate::{Ctx, PlayerId, Request, Response, TimerId, Version, World, raw::LogicInfo};
use std::time::Duration;

/// The rules of a game: a table of functions over a world. Put `#[logic]` above the `impl`.
///
/// Contract: the engine calls one callback at a time for a room, on one thread, in the order of the room's inputs. A callback
/// sees nothing but the world, its arguments and the [`Ctx`]; it must not keep state elsewhere, read a clock, do I/O or start
/// threads, since the same inputs must give the same world. A callback that panics is a fault: its input is taken back.
///
/// Order: `create` first; for a player `join_attempt`, then `join` if accepted, then any number of `message`, `drop` and
/// `reconnect`, then `leave`; after a swap `upgraded` before anything else; `terminate` before an orderly end; `dispose` last.
#[expect(unused_variables, reason = "the defaults ignore their arguments, whose names are documentation")]
pub trait Logic: World + LogicInfo + 'static {
    /// The room is new. `config` is what its creator gave.
    fn create(&mut self, ctx: &mut Ctx, config: &[u8]) {}

    /// A player wants in. May refuse, with a reason that the player sees. Cannot change the world: who is refused was never there.
    fn join_attempt(&self, ctx: &Ctx, player: PlayerId, join: &Join) -> Admission {
        Admission::Accept
    }

    /// A player is in.
    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {}

    /// A player's connection is gone; they may be back. What they are sent until then is lost.
    fn drop(&mut self, ctx: &mut Ctx, player: PlayerId) {}

    /// A dropped player is back, perhaps as a client that knows nothing any more: send it what `join` sends.
    fn reconnect(&mut self, ctx: &mut Ctx, player: PlayerId) {}

    /// A player is out for good: they left, were kicked, or stayed away too long. If it panics, they are as one who was dropped, but
    /// cannot come back, and it is called once more after the grace.
    fn leave(&mut self, ctx: &mut Ctx, player: PlayerId, reason: &str) {}

    /// Bytes from a player, as their client sent them.
    fn message(&mut self, ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {}

    /// Time goes on, at the room's tick rate.
    fn tick(&mut self, ctx: &mut Ctx) {}

    /// A timer that [`Ctx::after`] has set is due. Called within the tick, before [`Logic::tick`].
    fn timer(&mut self, ctx: &mut Ctx, timer: TimerId, tag: u64) {}

    /// An HTTP request that only reads. `None` passes it on to `request`. Not an input: it may be asked at any time, also
    /// while the room is frozen, in any number, and not at all on a replay.
    fn query(&self, request: &Request) -> Option<Response> {
        None
    }

    /// An HTTP request that may change the world.
    fn request(&mut self, ctx: &mut Ctx, request: &Request) -> Response {
        Response::not_found()
    }

    /// A message from an operator or from another service.
    fn signal(&mut self, ctx: &mut Ctx, name: &str, bytes: &[u8]) {}

    /// This version has just taken over from another one, with all its data.
    fn upgraded(&mut self, ctx: &mut Ctx, from: Version) {}

    /// The room ends in an orderly way, in `grace`: at once if that is zero. `dispose` follows.
    fn terminate(&mut self, ctx: &mut Ctx, grace: Duration) {}

    /// The room ends here.
    fn dispose(&mut self, ctx: &mut Ctx) {}

    /// This logic's version.
    fn version() -> Version {
        Self::VERSION
    }

    /// This logic's name, as built.
    fn name() -> &'static str {
        Self::NAME
    }
}

/// What a player brings along.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// The bytes that the client sent with its wish to join.
    pub hello: &'a [u8],
    /// What the player's credentials say of them, as a JSON object, and the engine has verified; empty where they say nothing,
    /// because the engine's `auth` is neither `"jwt-hs256"` nor `"jwt-eddsa"`.
    pub claims: &'a str,
}

/// The answer to a wish to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Accept,
    /// With the reason that the player sees.
    Refuse(String),
}
