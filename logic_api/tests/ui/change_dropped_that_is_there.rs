//! What is there was not dropped.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
#[row(dropped("hp", "mana"))]
struct Avatar {
    hp: u32,
}

fn main() {}
