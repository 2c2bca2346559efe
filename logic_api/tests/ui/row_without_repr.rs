use logic_api::prelude::*;

#[derive(Row)]
struct Avatar {
    player: PlayerId,
}

fn main() {}
