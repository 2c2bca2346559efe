//! A variant has an old name or nothing.

use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Team {
    #[row(default)]
    Red,
}

fn main() {}
