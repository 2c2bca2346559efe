use logic_api::prelude::*;

#[logic]
struct Arena;

fn main() {}
