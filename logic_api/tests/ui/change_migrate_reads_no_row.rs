//! What a migration reads is a row, so that it can be compared with the old one.

use logic_api::prelude::*;

struct OldAvatar {
    hp: i32,
}

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(migrate = halves)]
    hp: f32,
}

fn halves(old: &OldAvatar) -> f32 {
    old.hp as f32 / 2.0
}

fn main() {}
