use logic_api::prelude::*;

#[derive(World)]
struct Arena;

#[logic(exported)]
impl Logic for Arena {}

fn main() {}
