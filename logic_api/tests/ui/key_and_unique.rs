use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(key, unique)]
    player: PlayerId,
}

fn main() {}
