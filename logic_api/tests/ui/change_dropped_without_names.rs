//! What may go is named.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
#[row(dropped)]
struct Avatar {
    hp: u32,
}

fn main() {}
