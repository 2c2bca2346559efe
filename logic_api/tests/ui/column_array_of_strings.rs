use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: [String; 4],
}

fn main() {}
