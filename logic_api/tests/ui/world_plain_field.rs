use logic_api::prelude::*;

#[derive(World)]
struct Arena {
    round: u32,
}

fn main() {}
