//! What players and engine send each other, as bytes: `docs/protocol.md` in code. The engine and `swarm` both use it,
//! so that neither can drift from the page alone.
//!
//! ```
//! use wire::{ClientFrame, EngineFrame, Header};
//!
//! let mut bytes = Vec::new();
//! ClientFrame::Message { number: 1, bytes: b"left" }.encode(&mut bytes);
//! assert_eq!(ClientFrame::decode(&bytes), Ok(ClientFrame::Message { number: 1, bytes: b"left" }));
//!
//! bytes.clear();
//! EngineFrame::Message(b"seen").encode(Header { tick: 7, consumed: 1 }, &mut bytes);
//! let (header, frame) = EngineFrame::decode(&bytes).expect("encoded above");
//! assert_eq!((header.consumed, frame), (1, EngineFrame::Message(b"seen")));
//! ```
//!
//! What never lives here: sockets, WebSocket framing, sessions. Nothing here allocates but the encoders' output.

mod client;
mod close;
mod engine;
mod error;
pub mod limits;
mod reader;
pub mod tcp;

pub use client::ClientFrame;
pub use close::CloseCode;
pub use engine::{EngineFrame, Header, InputError, Joined, Severity, kind};
pub use error::FrameError;

/// Where a WebSocket is opened; the room is `?room=NAME`.
pub const WEBSOCKET_PATH: &str = "/ws";
/// The WebSocket subprotocol. A client that asks for none gets the same frames.
pub const SUBPROTOCOL: &str = "hotseat.1";
