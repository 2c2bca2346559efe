//! What has its name still was not renamed.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(was = "hp")]
    hp: u32,
}

fn main() {}
