use logic_api::prelude::*;

struct Avatar {
    x: u32,
}

#[derive(World)]
struct Arena {
    avatars: Table<Avatar>,
}

fn main() {}
