//! A default has the type of its field.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(default = "full")]
    hp: u32,
}

fn main() {}
