//! What a snapshot's file says before the snapshot itself: of which room and place it is, and who has left without the room having
//! heard of it, which the world does not know.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use crc32c::crc32c;
use logic_api::PlayerId;
use room::limits::PLAYERS_MAX;
use wire::limits::cut;

use crate::journal::frame::Position;

const MAGIC: [u8; 8] = *b"HOTSFIL2";
/// Of engines whose snapshots waited for the leaves that waited: there is no list of them.
const MAGIC_WITHOUT_LEAVES: [u8; 8] = *b"HOTSFIL1";
/// What both begin with.
const COMMON_BYTES: usize = 8 + 8 + 8 + 8 + 32;
const CHECKSUM_BYTES: usize = 4;
/// The checksum, and before it the length of the list if there is one.
const REST_BYTES: usize = 4 + CHECKSUM_BYTES;

/// Of the reason of a leave that the room is still to hear of.
const LEAVE_REASON_BYTES_MAX: usize = 1024;
/// The most that the list of all players may have.
const LEAVES_BYTES_MAX: usize = 4 + PLAYERS_MAX * (8 + 4 + LEAVE_REASON_BYTES_MAX) + CHECKSUM_BYTES;

const _: () = assert!(LEAVES_BYTES_MAX <= u32::MAX as usize);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHead {
    /// As in the heads of segments.
    pub room: u64,
    /// The last record that is in it.
    pub position: Position,
    /// Of the plugin that ran the room.
    pub sha256: [u8; 32],
    /// Who has left, and why, though the room has not heard of it.
    pub leaving: BTreeMap<PlayerId, Arc<str>>,
}

/// As much of the reason of a leave as is kept: a logic may kick with one of any length.
pub fn kept_of_reason(reason: &Arc<str>) -> Arc<str> {
    let kept = cut(reason, LEAVE_REASON_BYTES_MAX);
    if kept.len() == reason.len() { Arc::clone(reason) } else { kept.into() }
}

impl SnapshotHead {
    pub fn encode(&self) -> Vec<u8> {
        let leaves = encode_leaves(&self.leaving);
        let mut out = MAGIC.to_vec();
        for number in [self.room, self.position.seq, self.position.hash] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.sha256);
        out.extend_from_slice(&length(leaves.len()));
        put_checksum(&mut out);
        out.extend(leaves);
        out
    }

    /// Reads a head, and leaves the reader where it ends.
    ///
    /// # Errors
    /// It cannot be read, or it is damaged.
    pub fn read(mut from: impl Read) -> io::Result<Self> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let (bad_head, bad_leaves) = ("its head is damaged", "its list of leaves is damaged");
        let mut head = [0; COMMON_BYTES + REST_BYTES];
        from.read_exact(&mut head[..COMMON_BYTES])?;
        let has_leaves = match &head[..8] {
            magic if magic == MAGIC => true,
            magic if magic == MAGIC_WITHOUT_LEAVES => false,
            _ => return Err(damaged(bad_head)),
        };
        let head = if has_leaves { &mut head[..] } else { &mut head[..COMMON_BYTES + CHECKSUM_BYTES] };
        from.read_exact(&mut head[COMMON_BYTES..])?;
        let content = checked(head).ok_or_else(|| damaged(bad_head))?;
        let number = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"));
        let (room, position) = (number(8), Position { seq: number(16), hash: number(24) });
        let sha256 = content[32..64].try_into().expect("32 bytes");
        let leaving = match content[COMMON_BYTES..].first_chunk() {
            None => BTreeMap::new(),
            Some(length) => {
                let length = u32::from_le_bytes(*length);
                if length as usize > LEAVES_BYTES_MAX {
                    return Err(damaged(bad_leaves));
                }
                decode_leaves(&read_leaves(from, length)?).ok_or_else(|| damaged(bad_leaves))?
            }
        };
        Ok(Self { room, position, sha256, leaving })
    }
}

fn encode_leaves(leaving: &BTreeMap<PlayerId, Arc<str>>) -> Vec<u8> {
    assert!(leaving.len() <= PLAYERS_MAX, "whoever is to leave is in the room");
    let mut out = length(leaving.len()).to_vec();
    for (player, reason) in leaving {
        assert!(reason.len() <= LEAVE_REASON_BYTES_MAX, "no more of it is kept");
        out.extend_from_slice(&player.0.to_le_bytes());
        out.extend_from_slice(&length(reason.len()));
        out.extend_from_slice(reason.as_bytes());
    }
    put_checksum(&mut out);
    out
}

/// Takes no more memory than there are bytes, whatever length is given.
fn read_leaves(from: impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut leaves = Vec::new();
    from.take(length.into()).read_to_end(&mut leaves)?;
    if leaves.len() < length as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(leaves) }
}

/// `None` if it is anything but what [`encode_leaves`] gives.
fn decode_leaves(bytes: &[u8]) -> Option<BTreeMap<PlayerId, Arc<str>>> {
    let (count, mut rest) = checked(bytes)?.split_first_chunk()?;
    let mut leaving = BTreeMap::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (player, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (reason, after) = after.split_at_checked(length).filter(|_| length <= LEAVE_REASON_BYTES_MAX)?;
        let player = PlayerId(u64::from_le_bytes(*player));
        if leaving.last_key_value().is_some_and(|(last, _)| *last >= player) {
            return None;
        }
        leaving.insert(player, std::str::from_utf8(reason).ok()?.into());
        rest = after;
    }
    (rest.is_empty() && leaving.len() <= PLAYERS_MAX).then_some(leaving)
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("within its limit").to_le_bytes()
}

fn put_checksum(out: &mut Vec<u8>) {
    let checksum = crc32c(out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What is before a checksum, if it is the right one.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    (crc32c(content).to_le_bytes() == *checksum).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(leaving: &[(u64, &str)]) -> SnapshotHead {
        let leaving = leaving.iter().map(|(player, reason)| (PlayerId(*player), Arc::from(*reason))).collect();
        SnapshotHead { room: 7, position: Position { seq: 17, hash: 0x1234 }, sha256: [5; 32], leaving }
    }

    /// As engines before wrote it.
    fn without_leaves(head: &SnapshotHead) -> Vec<u8> {
        let mut bytes = head.encode()[..COMMON_BYTES].to_vec();
        bytes[..8].copy_from_slice(&MAGIC_WITHOUT_LEAVES);
        put_checksum(&mut bytes);
        bytes
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], expected: &str) {
        assert_eq!(SnapshotHead::read(bytes).expect_err("it is refused").to_string(), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "x".repeat(LEAVE_REASON_BYTES_MAX);
        for leaving in [&[][..], &[(3, "left")], &[(0, ""), (3, "kickéd"), (u64::MAX, &long)]] {
            let head = head(leaving);
            let bytes = [head.encode(), b"the room".to_vec()].concat();
            let mut rest = &bytes[..];
            assert_eq!(SnapshotHead::read(&mut rest).unwrap(), head);
            assert_eq!(rest, b"the room");
        }
    }

    #[test]
    fn no_more_is_kept_of_a_reason_than_the_list_takes() {
        let short: Arc<str> = "left".into();
        assert!(Arc::ptr_eq(&kept_of_reason(&short), &short));
        // Two bytes each, so that there is none of the last one.
        let long = format!("x{}", "é".repeat(LEAVE_REASON_BYTES_MAX));
        let kept = kept_of_reason(&long.as_str().into());
        assert!(kept.len() == LEAVE_REASON_BYTES_MAX - 1 && long.starts_with(&*kept), "{}", kept.len());
    }

    #[test]
    fn one_of_an_older_engine_has_no_leaves() {
        let head = head(&[]);
        let bytes = [without_leaves(&head), b"the room".to_vec()].concat();
        let mut rest = &bytes[..];
        assert_eq!(SnapshotHead::read(&mut rest).unwrap(), head);
        assert_eq!(rest, b"the room");
    }

    #[test]
    fn every_bit_and_every_cut_is_noticed() {
        let head = head(&[(3, "left"), (9, "away for too long")]);
        for sound in [head.encode(), without_leaves(&head)] {
            for bit in 0..8 * sound.len() {
                let mut bytes = sound.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let error = SnapshotHead::read(&bytes[..]).expect_err("a bit has flipped");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "bit {bit}");
            }
            for len in 0..sound.len() {
                let error = SnapshotHead::read(&sound[..len]).expect_err("it is cut");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "at {len}");
            }
        }
    }

    /// Whatever its checksum says.
    #[test]
    fn a_list_that_no_engine_writes_is_refused() {
        let check = |count: u32, leaves: &[(u64, &[u8])], rest: &[u8]| {
            let mut list = count.to_le_bytes().to_vec();
            for (player, reason) in leaves {
                list.extend([&player.to_le_bytes()[..], &length(reason.len()), reason].concat());
            }
            list.extend(rest);
            put_checksum(&mut list);
            let mut bytes = head(&[]).encode()[..COMMON_BYTES].to_vec();
            bytes.extend(length(list.len()));
            put_checksum(&mut bytes);
            check_refused(&[bytes, list].concat(), "its list of leaves is damaged");
        };
        check(2, &[(1, b"left")], b"");
        check(0, &[(1, b"left")], b"");
        check(1, &[(1, b"left")], &[0]);
        check(2, &[(2, b"left"), (1, b"left")], b"");
        check(2, &[(1, b"left"), (1, b"left")], b"");
        check(1, &[(1, &[0xFF])], b"");
        check(1, &[(1, &[b'x'; LEAVE_REASON_BYTES_MAX + 1])], b"");
        check(1, &[], &[1, 2, 3]);
        // It says that it is longer than it may be, and nothing of that is read.
        let mut bytes = head(&[]).encode()[..COMMON_BYTES].to_vec();
        bytes.extend(length(LEAVES_BYTES_MAX + 1));
        put_checksum(&mut bytes);
        check_refused(&bytes, "its list of leaves is damaged");
        check_refused(&[&b"HOTSFIL3"[..], &[0; 100]].concat(), "its head is damaged");
    }
}
