use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Game {
    number: u32,
}

#[derive(World)]
struct Arena {
    game: One<Game>,
}

fn main() {}
