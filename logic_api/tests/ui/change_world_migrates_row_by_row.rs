//! A migration above a table gets all its rows.

use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    hp: u32,
}

#[derive(World)]
struct Arena {
    #[world(migrate = heal)]
    avatars: Table<Avatar>,
}

fn heal(old: &Avatar) -> Avatar {
    Avatar { hp: old.hp + 1 }
}

fn main() {}
