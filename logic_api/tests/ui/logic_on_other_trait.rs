use logic_api::prelude::*;

#[derive(World)]
struct Arena;

#[logic]
impl Default for Arena {
    fn default() -> Self {
        Arena
    }
}

fn main() {}
