//! Old names are text: nothing of that name is there any more.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(was = hp)]
    health: u32,
}

fn main() {}
