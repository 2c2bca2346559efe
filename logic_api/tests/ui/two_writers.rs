use logic_api::prelude::*;

#[derive(Row)]
#[repr(C)]
struct Avatar {
    number: u32,
}

fn write(avatars: &mut Table<Avatar>, one: Id<Avatar>, two: Id<Avatar>) {
    let first = avatars.get_mut(one);
    let second = avatars.get_mut(two);
    drop((first, second));
}

fn main() {}
