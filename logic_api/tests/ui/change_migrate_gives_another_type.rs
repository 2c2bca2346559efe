//! A migration of a field gives its type.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct OldAvatar {
    hp: i32,
}

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(migrate = halves)]
    hp: f32,
}

fn halves(old: &OldAvatar) -> f64 {
    f64::from(old.hp) / 2.0
}

fn main() {}
