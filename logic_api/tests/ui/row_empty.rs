use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {}

fn main() {}
