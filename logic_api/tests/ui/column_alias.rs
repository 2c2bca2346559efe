use logic_api::prelude::*;

type Names = Vec<Str<8>>;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    names: Names,
}

fn main() {}
