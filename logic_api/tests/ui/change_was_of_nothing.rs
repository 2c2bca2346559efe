//! A list of old names has at least one.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(was())]
    health: u32,
}

fn main() {}
