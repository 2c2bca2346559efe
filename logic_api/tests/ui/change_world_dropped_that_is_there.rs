//! A table that is there was not dropped.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    hp: u32,
}

#[derive(World)]
#[world(dropped("avatars"))]
struct Arena {
    avatars: Table<Avatar>,
}

fn main() {}
