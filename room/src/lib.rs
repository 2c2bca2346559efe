//! The deterministic core of a room.

mod request;

pub use request::{Request, Response};
