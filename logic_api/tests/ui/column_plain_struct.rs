use logic_api::prelude::*;

struct Place {
    x: f32,
}

#[derive(Row)]
#[repr(C)]
struct Avatar {
    place: Place,
}

fn main() {}
