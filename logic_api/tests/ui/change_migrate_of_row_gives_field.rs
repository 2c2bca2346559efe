//! A migration above a struct gives a whole row.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct OldAvatar {
    hp: i32,
}

#[derive(Row)]
#[repr(C)]
#[row(migrate = halves)]
struct Avatar {
    hp: f32,
}

fn halves(old: &OldAvatar) -> f32 {
    old.hp as f32 / 2.0
}

fn main() {}
