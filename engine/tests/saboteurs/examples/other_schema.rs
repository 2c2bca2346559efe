//! The game with its tables changed in every way that a schema can differ.

use logic_api::prelude::*;

#[derive(World, Debug)]
pub struct Game {
    pub greeting: One<Greeting>,
    pub marks: Table<Mark>,
    pub scores: Table<Score>,
}

#[derive(Row, Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Greeting {
    version: u64,
    nick: Str<32>,
}

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Mark {
    number: u64,
}

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Score {
    #[row(key)]
    player: PlayerId,
}

#[logic]
impl Logic for Game {}
