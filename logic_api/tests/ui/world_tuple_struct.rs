use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    x: u32,
}

#[derive(World)]
struct Arena(Table<Avatar>);

fn main() {}
