//! A migration that never returns.

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
    while std::hint::black_box(old.number) < u64::MAX {
        std::hint::spin_loop();
    }
    0.0
}

#[logic]
impl Logic for Game {}
