use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: fn(u32) -> u32,
}

fn main() {}
