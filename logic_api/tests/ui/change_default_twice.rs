//! A field has one default.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(default, default = 3)]
    hp: u32,
}

fn main() {}
