use logic_api::prelude::*;

#[derive(Row, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Kind {}

fn main() {}
