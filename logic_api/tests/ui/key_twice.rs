use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(key)]
    player: PlayerId,
    #[row(key)]
    name: Str<16>,
}

fn main() {}
