use logic_api::prelude::*;

#[derive(Row, Clone, Copy)]
#[repr(u8)]
enum Kind {
    Human,
    Bot,
}

impl PartialEq for Kind {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

fn main() {}
