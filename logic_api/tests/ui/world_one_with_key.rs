use logic_api::prelude::*;

#[derive(Row, Default)]
#[repr(C)]
struct Game {
    #[row(key)]
    number: u32,
}

#[derive(World)]
struct Arena {
    game: One<Game>,
}

fn main() {}
