//! Above a table go an old name and a migration.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    hp: u32,
}

#[derive(World)]
struct Arena {
    #[world(dropped("orbs"))]
    avatars: Table<Avatar>,
}

fn main() {}
