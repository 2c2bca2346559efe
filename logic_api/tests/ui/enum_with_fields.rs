use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Kind {
    Human,
    Bot { level: u8 },
}

fn main() {}
