use logic_api::prelude::*;

#[derive(World)]
enum Arena {
    Lobby,
    Game,
}

fn main() {}
