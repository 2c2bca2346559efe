use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(unique)]
    name: Text,
}

fn main() {}
