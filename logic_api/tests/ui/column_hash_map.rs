use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: std::collections::HashMap<u32, u32>,
}

fn main() {}
