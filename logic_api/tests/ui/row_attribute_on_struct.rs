use logic_api::prelude::*;

#[derive(Row)]
#[row(key)]
#[repr(C)]
struct Avatar {
    player: PlayerId,
}

fn main() {}
