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

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::Rng;
    use wire::tcp::PREAMBLE;

    const MAX: usize = 100;
    /// The longest header of a frame: that of a WebSocket with a 64-bit length.
    const HEADER_MAX: usize = 14;
    /// A ping or a close of a WebSocket may be longer than a frame of this test.
    const PAYLOAD_MAX: usize = 125;

    fn below(rng: &mut Rng, bound: usize) -> usize {
        usize::try_from(rng.below(bound as u64)).unwrap()
    }

    fn byte(rng: &mut Rng) -> u8 {
        rng.below(256).to_le_bytes()[0]
    }

    /// Some frames of random bytes, mostly right, and then mostly with a few bytes that are not.
    fn noise(is_tcp: bool, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = if is_tcp { PREAMBLE.to_vec() } else { Vec::new() };
        for _ in 0..below(rng, 6) {
            let len = if rng.below(50) == 0 { MAX + below(rng, 3) } else { below(rng, 20) };
            if is_tcp {
                bytes.extend(u32::try_from(len).unwrap().to_le_bytes());
            } else {
                let first = *rng.pick(&[0x82, 0x82, 0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]).unwrap();
                bytes.extend([first, 0x80 | u8::try_from(len).unwrap(), byte(rng), byte(rng), byte(rng), byte(rng)]);
            }
            bytes.extend((0..len).map(|_| byte(rng)));
        }
        for _ in 0..below(rng, 3) {
            let place = below(rng, bytes.len() + 1);
            bytes.splice(place..(place + below(rng, 3)).min(bytes.len()), [byte(rng)]);
        }
        bytes
    }

    /// What comes of bytes that arrive in these pieces: each frame, and why there are no more.
    fn read<'a>(is_tcp: bool, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<&'static str>) {
        let mut reader = Reader::new(match is_tcp {
            true => Transport::Tcp(TcpReader::new(MAX)),
            false => Transport::WebSocket(WebSocketReader::new(MAX)),
        });
        let mut found = Vec::new();
        for piece in pieces {
            let result = reader.read(&mut piece.to_vec(), &mut |read| {
                found.push(match read {
                    Read::Frame(bytes) => {
                        assert!(bytes.len() <= MAX);
                        [b"frame ", bytes].concat()
                    }
                    Read::Ping(bytes) => [b"ping ", bytes].concat(),
                    Read::Pong => b"pong".to_vec(),
                    Read::Fragment => b"fragment".to_vec(),
                    Read::Close => b"close".to_vec(),
                });
                Ok(ControlFlow::Continue(()))
            });
            if let Err(bad) = result {
                return (found, Some(bad.cause));
            }
            assert!(reader.partial.len() < HEADER_MAX + PAYLOAD_MAX, "{} bytes are kept", reader.partial.len());
        }
        (found, None)
    }

    #[test]
    fn noise_is_read_alike_however_it_is_cut_and_hardly_any_is_kept() {
        let mut rng = Rng::new(6_455);
        for is_tcp in [true, false] {
            let (mut frames, mut refused) = (0, 0);
            for _ in 0..100_000 {
                let bytes = noise(is_tcp, &mut rng);
                let whole = read(is_tcp, std::iter::once(&*bytes));
                let mut rest = &*bytes;
                let pieces = std::iter::from_fn(|| {
                    let (piece, behind) = rest.split_at((1 + below(&mut rng, 30)).min(rest.len()));
                    rest = behind;
                    (!piece.is_empty()).then_some(piece)
                });
                assert_eq!(read(is_tcp, pieces), whole, "{bytes:02x?}");
                frames += whole.0.len();
                refused += usize::from(whole.1.is_some());
            }
            assert!(frames > 50_000 && refused > 10_000, "{frames} frames, {refused} refused");
        }
    }
}
