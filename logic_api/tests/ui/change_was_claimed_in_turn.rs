//! Of those that a field was one after the other, no other field can have been one.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(was("life", "hp"))]
    health: u32,
    #[row(was = "hp")]
    strength: u32,
}

fn main() {}
