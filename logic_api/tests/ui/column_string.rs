use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: String,
}

fn main() {}
