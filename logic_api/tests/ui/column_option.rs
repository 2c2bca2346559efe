use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: Option<u32>,
}

fn main() {}
