//! A player's client, over either transport: blocking, and with nothing that hides a frame from the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use wire::limits::cut;
use wire::{ClientFrame, CloseCode, EngineFrame, Header, Joined, tcp};

/// For a test that hangs to fail instead; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const MASK: [u8; 4] = [7, 0, 255, 42];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    WebSocket,
}

pub(crate) const BOTH: [Transport; 2] = [Transport::Tcp, Transport::WebSocket];

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    transport: Transport,
    read: Vec<u8>,
    /// Of the last frame.
    pub(crate) header: Header,
    number: u32,
    /// The payload of the WebSocket's own close frame, once it has come.
    closed: Option<Vec<u8>>,
}

/// What the engine sends.
enum Split {
    Frame(Vec<u8>),
    /// A WebSocket's own.
    Close(Vec<u8>),
    /// Of the transport, too.
    Other,
}

/// What a Joined frame says, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct In {
    pub(crate) player: u64,
    pub(crate) resumed: bool,
    pub(crate) version: u32,
    pub(crate) room: String,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn open(address: SocketAddr, transport: Transport) -> Client {
        match transport {
            Transport::Tcp => {
                let mut client = Client::bare(address, transport);
                client.stream.write_all(&tcp::PREAMBLE).unwrap();
                client
            }
            Transport::WebSocket => Client::web_socket(address, "/ws", &[]),
        }
    }

    /// As [`Client::open`], to an engine that may be gone by then: `None`.
    pub(crate) fn try_open(address: SocketAddr, transport: Transport) -> Option<Client> {
        let mut client = Client::try_bare(address, transport).ok()?;
        match transport {
            Transport::Tcp => client.stream.write_all(&tcp::PREAMBLE).ok()?,
            Transport::WebSocket => _ = client.try_handshake(&address.to_string(), "/ws", &[])?,
        }
        Some(client)
    }

    /// A socket on which nothing has been said.
    pub(crate) fn bare(address: SocketAddr, transport: Transport) -> Client {
        Client::try_bare(address, transport).unwrap()
    }

    fn try_bare(address: SocketAddr, transport: Transport) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, transport, read: Vec::new(), header: Header::default(), number: 0, closed: None })
    }

    /// With further header lines.
    pub(crate) fn web_socket(address: SocketAddr, target: &str, headers: &[&str]) -> Client {
        let (client, head) = Client::handshake(address, target, headers);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The example of RFC 6455, 1.3.
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        client
    }

    /// Whatever the answer is: its head.
    pub(crate) fn handshake(address: SocketAddr, target: &str, headers: &[&str]) -> (Client, String) {
        Client::handshake_as(&address.to_string(), address, target, headers)
    }

    pub(crate) fn handshake_as(host: &str, address: SocketAddr, target: &str, headers: &[&str]) -> (Client, String) {
        let mut client = Client::bare(address, Transport::WebSocket);
        let head = client.try_handshake(host, target, headers).expect("a whole head");
        (client, head)
    }

    /// `None` if the engine goes before its head is whole.
    fn try_handshake(&mut self, host: &str, target: &str, headers: &[&str]) -> Option<String> {
        let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        self.stream.write_all(head.as_bytes()).ok()?;
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.read_more() {
                return None;
            }
        };
        Some(String::from_utf8(self.read.drain(..end).collect()).unwrap())
    }

    /// What comes behind the head of an answer that is none of a WebSocket's.
    pub(crate) fn body(&mut self, head: &str) -> String {
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let length = length.unwrap().parse().unwrap();
        while self.read.len() < length {
            assert!(self.read_more(), "no whole body");
        }
        String::from_utf8(self.read.drain(..length).collect()).unwrap()
    }

    /// Of the same connection, for a thread that reads while this one writes. It writes pongs, each by one call, as this
    /// does whatever is short: the kernel keeps them apart.
    pub(crate) fn reading_half(&mut self) -> Client {
        let (stream, read) = (self.stream.try_clone().unwrap(), std::mem::take(&mut self.read));
        Client { stream, transport: self.transport, read, header: self.header, number: 0, closed: None }
    }

    /// What it takes to send a frame of these bytes.
    pub(crate) fn framed(&self, frame: &[u8]) -> Vec<u8> {
        match self.transport {
            Transport::Tcp => {
                let mut bytes = Vec::new();
                tcp::frame(&mut bytes, |to| to.extend_from_slice(frame));
                bytes
            }
            Transport::WebSocket => web_socket_frame(0x82, frame),
        }
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, frame: &ClientFrame<'_>) {
        self.try_send(frame).unwrap();
    }

    pub(crate) fn try_send(&mut self, frame: &ClientFrame<'_>) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let framed = self.framed(&bytes);
        self.stream.write_all(&framed)
    }

    /// The next message of this connection, numbered on.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.number += 1;
        self.send(&ClientFrame::Message { number: self.number, bytes });
    }

    /// False at the end of the stream.
    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 1 << 16];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(len) => {
                self.read.extend_from_slice(&bytes[..len]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next frame whatever it is; `None` when the engine has closed.
    pub(crate) fn next_raw(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((frame, taken)) = self.split() {
                self.read.drain(..taken);
                match frame {
                    Split::Frame(frame) => return Some(frame),
                    Split::Close(payload) => self.closed = Some(payload),
                    Split::Other => {}
                }
                continue;
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    /// Until the engine is gone, without another word than pings.
    pub(crate) fn until_cut(&mut self) {
        while let Some(frame) = self.next_raw() {
            assert_eq!(frame[0], 0x85, "{frame:?}");
        }
    }

    /// What comes next, and how many bytes it took.
    fn split(&self) -> Option<(Split, usize)> {
        match self.transport {
            Transport::Tcp => tcp::split(&self.read).map(|(frame, taken)| (Split::Frame(frame.to_vec()), taken)),
            Transport::WebSocket => {
                let (first, len) = (*self.read.first()?, *self.read.get(1)?);
                let (start, len) = match len {
                    126 => (4, usize::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().unwrap()))),
                    127 => {
                        (10, usize::try_from(u64::from_be_bytes(self.read.get(2..10)?.try_into().unwrap())).unwrap())
                    }
                    len => (2, usize::from(len)),
                };
                let payload = self.read.get(start..start + len)?;
                let split = match first {
                    0x82 => Split::Frame(payload.to_vec()),
                    0x88 => Split::Close(payload.to_vec()),
                    _ => Split::Other,
                };
                Some((split, start + len))
            }
        }
    }

    /// The next frame; pings are answered.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "waited in vain: nothing but pings came");
            let frame = self.next_raw()?;
            let (header, decoded) = EngineFrame::decode(&frame).unwrap();
            match decoded {
                EngineFrame::Ping(number) => self.send(&ClientFrame::Pong(number)),
                _ => {
                    self.header = header;
                    return Some(frame);
                }
            }
        }
    }

    #[track_caller]
    fn expect<R>(&mut self, what: &str, read: impl Fn(EngineFrame<'_>) -> Option<R>) -> R {
        let frame = self.next().unwrap_or_else(|| panic!("a {what} was expected, found the end"));
        let (_, frame) = EngineFrame::decode(&frame).unwrap();
        read(frame).unwrap_or_else(|| panic!("a {what} was expected, found {frame:?}"))
    }

    #[track_caller]
    pub(crate) fn joined(&mut self) -> In {
        self.expect("Joined", |frame| match frame {
            EngineFrame::Joined(Joined { player, resumed, version, room, token, .. }) => {
                let (room, token) = (room.to_owned(), token.to_owned());
                Some(In { player, resumed, version, room, token })
            }
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn join(&mut self, hello: &[u8]) -> In {
        self.join_room("", hello)
    }

    #[track_caller]
    pub(crate) fn join_room(&mut self, room: &str, hello: &[u8]) -> In {
        self.send(&ClientFrame::Join { room, credentials: "", hello });
        let joined = self.joined();
        assert_eq!(self.hear(), format!("welcome {}", String::from_utf8_lossy(hello)));
        joined
    }

    #[track_caller]
    pub(crate) fn resume(&mut self, token: &str) -> In {
        self.send(&ClientFrame::Resume { token });
        let joined = self.joined();
        self.number = self.header.consumed;
        joined
    }

    /// The next message, which must be text.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        self.expect("Message", |frame| match frame {
            EngineFrame::Message(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> String {
        self.say(bytes);
        self.hear()
    }

    /// The number and the text of an Error.
    #[track_caller]
    pub(crate) fn error(&mut self) -> (u32, String) {
        self.expect("Error", |frame| match frame {
            EngineFrame::Error { number, text, .. } => Some((number, text.to_owned())),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn version(&mut self) -> (u32, String) {
        self.expect("Version", |frame| match frame {
            EngineFrame::Version { version, name } => Some((version, name.to_owned())),
            _ => None,
        })
    }

    /// The version and the reason of a Resync.
    #[track_caller]
    pub(crate) fn resync(&mut self) -> (u32, String) {
        self.expect("Resync", |frame| match frame {
            EngineFrame::Resync { version, reason } => Some((version, reason.to_owned())),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn notice(&mut self) -> (u8, String) {
        self.expect("Notice", |frame| match frame {
            EngineFrame::Notice { severity, text } => Some((severity as u8, text.to_owned())),
            _ => None,
        })
    }

    /// The Closing frame that comes next, and the end of the stream behind it.
    #[track_caller]
    pub(crate) fn closing(&mut self) -> (CloseCode, String) {
        let closing = self.expect("Closing", |frame| match frame {
            EngineFrame::Closing { code, reason } => Some((code, reason.to_owned())),
            _ => None,
        });
        self.ended(closing)
    }

    /// As `closing`, past whatever comes before it.
    #[track_caller]
    pub(crate) fn closing_at_last(&mut self) -> (CloseCode, String) {
        loop {
            let frame = self.next_raw().expect("the engine says why it closes");
            if let (_, EngineFrame::Closing { code, reason }) = EngineFrame::decode(&frame).unwrap() {
                let closing = (code, reason.to_owned());
                return self.ended(closing);
            }
        }
    }

    #[track_caller]
    fn ended(&mut self, (code, reason): (CloseCode, String)) -> (CloseCode, String) {
        assert_eq!(self.next_raw(), None, "Closing is the last frame");
        if self.transport == Transport::WebSocket {
            let expected = [&code.code().to_be_bytes(), cut(&reason, 123).as_bytes()].concat();
            assert_eq!(self.closed, Some(expected), "the WebSocket's close frame says the same: {code}, {reason}");
        }
        (code, reason)
    }
}

/// Masked, in one frame.
pub(crate) fn web_socket_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    if payload.len() < 126 {
        bytes.push(0x80 | u8::try_from(payload.len()).unwrap());
    } else if let Ok(len) = u16::try_from(payload.len()) {
        bytes.push(0x80 | 126);
        bytes.extend_from_slice(&len.to_be_bytes());
    } else {
        bytes.push(0x80 | 127);
        bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
