use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar<T> {
    value: T,
}

fn main() {}
