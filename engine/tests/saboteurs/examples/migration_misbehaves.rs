//! Does in a migration what the marks tell.

#[path = "../src/deeds.rs"]
pub mod deeds;

use logic_api::prelude::*;

#[derive(World, Debug)]
#[world(dropped("greeting"))]
pub struct Game {
    pub marks: Table<Mark>,
}

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct OldMark {
    number: u64,
}

#[derive(Row, Debug, Clone, Copy)]
#[repr(C)]
pub struct Mark {
    #[row(key)]
    number: u64,
    #[row(migrate = weight)]
    weight: f64,
}

fn weight(old: &OldMark) -> f64 {
    deeds::commit(old.number);
    old.number as f64
}

#[logic]
impl Logic for Game {}
