//! Rows are found by their table.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
#[row(was = "Player")]
struct Avatar {
    hp: u32,
}

fn main() {}
