//! A connection as the rest of the engine sees it: where frames for it are put, and written from.
//!
//! Whoever has frames writes them, as far as the socket takes them at once; nobody waits. What is left stays in a queue
//! that is bounded, and the connection's task writes it when the socket is ready. A reader too slow for its queue is
//! closed.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::{CloseCode, EngineFrame, Header};

use crate::metrics::SessionMetrics;
use crate::sessions::bad::Bad;
use crate::sessions::{tcp, websocket};

/// Frames that are handed to the kernel by one call.
const FRAMES_PER_WRITE: usize = 32;
/// So much is copied together before it is: that costs less than to have the kernel gather it.
const COPIED_BYTES_MAX: usize = 1024;
/// The longest header of a WebSocket frame that a server sends, and that of the protocol.
const HEAD_BYTES_MAX: usize = 10 + Header::BYTES;
/// What a frame in a queue takes beside its payload, which may be shared.
const QUEUED_BYTES: usize = size_of::<Out>();

/// How frames are delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Tcp,
    WebSocket,
}

/// A frame on its way out.
#[derive(Debug, Clone)]
pub(crate) enum Out {
    /// The header is the receiver's own, the payload may be everybody's.
    Frame { header: [u8; Header::BYTES], payload: Arc<[u8]> },
    /// Bytes of the transport itself.
    Raw(Arc<[u8]>),
}

impl Out {
    pub(crate) fn new(header: Header, frame: &EngineFrame<'_>) -> Out {
        let mut bytes = Vec::new();
        frame.encode(header, &mut bytes);
        let (header, payload) = bytes.split_first_chunk().expect("a frame has a header");
        Out::Frame { header: *header, payload: payload.into() }
    }

    /// The kind of a frame, 0 for what is none.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Out::Frame { header, .. } => header[0],
            Out::Raw(_) => 0,
        }
    }

    /// What it counts for in a queue.
    pub(crate) fn bytes(&self) -> usize {
        QUEUED_BYTES + self.payload().len()
    }

    fn payload(&self) -> &[u8] {
        match self {
            Out::Frame { payload, .. } => payload,
            Out::Raw(bytes) => bytes,
        }
    }

    /// Writes what goes before the payload.
    fn head(&self, framing: Framing, to: &mut [u8; HEAD_BYTES_MAX]) -> usize {
        let Out::Frame { header, payload } = self else { return 0 };
        let bytes = Header::BYTES + payload.len();
        let prefix = match framing {
            Framing::Tcp => tcp::prefix(bytes, to),
            Framing::WebSocket => websocket::prefix(bytes, to),
        };
        to[prefix..prefix + Header::BYTES].copy_from_slice(header);
        prefix + Header::BYTES
    }
}

/// The shared half of a connection; its task has the other one. Every method may be called from any thread.
#[derive(Debug)]
pub(crate) struct Link {
    /// Written to without waiting. The connection's task waits for it where that must be.
    stream: Arc<TcpStream>,
    framing: Framing,
    queue_bytes_max: usize,
    queue: Mutex<Queue>,
    /// For the task: there is something to write, the connection is closed, or reading may go on.
    pub(super) woken: Notify,
    /// Bytes that were read and that the room has not worked off.
    in_room: AtomicUsize,
    rtt_us: AtomicU32,
    metrics: Arc<SessionMetrics>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Out>,
    bytes: usize,
    /// How much of the first frame is written, its head included.
    written: usize,
    /// Of the last frame from the room: what the connection itself says is stamped with it, too.
    header: Header,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The last frame is in the queue.
    Closed,
    /// The socket is of no use any more.
    Broken,
}

/// What the task of a connection has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Wait until the socket takes more.
    Write,
    /// As `Write`, and then no more.
    WriteLast,
    End,
}

impl Link {
    pub(super) fn new(
        stream: Arc<TcpStream>,
        framing: Framing,
        queue_bytes_max: usize,
        metrics: Arc<SessionMetrics>,
    ) -> Arc<Link> {
        Arc::new(Link {
            stream,
            framing,
            queue_bytes_max,
            queue: Mutex::default(),
            woken: Notify::new(),
            in_room: AtomicUsize::new(0),
            rtt_us: AtomicU32::new(0),
            metrics,
        })
    }

    /// A connection that is nobody's, for the tests of rooms.
    #[cfg(test)]
    pub(crate) fn to(stream: tokio::net::TcpStream, metrics: Arc<SessionMetrics>) -> Arc<Link> {
        let stream = stream.into_std().expect("it is a socket");
        Link::new(Arc::new(stream), Framing::Tcp, 1 << 20, metrics)
    }

    /// Sends frames of the room, and then perhaps ends the connection. What comes after its end is dropped.
    pub(crate) fn deliver(&self, frames: Vec<Out>, ending: Option<&Bad>) {
        self.send(|queue| {
            if let Some(Out::Frame { header, .. }) = frames.last() {
                queue.header = Header::of(header);
            }
            queue.append(frames);
            if let Some(bad) = ending {
                self.push_ending(queue, bad);
            }
        });
    }

    /// Sends a frame of the connection itself.
    pub(super) fn say(&self, frame: &EngineFrame<'_>) {
        self.send(|queue| queue.push(Out::new(queue.header, frame)));
    }

    fn send(&self, push: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue.lock();
        if queue.state != State::Open {
            return;
        }
        let before = queue.frames.len();
        push(&mut queue);
        self.metrics.frames_sent.inc_by((queue.frames.len() - before) as u64);
        self.write_some(&mut queue);
        if queue.state == State::Open && queue.is_above(self.queue_bytes_max) {
            self.overflow(&mut queue);
        }
        let is_left = !queue.frames.is_empty() || queue.state != State::Open;
        drop(queue);
        if is_left {
            self.woken.notify_one();
        }
    }

    /// Ends the connection.
    pub(crate) fn close(&self, bad: &Bad) {
        self.send(|queue| self.push_ending(queue, bad));
    }

    /// Answers a WebSocket's ping.
    pub(super) fn pong(&self, payload: &[u8]) {
        self.send(|queue| queue.push(Out::Raw(websocket::pong(payload).into())));
    }

    /// Answers a WebSocket's close frame.
    pub(super) fn close_back(&self) {
        self.send(|queue| {
            queue.push(Out::Raw(websocket::close(CloseCode::Left, "").into()));
            queue.state = State::Closed;
        });
    }

    fn push_ending(&self, queue: &mut Queue, bad: &Bad) {
        self.metrics.count_close(bad);
        queue.push(Out::new(queue.header, &EngineFrame::Closing { code: bad.code, reason: &bad.reason }));
        if self.framing == Framing::WebSocket {
            queue.push(Out::Raw(websocket::close(bad.code, &bad.reason).into()));
        }
        queue.state = State::Closed;
    }

    /// Drops what the reader is too slow for, but for a frame that it has a part of.
    fn overflow(&self, queue: &mut Queue) {
        let reason =
            format!("{} bytes wait, which is more than {} (queue_bytes_max)", queue.bytes, self.queue_bytes_max);
        queue.frames.truncate(usize::from(queue.written > 0));
        queue.bytes = queue.frames.iter().map(Out::bytes).sum();
        self.push_ending(queue, &Bad::new(CloseCode::SlowReader, "slow-reader", reason));
    }

    /// Writes what the socket takes at once.
    pub(super) fn write(&self) {
        self.write_some(&mut self.queue.lock());
    }

    fn write_some(&self, queue: &mut Queue) {
        while !queue.frames.is_empty() && queue.state != State::Broken {
            match self.write_once(queue) {
                Ok(0) => queue.state = State::Broken,
                Ok(written) => queue.advance(written, self.framing),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => queue.state = State::Broken,
            }
        }
        if queue.state == State::Broken {
            queue.frames.clear();
        }
        // An idle connection holds no memory for what it once was sent.
        queue.frames = VecDeque::new();
        queue.bytes = 0;
    }

    fn write_once(&self, queue: &Queue) -> io::Result<usize> {
        self.metrics.socket_writes.inc();
        let mut copied = [0; COPIED_BYTES_MAX];
        match queue.copy(self.framing, &mut copied) {
            Some(bytes) => self.stream.as_ref().write(&copied[queue.written..bytes]),
            None => self.write_gathered(queue),
        }
    }

    fn write_gathered(&self, queue: &Queue) -> io::Result<usize> {
        let mut heads = [[0; HEAD_BYTES_MAX]; FRAMES_PER_WRITE];
        let mut lens = [0; FRAMES_PER_WRITE];
        let count = queue.frames.len().min(FRAMES_PER_WRITE);
        for (frame, (head, len)) in queue.frames.iter().zip(heads.iter_mut().zip(&mut lens)) {
            *len = frame.head(self.framing, head);
        }
        let mut slices = [IoSlice::new(&[]); 2 * FRAMES_PER_WRITE];
        for (number, frame) in queue.frames.iter().take(count).enumerate() {
            slices[2 * number] = IoSlice::new(&heads[number][..lens[number]]);
            slices[2 * number + 1] = IoSlice::new(frame.payload());
        }
        let mut slices = &mut slices[..2 * count];
        IoSlice::advance_slices(&mut slices, queue.written);
        self.stream.as_ref().write_vectored(slices)
    }

    pub(super) fn due(&self) -> Due {
        let queue = self.queue.lock();
        match (queue.state, queue.frames.is_empty()) {
            (State::Broken, _) | (State::Closed, true) => Due::End,
            (State::Closed, false) => Due::WriteLast,
            (State::Open, true) => Due::Nothing,
            (State::Open, false) => Due::Write,
        }
    }

    /// What a message of so many bytes counts for while it waits in a room.
    pub(crate) fn cost(message_bytes: usize) -> usize {
        MESSAGE_BYTES + message_bytes
    }

    /// The room is given so many bytes to work off.
    pub(crate) fn gave(&self, bytes: usize) {
        self.in_room.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the room was given and has not worked off.
    pub(crate) fn in_room_bytes(&self) -> usize {
        self.in_room.load(Ordering::Relaxed)
    }

    /// The room has worked so many bytes off.
    pub(crate) fn worked_off(&self, bytes: usize) {
        let before = self.in_room.fetch_sub(bytes, Ordering::Relaxed);
        if before > IN_ROOM_BYTES_MAX && before - bytes <= IN_ROOM_BYTES_MAX {
            self.woken.notify_one();
        }
    }

    /// Whether the room has as much to work off as one connection may give it.
    pub(super) fn is_room_behind(&self) -> bool {
        self.in_room_bytes() > IN_ROOM_BYTES_MAX
    }

    pub(super) fn set_rtt_us(&self, rtt_us: u32) {
        self.rtt_us.store(rtt_us, Ordering::Relaxed);
    }

    /// The last round trip; 0 before the first.
    pub(crate) fn rtt_us(&self) -> u32 {
        self.rtt_us.load(Ordering::Relaxed)
    }
}

/// Bytes of messages, and of what they take beside, that wait in a room for one connection. Above it nothing more is
/// read from the socket, and the client's own sending is held up.
const IN_ROOM_BYTES_MAX: usize = 256 << 10;
/// What a message takes beside its bytes.
const MESSAGE_BYTES: usize = 64;

impl Queue {
    fn append(&mut self, frames: Vec<Out>) {
        self.bytes += frames.iter().map(Out::bytes).sum::<usize>();
        if self.frames.is_empty() {
            // In the memory that they are in.
            self.frames = frames.into();
        } else {
            self.frames.extend(frames);
        }
    }

    fn push(&mut self, frame: Out) {
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
    }

    /// Whether more waits behind the frame under way than may. A frame alone may be longer: else it could never be sent.
    fn is_above(&self, bytes_max: usize) -> bool {
        let under_way = self.frames.front().map_or(0, Out::bytes);
        self.frames.len() > 2 && self.bytes.saturating_sub(under_way) > bytes_max
    }

    /// Writes all frames one behind the other; `None` if they are longer than that.
    fn copy(&self, framing: Framing, to: &mut [u8; COPIED_BYTES_MAX]) -> Option<usize> {
        let mut end = 0;
        let mut head = [0; HEAD_BYTES_MAX];
        for frame in &self.frames {
            let head_bytes = frame.head(framing, &mut head);
            for bytes in [&head[..head_bytes], frame.payload()] {
                to.get_mut(end..end + bytes.len())?.copy_from_slice(bytes);
                end += bytes.len();
            }
        }
        Some(end)
    }

    fn advance(&mut self, mut written: usize, framing: Framing) {
        written += self.written;
        while let Some(frame) = self.frames.front() {
            let len = frame.head(framing, &mut [0; HEAD_BYTES_MAX]) + frame.payload().len();
            if written < len {
                break;
            }
            written -= len;
            self.bytes = self.bytes.saturating_sub(frame.bytes());
            self.frames.pop_front();
        }
        self.written = written;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_copied_whole() {
        let header = [7; Header::BYTES];
        let payload: Arc<[u8]> = vec![8; 900].into();
        let mut queue = Queue::default();
        queue.append(vec![Out::Frame { header, payload }, Out::Raw(vec![9; 5].into())]);
        let mut to = [0; COPIED_BYTES_MAX];
        let bytes = queue.copy(Framing::Tcp, &mut to).unwrap();
        let mut head = [0; HEAD_BYTES_MAX];
        let head_bytes = queue.frames[0].head(Framing::Tcp, &mut head);
        assert_eq!(to[..bytes], [&head[..head_bytes], &[8; 900], &[9; 5]].concat());
        queue.push(Out::Raw(vec![0; COPIED_BYTES_MAX].into()));
        assert_eq!(queue.copy(Framing::Tcp, &mut to), None);
    }

    #[test]
    fn a_frame_above_the_limit_may_be_under_way_or_next() {
        let frame = |bytes: usize| Out::Raw(vec![0; bytes].into());
        let mut queue = Queue::default();
        queue.push(frame(5000));
        assert!(!queue.is_above(1000), "it is alone");
        queue.push(frame(5000));
        assert!(!queue.is_above(1000), "it is alone behind the one under way");
        queue.push(frame(1));
        assert!(queue.is_above(1000));
        queue.advance(5000, Framing::Tcp);
        queue.push(frame(1));
        assert!(!queue.is_above(1000), "what waits behind the long one is short");
        queue.push(frame(1000));
        assert!(queue.is_above(1000));
    }
}
