use logic_api::prelude::*;

#[derive(Row)]
#[repr(C, packed)]
struct Avatar {
    small: u8,
    player: PlayerId,
}

fn main() {}
