//! Two variants cannot both have been one.

use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Team {
    #[row(was = "Rouge")]
    Red,
    #[row(was = "Rouge")]
    Pink,
}

fn main() {}
