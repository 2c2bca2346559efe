//! Two fields cannot both have been one.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(was = "hp")]
    health: u32,
    #[row(was = "hp")]
    life: u32,
}

fn main() {}
