//! The game as it should be. Built as several versions, and what the others are compared with.

#[path = "../src/lib.rs"]
pub mod game;

harmless_logic!();
