use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: Box<u32>,
}

fn main() {}
