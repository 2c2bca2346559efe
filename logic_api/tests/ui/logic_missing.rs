use logic_api::prelude::*;

#[derive(World)]
struct Arena;

impl Logic for Arena {}

fn main() {}
