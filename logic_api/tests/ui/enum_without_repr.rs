use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
enum Kind {
    Human,
    Bot,
}

fn main() {}
