//! A constructor that ends the process as if all were well.

#[path = "../src/lib.rs"]
pub mod game;

at_start!(std::process::exit(0));

harmless_logic!();
