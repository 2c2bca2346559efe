//! engine

pub mod loader;
