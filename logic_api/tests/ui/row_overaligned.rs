use logic_api::prelude::*;

#[derive(Row)]
#[repr(C, align(64))]
struct Avatar {
    player: PlayerId,
}

fn main() {}
