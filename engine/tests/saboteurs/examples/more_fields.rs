//! No saboteur: the game with a field more, one renamed and one wider, and a table more. Another game's tables, carried over.

use logic_api::prelude::*;

#[derive(World, Debug)]
pub struct Game {
    pub greeting: One<Greeting>,
    #[world(was = "marks")]
    pub signs: Table<Sign>,
    pub scores: Table<Score>,
}

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Greeting {
    version: u64,
    #[row(was = "name")]
    nick: Str<40>,
}

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Sign {
    #[row(default = 2)]
    weight: u32,
    #[row(key)]
    number: u64,
}

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Score {
    #[row(key)]
    player: PlayerId,
}

#[logic]
impl Logic for Game {
    fn request(&mut self, _ctx: &mut Ctx, _request: &Request) -> Response {
        let weight: u32 = self.signs.iter().map(|sign| sign.weight).sum();
        let found = (0..self.signs.len() as u64).filter(|number| self.signs.find(*number).is_some()).count();
        Response::text(format!("{} {}: {found} signs of {weight}\n", self.greeting.nick, self.greeting.version))
    }
}
