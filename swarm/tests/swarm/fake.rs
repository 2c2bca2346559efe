//! An engine that is none: takes players over WebSocket and TCP, answers each message with its bytes, and makes the mistakes it
//! is told to, which it counts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tungstenite::{Message, WebSocket};
use wire::{ClientFrame, CloseCode, EngineFrame, Header, Joined};

/// What goes wrong with every message whose number, divided by ten, leaves this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// No echo.
    Lose,
    Duplicate,
    /// The echo comes after the next one.
    Overtake,
    Damage,
    /// An Error frame in place of the echo.
    Fail,
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// By the last digit of a message's number.
    pub(crate) faults: [Fault; 10],
    /// Players let in; the others are told that there is no place.
    pub(crate) seats: usize,
    /// What is added to the consumed input of every header that is sent after the message of this number.
    pub(crate) miscount: Option<(u32, i32)>,
    /// Cuts the first connection of each player when this message comes, and forgets the message.
    pub(crate) cut_at: Option<u32>,
    /// Closes the connection of each player with this code when this message comes.
    pub(crate) close_at: Option<(u32, CloseCode)>,
    /// Sends every frame back as it came.
    pub(crate) bare: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { faults: [Fault::None; 10], seats: usize::MAX, miscount: None, cut_at: None, close_at: None, bare: false }
    }
}

/// What happened, by the server's own count.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) overtaken: u64,
    pub(crate) damaged: u64,
    pub(crate) failed: u64,
    /// The messages of each player, in the order in which they were consumed.
    pub(crate) consumed: Vec<Vec<(u32, Vec<u8>)>>,
    pub(crate) hellos: Vec<Vec<u8>>,
    /// Those that were sent to a player who had this many unanswered.
    pub(crate) loads: Vec<String>,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl Fake {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (manners, seen) = (manners.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(stream.unwrap(), &manners, &seen));
            }
        });
        Self { address, seen }
    }

    /// The URLs of both transports.
    pub(crate) fn urls(&self) -> [String; 2] {
        [format!("ws://{}/ws", self.address), format!("tcp://{}", self.address)]
    }
}

enum Frames {
    WebSocket(Box<WebSocket<TcpStream>>),
    Tcp(TcpStream, Vec<u8>),
}

impl Frames {
    fn read(&mut self) -> Option<Vec<u8>> {
        match self {
            Frames::WebSocket(websocket) => loop {
                match websocket.read().ok()? {
                    Message::Binary(bytes) => return Some(bytes.to_vec()),
                    Message::Close(_) => return None,
                    _ => {}
                }
            },
            Frames::Tcp(stream, input) => loop {
                if let Some((frame, taken)) = wire::tcp::split(input) {
                    let frame = frame.to_vec();
                    input.drain(..taken);
                    return Some(frame);
                }
                let mut chunk = [0; 4096];
                match stream.read(&mut chunk).ok()? {
                    0 => return None,
                    read => input.extend_from_slice(&chunk[..read]),
                }
            },
        }
    }

    /// All of them leave together. Who has gone does not get them.
    fn write(&mut self, frames: &[Vec<u8>]) {
        match self {
            Frames::WebSocket(websocket) => {
                for frame in frames {
                    let _gone = websocket.write(Message::Binary(frame.clone().into()));
                }
                let _gone = websocket.flush();
            }
            Frames::Tcp(stream, _) => {
                let mut out = Vec::new();
                frames.iter().for_each(|frame| wire::tcp::frame(&mut out, |to| to.extend_from_slice(frame)));
                let _gone = stream.write_all(&out);
            }
        }
    }
}

fn serve(mut stream: TcpStream, manners: &Manners, seen: &Mutex<Seen>) {
    stream.set_nodelay(true).unwrap();
    let mut first = [0; 4];
    while stream.peek(&mut first).is_ok_and(|read| (1..4).contains(&read)) {}
    let mut frames = match &first {
        b"POST" => return load(stream, seen),
        b"GET " => match tungstenite::accept_hdr(stream, subprotocol) {
            Ok(websocket) => Frames::WebSocket(Box::new(websocket)),
            Err(_) => return,
        },
        preamble => {
            assert_eq!(*preamble, wire::tcp::PREAMBLE);
            stream.read_exact(&mut first).unwrap();
            Frames::Tcp(stream, Vec::new())
        }
    };
    if manners.bare {
        while let Some(frame) = frames.read() {
            frames.write(&[frame]);
        }
        return;
    }
    play(&mut frames, manners, seen);
}

#[expect(clippy::result_large_err, reason = "tungstenite's own type")]
fn subprotocol(
    request: &tungstenite::handshake::server::Request,
    mut response: tungstenite::handshake::server::Response,
) -> Result<tungstenite::handshake::server::Response, tungstenite::handshake::server::ErrorResponse> {
    let asked = request.headers()["sec-websocket-protocol"].clone();
    assert_eq!(asked, wire::SUBPROTOCOL);
    response.headers_mut().insert("sec-websocket-protocol", asked);
    Ok(response)
}

/// Takes every plugin but the one called bad.so.
fn load(mut stream: TcpStream, seen: &Mutex<Seen>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).unwrap() {
            0 => return,
            read => request.extend_from_slice(&chunk[..read]),
        }
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap();
    let name = target.strip_prefix("/load?name=").expect(target).replace("&confirm=1", "");
    let (status, body) =
        if name == "bad.so" { ("422 Unprocessable Content", "it is bad\n") } else { ("200 OK", "done\n") };
    seen.lock().unwrap().loads.push(name);
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).unwrap();
}

/// A player on a connection.
struct Seat {
    player: usize,
    consumed: u32,
    /// An echo that the next one is to overtake.
    held: Option<Vec<u8>>,
}

fn play(frames: &mut Frames, manners: &Manners, seen: &Mutex<Seen>) {
    let Some(first) = frames.read() else { return };
    let Some(mut seat) = sit_down(&first, manners, seen) else {
        return close(frames, Header::default(), CloseCode::NoPlace);
    };
    let resumed = matches!(ClientFrame::decode(&first), Ok(ClientFrame::Resume { .. }));
    let joined = EngineFrame::Joined(Joined {
        player: seat.player as u64 + 1,
        resumed,
        tick_hz: 20,
        version: 1001,
        version_name: "fake",
        room: "main",
        token: &seat.player.to_string(),
    });
    frames.write(&[encoded(Header { tick: 1, consumed: seat.consumed }, &joined)]);
    while let Some(frame) = frames.read() {
        match ClientFrame::decode(&frame).expect("a client's frame") {
            ClientFrame::Message { number, .. } if manners.cut_at == Some(number) && !resumed => return,
            ClientFrame::Message { number, bytes } => {
                if let Some((_, code)) = manners.close_at.filter(|(at, _)| *at == number) {
                    return close(frames, seat.header(manners), code);
                }
                let answers = seat.message(number, bytes, manners, &mut seen.lock().unwrap());
                frames.write(&answers);
            }
            ClientFrame::Ping(value) => frames.write(&[encoded(seat.header(manners), &EngineFrame::Pong(value))]),
            ClientFrame::Leave => break,
            other => panic!("not from a player who is in: {other:?}"),
        }
    }
    if seat.held.is_some() {
        seen.lock().unwrap().lost += 1;
    }
    close(frames, seat.header(manners), CloseCode::Left);
}

/// `None`: there is no place.
fn sit_down(first: &[u8], manners: &Manners, seen: &Mutex<Seen>) -> Option<Seat> {
    let mut seen = seen.lock().unwrap();
    match ClientFrame::decode(first).expect("a client's frame") {
        ClientFrame::Join { room, hello, .. } => {
            assert_eq!(room, "main");
            let player = seen.consumed.len();
            if player >= manners.seats {
                return None;
            }
            seen.consumed.push(Vec::new());
            seen.hellos.push(hello.to_vec());
            Some(Seat { player, consumed: 0, held: None })
        }
        ClientFrame::Resume { token } => {
            let player: usize = token.parse().expect("a token that was given");
            let consumed = seen.consumed[player].last().map_or(0, |(number, _)| *number);
            Some(Seat { player, consumed, held: None })
        }
        other => panic!("neither Join nor Resume: {other:?}"),
    }
}

impl Seat {
    fn header(&self, manners: &Manners) -> Header {
        let wrong = manners.miscount.filter(|(from, _)| self.consumed >= *from).map_or(0, |(_, by)| by);
        Header { tick: 1, consumed: self.consumed.saturating_add_signed(wrong) }
    }

    /// What goes back for a message.
    fn message(&mut self, number: u32, bytes: &[u8], manners: &Manners, seen: &mut Seen) -> Vec<Vec<u8>> {
        assert_eq!(number, self.consumed + 1, "numbers rise by one");
        self.consumed = number;
        seen.consumed[self.player].push((number, bytes.to_vec()));
        let header = self.header(manners);
        let echo = encoded(header, &EngineFrame::Message(bytes));
        let mut answers = match manners.faults[number as usize % 10] {
            Fault::None => vec![echo],
            Fault::Lose => {
                seen.lost += 1;
                Vec::new()
            }
            Fault::Duplicate => {
                seen.duplicated += 1;
                vec![echo.clone(), echo]
            }
            Fault::Overtake => {
                self.held = Some(echo);
                return Vec::new();
            }
            Fault::Damage => {
                seen.damaged += 1;
                let mut damaged = bytes.to_vec();
                *damaged.last_mut().unwrap() ^= 1;
                vec![encoded(header, &EngineFrame::Message(&damaged))]
            }
            Fault::Fail => {
                seen.failed += 1;
                let error = wire::InputError::Fault;
                vec![encoded(header, &EngineFrame::Error { error, number, text: "no" })]
            }
        };
        if let Some(held) = self.held.take() {
            seen.overtaken += 1;
            answers.push(held);
        }
        answers
    }
}

fn close(frames: &mut Frames, header: Header, code: CloseCode) {
    frames.write(&[encoded(header, &EngineFrame::Closing { code, reason: "because" })]);
    if let Frames::WebSocket(websocket) = frames {
        let frame = tungstenite::protocol::CloseFrame { code: code.code().into(), reason: "because".into() };
        let _gone = websocket.close(Some(frame));
        while websocket.read().is_ok() {}
    }
}

fn encoded(header: Header, frame: &EngineFrame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(header, &mut bytes);
    bytes
}
