use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
#[repr(C)]
struct Place {
    x: i32,
}

#[derive(Row)]
#[repr(C)]
struct Avatar {
    #[row(key)]
    place: Place,
}

fn main() {}
