//! A field that is gone cannot be written above.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(dropped("mana"))]
    hp: u32,
}

fn main() {}
