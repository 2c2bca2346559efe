use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(key)]
    height: f32,
}

fn main() {}
