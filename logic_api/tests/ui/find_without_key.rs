use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    number: u32,
}

fn find(avatars: &Table<Avatar>) -> bool {
    avatars.find(7).is_some()
}

fn main() {}
