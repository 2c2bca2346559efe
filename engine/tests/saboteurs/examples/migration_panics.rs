//! A migration that panics at the second row.

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
    assert!(old.number != 1, "no mark of this number");
    old.number as f64
}

#[logic]
impl Logic for Game {}
