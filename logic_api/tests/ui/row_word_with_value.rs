use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(key = "player")]
    player: PlayerId,
}

fn main() {}
