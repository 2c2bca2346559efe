//! From the bytes of a socket to frames, whatever the transport.

use std::ops::ControlFlow;

use crate::sessions::bad::Bad;
use crate::sessions::tcp::TcpReader;
use crate::sessions::websocket::WebSocketReader;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A frame of the protocol, whole.
    Frame(&'a [u8]),
    /// WebSocket only: to be answered with the same bytes.
    Ping(&'a [u8]),
    /// WebSocket only: says nothing.
    Pong,
    /// WebSocket only: a part of a message that goes on.
    Fragment,
    /// WebSocket only: the client ends the connection.
    Close,
}

/// What becomes of each. `Break` leaves the rest for the next call.
pub(super) type OnRead<'a> = dyn FnMut(Read<'_>) -> Result<ControlFlow<()>, Bad> + 'a;

/// The first frame of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// It is not whole yet.
    Partial,
    /// It took so many bytes.
    Taken(usize, ControlFlow<()>),
}

/// Takes bytes as they come. Between two calls it keeps what is not a whole frame yet, and nothing else: a connection
/// that has nothing to say holds no memory for it, and one that moves to another process takes just this along.
#[derive(Debug)]
pub(super) struct Reader {
    transport: Transport,
    /// The start of a frame whose rest has not come.
    partial: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpReader),
    WebSocket(WebSocketReader),
}

impl Transport {
    fn read(&mut self, bytes: &mut [u8], on: &mut OnRead<'_>) -> Result<First, Bad> {
        match self {
            Transport::Tcp(reader) => reader.read(bytes, on),
            Transport::WebSocket(reader) => reader.read(bytes, on),
        }
    }
}

impl Reader {
    pub(super) fn new(transport: Transport) -> Reader {
        Reader { transport, partial: Vec::new() }
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_within_frame(&self) -> bool {
        !self.partial.is_empty() || self.is_within_message()
    }

    /// Whether a message has begun that other frames may come between.
    pub(super) fn is_within_message(&self) -> bool {
        matches!(&self.transport, Transport::WebSocket(reader) if reader.is_within_message())
    }

    /// Hands every whole frame in what is left of the bytes before, and in these, to `on`. The bytes are scribbled on.
    ///
    /// # Errors
    /// [`Bad`] at the first bytes that are none, or whatever `on` refuses. There is no way on after that.
    pub(super) fn read(&mut self, bytes: &mut [u8], on: &mut OnRead<'_>) -> Result<(), Bad> {
        if self.partial.is_empty() {
            let taken = read_all(&mut self.transport, bytes, on)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let taken = read_all(&mut self.transport, &mut self.partial, on)?;
        if taken == self.partial.len() {
            self.partial = Vec::new();
        } else if taken > 0 {
            self.partial = self.partial.split_off(taken);
        }
        Ok(())
    }
}

fn read_all(transport: &mut Transport, bytes: &mut [u8], on: &mut OnRead<'_>) -> Result<usize, Bad> {
    let mut taken = 0;
    while let First::Taken(more, flow) = transport.read(&mut bytes[taken..], on)? {
        taken += more;
        if flow.is_break() {
            break;
        }
    }
    Ok(taken)
}
