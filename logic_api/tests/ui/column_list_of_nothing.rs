use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: List<[u8; 0], 4>,
}

fn main() {}
