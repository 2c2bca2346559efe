use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
union Avatar {
    number: u32,
    real: f32,
}

fn main() {}
