use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    column: Opt<[Blob; 2]>,
}

fn main() {}
