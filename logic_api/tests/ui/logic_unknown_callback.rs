use logic_api::prelude::*;

#[derive(World)]
struct Arena;

#[logic(linked)]
impl Logic for Arena {
    fn on_tick(&mut self, _ctx: &mut Ctx) {}
}

fn main() {}
