use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Place {
    x: f32,
}

#[derive(Row)]
#[repr(C)]
struct Avatar {
    places: List<Place, 4>,
}

fn main() {}
