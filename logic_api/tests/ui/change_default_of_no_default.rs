//! Where only the word `default` is written, the type must have one.

use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Team {
    Red,
}

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(default)]
    team: Team,
}

fn main() {}
