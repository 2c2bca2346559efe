//! Panics in `upgraded`, after it has changed the world.

#[path = "../src/lib.rs"]
pub mod game;

use logic_api::prelude::*;

#[logic]
impl Logic for game::Game {
    fn upgraded(&mut self, _ctx: &mut Ctx, from: Version) {
        self.mark();
        panic!("no upgrade from {}", from.0);
    }
}
