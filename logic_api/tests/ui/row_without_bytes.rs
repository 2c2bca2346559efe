use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    nothing: [u32; 0],
}

fn main() {}
