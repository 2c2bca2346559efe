//! Bad input: each is refused with its own reason, and the version before keeps answering.
//!
//! The plugins that misbehave are in `engine/tests/saboteurs`; cargo builds them when the first test asks for one.

mod callbacks;
mod constructors;
mod contract;
mod damage;
mod door;
mod files;
mod names;
mod races;
mod rehearsals;
mod snapshots;
mod swaps;
mod tables;
mod to_and_fro;

mod contracts;
pub(crate) mod plugins;
mod refusals;
mod traces;
