use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: *const u8,
}

fn main() {}
