use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: Str<300>,
}

fn main() {}
