//! Does in `upgraded` what the marks tell, after it has changed the world.

#[path = "../src/lib.rs"]
pub mod game;

use logic_api::prelude::*;

#[logic]
impl Logic for game::Game {
    fn upgraded(&mut self, _ctx: &mut Ctx, _from: Version) {
        let told: Vec<u64> = self.marks.iter().map(|mark| mark.number).collect();
        self.mark();
        told.into_iter().for_each(game::deeds::commit);
    }

    fn request(&mut self, _ctx: &mut Ctx, request: &Request) -> Response {
        self.answer(Self::version(), Self::name(), request)
    }
}
