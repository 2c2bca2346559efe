//! Rooms as bytes: what is read goes on as what was written, and what is damaged is refused.

use crate::game::{New, Old, order};
use crate::support::{Driver, join, linked};
use logic_api::{PlayerId, Rng};
use room::{Input, LogicVersion, Pool, Room, SnapshotError, VersionMark, check_snapshot};
use std::sync::Arc;

/// The version with this mark, if it is the one that is linked in.
fn only(logic: &Arc<LogicVersion>) -> impl FnOnce(&VersionMark) -> Result<Arc<LogicVersion>, String> {
    let logic = logic.clone();
    move |mark| if *mark == logic.mark() { Ok(logic) } else { Err("it is another".to_owned()) }
}

fn bytes_of(room: &mut Room) -> Vec<u8> {
    let mut bytes = Vec::new();
    room.image().expect("no swap is on trial").write(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8], pool: &Pool, logic: &Arc<LogicVersion>) -> Result<Room, SnapshotError> {
    Room::from_snapshot(&mut &*bytes, pool, only(logic))
}

/// The room as it comes out of its bytes.
pub(crate) fn restored(room: &mut Room, pool: &Pool) -> Room {
    let bytes = bytes_of(room);
    check_snapshot(&mut &*bytes).unwrap();
    let mut again = read(&bytes, pool, &room.logic().clone()).unwrap();
    assert_eq!(again.state_hash(), room.state_hash());
    assert_eq!((again.name(), again.tick(), again.seq()), (room.name(), room.tick(), room.seq()));
    assert_eq!((again.now_us(), again.frozen()), (room.now_us(), room.frozen()));
    assert_eq!(bytes_of(&mut again), bytes, "the same room has the same bytes");
    again
}

/// A room with players, texts, timers and a hole in a table.
fn room() -> Driver {
    let mut room = Driver::new::<Old>();
    (1..=4).for_each(|player| drop(room.must(join(player))));
    for (what, number) in [(order::NOTE, 40), (order::TIMER, 9), (order::ADD, 3)] {
        room.must(Input::Message { player: PlayerId(2), number: 0, bytes: [what, number, 1].into() });
    }
    room.must(Input::Leave { player: PlayerId(1), reason: "left".into() });
    room
}

#[test]
fn a_room_from_bytes_goes_on_as_the_one_before() {
    let mut one = room();
    let mut two =
        Driver { room: restored(&mut one.room, &Pool::new()), outbox: room::Outbox::new(), inputs: one.inputs };
    for number in 0..30u8 {
        let inputs = [join(10 + u64::from(number)), Input::Tick, crate::support::signal("panic")];
        for input in inputs {
            assert_eq!(one.step(input.clone()), two.step(input));
            assert_eq!(one.outputs(), two.outputs());
            assert_eq!(one.hash(), two.hash());
        }
    }
}

#[test]
fn a_frozen_room_comes_back_frozen() {
    let mut room = room();
    room.must(Input::Message { player: PlayerId(2), number: 0, bytes: [order::BOMB, 1, 0].into() });
    room.fault(Input::Tick);
    assert!(restored(&mut room.room, &Pool::new()).frozen().is_some());
}

#[test]
fn a_room_whose_swap_may_be_undone_has_no_image() {
    let mut room = room();
    room.must(Input::swap(linked::<New>()));
    assert!(room.room.image().is_none());
    room.must(Input::Confirm);
    assert!(room.room.image().is_some());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (mut room, pool) = (room(), Pool::new());
    let bytes = bytes_of(&mut room.room);
    let logic = room.room.logic().clone();
    let step = if cfg!(miri) { 997 } else { 1 };
    for bit in (0..bytes.len() * 8).step_by(step) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped, &pool, &logic).is_err(), "bit {bit} is not noticed");
        assert!(check_snapshot(&mut &*flipped).is_err(), "bit {bit} is not noticed by the check");
    }
    for len in (0..bytes.len()).step_by(step) {
        assert!(read(&bytes[..len], &pool, &logic).is_err(), "a cut at {len} is not noticed");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(read(&longer, &pool, &logic).is_err() && check_snapshot(&mut &*longer).is_err());
}

/// Content that nobody wrote, under checksums that fit: as long as the last check is the state hash, nothing else may crash.
#[test]
fn content_that_was_made_up_is_refused() {
    let (mut room, pool) = (room(), Pool::new());
    let bytes = bytes_of(&mut room.room);
    let logic = room.room.logic().clone();
    let mut rng = Rng::new(1);
    let tries = if cfg!(miri) { 3 } else { 3000 };
    for _ in 0..tries {
        let mut made_up = bytes.clone();
        let blocks = blocks(&made_up);
        let (start, len) = blocks[usize::try_from(rng.below(blocks.len() as u64)).unwrap()];
        for _ in 0..=rng.below(3) {
            let at = start + 8 + usize::try_from(rng.below(len as u64)).unwrap();
            made_up[at] = rng.next_u64() as u8;
        }
        let checksum = crc32c::crc32c(&made_up[start..start + 8 + len]);
        made_up[start + 8 + len..][..4].copy_from_slice(&checksum.to_le_bytes());
        if made_up != bytes {
            assert!(read(&made_up, &pool, &logic).is_err());
            // Nor are tables believed that no code answers for.
            assert!(Room::from_snapshot(&mut &*made_up, &pool, |_| Err("gone".into())).is_err());
        }
    }
}

/// Where each block starts, and how long its content is.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut blocks) = (10, Vec::new());
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        blocks.push((at, len));
        at += len + 12;
    }
    blocks
}

#[test]
fn another_version_another_format_and_no_snapshot_are_told() {
    let (mut room, pool) = (room(), Pool::new());
    let bytes = bytes_of(&mut room.room);
    let refused = |bytes: &[u8], logic: &Arc<LogicVersion>| read(bytes, &pool, logic).unwrap_err().to_string();
    let without_code = read(&bytes, &pool, &linked::<New>()).unwrap();
    assert_eq!(without_code.logic().gone_because(), Some("it is another"));
    let mut other = bytes.clone();
    other[8] = 9;
    assert_eq!(refused(&other, room.room.logic()), "the snapshot has format 9, this engine reads 1");
    assert_eq!(refused(b"{}", room.room.logic()), "this is no snapshot of a room");
    let text = refused(&bytes[..bytes.len() - 1], room.room.logic());
    assert!(text.starts_with("the snapshot is damaged in the block at byte "), "{text}");
}
