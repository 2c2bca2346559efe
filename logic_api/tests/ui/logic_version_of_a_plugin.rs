use logic_api::prelude::*;

#[derive(World)]
struct Arena;

#[logic(version = 1002)]
impl Logic for Arena {}

fn main() {}
