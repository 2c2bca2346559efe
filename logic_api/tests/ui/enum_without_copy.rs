use logic_api::prelude::*;

#[derive(Row)]
#[repr(u8)]
enum Kind {
    Human,
    Bot,
}

fn main() {}
