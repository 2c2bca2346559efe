//! One connection: whole frames in and out, over WebSocket or TCP.
//!
//! Nothing here waits: what cannot be read or written yet is asked for again when the task's waker has been called. A frame that
//! is fed goes out with the next flush, so that frames fed together leave in one write.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tungstenite::client::ClientRequestBuilder;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::protocol::{Message, WebSocket, WebSocketConfig};
use wire::{ClientFrame, limits::ENGINE_FRAME_BYTES_MAX};

use crate::target::{Target, Transport};

/// Asked of the kernel at a time: little, since there may be ten thousand connections.
const READ_BYTES: usize = 8 << 10;

/// Frames to and from the other side.
#[derive(Debug)]
pub(crate) enum Link {
    WebSocket(Box<WebSocket<Socket>>),
    Tcp(TcpLink),
}

/// How the other side ended a connection, or how it broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// With the code of a WebSocket's close frame.
    Closed(u16),
    /// Without a word.
    Cut,
    /// With something that is no frame.
    Malformed(String),
}

/// Why no connection came to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the WebSocket handshake failed: {0}")]
    Handshake(String),
}

impl Link {
    /// Connects, and does the handshake of a WebSocket or sends the preamble of TCP.
    pub(crate) async fn open(target: &Target, address: SocketAddr) -> Result<Link, OpenError> {
        let stream = TcpStream::connect(address).await.map_err(OpenError::Connect)?;
        stream.set_nodelay(true).map_err(OpenError::Connect)?;
        let socket = Socket { stream, waker: Waker::noop().clone() };
        match target.transport {
            Transport::WebSocket => handshake(target, socket).await,
            Transport::Tcp => {
                let out = wire::tcp::PREAMBLE.to_vec();
                Ok(Link::Tcp(TcpLink { socket, input: BytesMut::new(), out, written: 0 }))
            }
        }
    }

    /// Whom to wake when more can be read or written.
    pub(crate) fn wake_by(&mut self, waker: &Waker) {
        match self {
            Link::WebSocket(websocket) => websocket.get_mut().waker.clone_from(waker),
            Link::Tcp(tcp) => tcp.socket.waker.clone_from(waker),
        }
    }

    /// Puts a frame behind those that were not sent yet. A broken connection is told by `read`.
    pub(crate) fn feed(&mut self, frame: &ClientFrame<'_>) {
        match self {
            Link::WebSocket(websocket) => {
                let mut bytes = Vec::new();
                frame.encode(&mut bytes);
                let _told_by_read = websocket.write(Message::Binary(bytes.into()));
            }
            Link::Tcp(tcp) => wire::tcp::frame(&mut tcp.out, |to| frame.encode(to)),
        }
    }

    /// Sends what was fed, as far as the connection takes it; the rest when it takes more. A broken connection is told by
    /// `read`.
    pub(crate) fn flush(&mut self) {
        match self {
            Link::WebSocket(websocket) => {
                let _told_by_read = websocket.flush();
            }
            Link::Tcp(tcp) => {
                let _told_by_read = tcp.flush();
            }
        }
    }

    /// The next whole frame; `None` if none has come yet, and then the waker is going to be called.
    pub(crate) fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Link::WebSocket(websocket) => read_websocket(websocket),
            Link::Tcp(tcp) => tcp.read(),
        }
    }

    /// Says goodbye where the transport has a word for it.
    pub(crate) fn close(&mut self) {
        if let Link::WebSocket(websocket) = self {
            let _gone_already = websocket.close(None);
        }
        self.flush();
    }
}

async fn handshake(target: &Target, socket: Socket) -> Result<Link, OpenError> {
    let failed = |error: &dyn std::fmt::Display| OpenError::Handshake(error.to_string());
    let uri = target.to_string().parse().map_err(|error: tungstenite::http::uri::InvalidUri| failed(&error))?;
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(wire::SUBPROTOCOL);
    let request =
        tungstenite::client::IntoClientRequest::into_client_request(request).map_err(|error| failed(&error))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        // More than fits is written at once; what does not is kept until it can be.
        .write_buffer_size(READ_BYTES)
        .max_message_size(Some(ENGINE_FRAME_BYTES_MAX))
        .max_frame_size(Some(ENGINE_FRAME_BYTES_MAX));
    let mut machine = Some(ClientHandshake::start(socket, request, Some(config)).map_err(|error| failed(&error))?);
    poll_fn(|context| {
        let mut step = machine.take().expect("put back below, unless it ended");
        step.get_mut().get_mut().waker.clone_from(context.waker());
        match step.handshake() {
            Ok((websocket, _response)) => Poll::Ready(Ok(Link::WebSocket(Box::new(websocket)))),
            Err(HandshakeError::Interrupted(next)) => {
                machine = Some(next);
                Poll::Pending
            }
            Err(HandshakeError::Failure(error)) => Poll::Ready(Err(failed(&error))),
        }
    })
    .await
}

fn read_websocket(websocket: &mut WebSocket<Socket>) -> Result<Option<Bytes>, Broken> {
    loop {
        match websocket.read() {
            Ok(Message::Binary(bytes)) => return Ok(Some(bytes)),
            Ok(Message::Text(_)) => return Err(Broken::Malformed("a text message".to_owned())),
            Ok(Message::Close(frame)) => {
                return Err(frame.map_or(Broken::Cut, |frame| Broken::Closed(frame.code.into())));
            }
            // A pong goes out with the next flush.
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(tungstenite::Error::Capacity(error)) => return Err(Broken::Malformed(error.to_string())),
            Err(tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                return Err(Broken::Cut);
            }
            Err(tungstenite::Error::Protocol(error)) => return Err(Broken::Malformed(error.to_string())),
            Err(_) => return Err(Broken::Cut),
        }
    }
}

/// Frames with their lengths before them.
#[derive(Debug)]
pub(crate) struct TcpLink {
    socket: Socket,
    input: BytesMut,
    out: Vec<u8>,
    /// Of `out`.
    written: usize,
}

impl TcpLink {
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..])? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(announced) = wire::tcp::announced(&self.input) {
                if announced > ENGINE_FRAME_BYTES_MAX {
                    return Err(Broken::Malformed(format!("a frame of {announced} bytes")));
                }
                if wire::tcp::split(&self.input).is_some() {
                    self.input.advance(wire::tcp::LENGTH_BYTES);
                    return Ok(Some(self.input.split_to(announced).freeze()));
                }
            }
            let before = self.input.len();
            self.input.resize(before + READ_BYTES, 0);
            let read = self.socket.read(&mut self.input[before..]);
            self.input.truncate(before + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(Broken::Cut),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(Broken::Cut),
            }
        }
    }
}

/// A socket for code that knows no tasks: instead of waiting it says `WouldBlock`, and the waker is called when it can go on.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    waker: Waker,
}

impl Read for Socket {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(to);
        match Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(&self.waker), &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(&self.waker), from) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A TCP socket holds nothing back.
        Ok(())
    }
}
