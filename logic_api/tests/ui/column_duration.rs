use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: std::time::Duration,
}

fn main() {}
