use logic_api::prelude::*;

#[derive(World)]
struct Arena;

#[logic]
impl Arena {}

fn main() {}
