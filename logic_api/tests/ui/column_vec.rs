use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: Vec<u8>,
}

fn main() {}
