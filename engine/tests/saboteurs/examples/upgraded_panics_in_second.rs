//! Panics in `upgraded` of the room `second`, where the other room has been upgraded.

#[path = "../src/lib.rs"]
pub mod game;

use logic_api::prelude::*;

#[logic]
impl Logic for game::Game {
    fn upgraded(&mut self, ctx: &mut Ctx, _from: Version) {
        self.mark();
        assert_ne!(ctx.room(), "second", "not this room");
    }

    fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
        self.answer(Self::version(), Self::name(), request)
    }
}
