use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: char,
}

fn main() {}
