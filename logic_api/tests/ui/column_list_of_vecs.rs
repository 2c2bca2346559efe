use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: List<Vec<u8>, 4>,
}

fn main() {}
