use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: List<Text, 4>,
}

fn main() {}
