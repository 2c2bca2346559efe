use logic_api::prelude::*;

struct Arena;

#[logic(linked)]
impl Logic for Arena {}

fn main() {}
