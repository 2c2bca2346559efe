use logic_api::prelude::*;

#[derive(World)]
struct Arena {
    rounds: Vec<u32>,
}

fn main() {}
