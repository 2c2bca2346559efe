//! Two tables cannot both have been one.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    hp: u32,
}

#[derive(World)]
struct Arena {
    #[world(was = "players")]
    avatars: Table<Avatar>,
    #[world(was = "players")]
    bots: Table<Avatar>,
}

fn main() {}
