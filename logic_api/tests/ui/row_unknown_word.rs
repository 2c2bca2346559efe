use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(primary)]
    player: PlayerId,
}

fn main() {}
