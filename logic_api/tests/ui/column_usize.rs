use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: usize,
}

fn main() {}
