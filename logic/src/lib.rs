//! The game that ships with the engine: an arena in which players steer about, and `/hello`, which shows who is answering.
//!
//! No state lives here: it is all in the tables of [`Arena`], which the engine owns and which outlive every version.

mod hello;
mod steering;

use hello::Greeting;
use logic_api::prelude::*;
use steering::Avatar;

/// All state of a room.
#[derive(World, Debug)]
pub struct Arena {
    avatars: Table<Avatar>,
    /// Who answered `/hello` last.
    greeting: One<Greeting>,
}

#[logic]
impl Logic for Arena {
    fn join(&mut self, ctx: &mut Ctx, player: PlayerId, join: &Join) {
        let nick = std::str::from_utf8(join.hello).unwrap_or_default();
        self.avatars.insert(Avatar::new(player, nick, ctx.rng()));
    }

    fn leave(&mut self, _ctx: &mut Ctx, player: PlayerId, _reason: &str) {
        self.avatars.remove_key(player);
    }

    fn message(&mut self, _ctx: &mut Ctx, player: PlayerId, bytes: &[u8]) {
        if let Some(mut avatar) = self.avatars.find_mut(player) {
            avatar.steer(bytes);
        }
    }

    fn tick(&mut self, _ctx: &mut Ctx) {
        for mut avatar in &mut self.avatars {
            avatar.advance();
        }
    }

    fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
        match (request.method, request.path) {
            // The engine sends the head of it alone where only that was asked for.
            ("GET" | "HEAD", "/hello") => self.greeting.answer(Self::version(), Self::name()),
            _ => Response::not_found(),
        }
    }
}
