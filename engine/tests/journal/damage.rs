//! Cuts, lost sectors and flipped bits: what may have been a write that never reached the disk is cut off, all else is refused.

use engine::journal::frame::{
    FRAME_HEAD_BYTES, Position, SECTOR_BYTES, SEGMENT_HEAD_BYTES, SegmentHead, is_torn, read_frame,
};
use engine::journal::log::Log;
use engine::journal::segments::{Damage, ENGINE, Segments};
use engine::journal::snapshots;
use logic_api::prelude::{Logic, World, logic};
use logic_api::{PlayerId, Rng};
use room::{Outbox, Pool, RECORD_FORMAT, RECORD_FORMAT_OLDEST, Room, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disk::MemoryDisk;
use crate::support::{Plain, append, batch, create, found, linked, read_all, records, segment};

const ROOMY: u64 = 1 << 30;

/// The records that a damaged journal still has, and that it can be added to.
#[track_caller]
fn check_usable(bytes: Vec<u8>, expected: &[Plain]) {
    let disk = MemoryDisk::default();
    disk.put(&crate::support::folder().join("00000000000000000001.journal"), bytes);
    let was = found(&disk).unwrap().unwrap();
    assert_eq!(read_all(&disk, &was), expected);
    let mut again = Segments::resume(Arc::new(disk.clone()), &was, ROOMY).unwrap();
    let more = records(&mut Rng::new(9), 1, 100);
    append(&mut again, &more).unwrap();
    let now = found(&disk).unwrap().unwrap();
    assert_eq!(now.torn, None);
    assert_eq!(read_all(&disk, &now), [expected, &more].concat());
}

/// Whether they are in frames of their own, in one, or in a few: a frame is there or it is not.
#[test]
fn the_last_three_records_cut_at_every_byte_leave_the_frames_before() {
    for sizes in [&[1; 12][..], &[9, 3], &[3, 3, 3, 2, 1], &[5, 4, 1, 2]] {
        let (disk, mut rng) = (MemoryDisk::default(), Rng::new(1));
        let mut log = create(&disk, ROOMY);
        let all = records(&mut rng, 12, 700);
        let mut frames = Vec::new();
        for size in sizes {
            let first = frames.last().map_or(0, |(_, last)| *last);
            append(&mut log, &all[first..first + size]).unwrap();
            frames.push((disk.bytes(&segment(&disk)).len(), first + size));
        }
        let bytes = disk.bytes(&segment(&disk));
        let ends_before = frames.iter().filter(|(_, last)| *last <= 9);
        for len in ends_before.map(|(end, _)| *end).next_back().unwrap()..=bytes.len() {
            let whole = frames.iter().rev().find(|(end, _)| *end <= len).unwrap().1;
            assert!(whole >= 9);
            check_usable(bytes[..len].to_vec(), &all[..whole]);
        }
        // A head that is not whole has never had its name.
        assert!(SegmentHead::decode(&bytes[..SEGMENT_HEAD_BYTES - 1]).is_err());
    }
}

#[test]
fn any_subset_of_the_last_writes_sectors_leaves_the_records_before_it() {
    for seed in 0..12 {
        let (disk, mut rng) = (MemoryDisk::default(), Rng::new(seed));
        let mut log = create(&disk, ROOMY);
        let before = records(&mut rng, 5, 300);
        append(&mut log, &before).unwrap();
        let start = disk.bytes(&segment(&disk)).len();
        // One write, of one frame or of a few.
        let last = records(&mut rng, 6, 900);
        let size = [1, 2, 3, 6][seed as usize % 4];
        last.chunks(size).for_each(|records| log.append(&mut batch(records)));
        log.write().unwrap();
        let bytes = disk.bytes(&segment(&disk));
        let first = start / SECTOR_BYTES;
        let sectors = (bytes.len().div_ceil(SECTOR_BYTES) - first).min(9);
        for subset in 0u32..1 << sectors {
            let mut torn = bytes.clone();
            for sector in (0..sectors).filter(|sector| subset >> sector & 1 == 0) {
                let at = ((first + sector) * SECTOR_BYTES).max(start);
                let end = ((first + sector + 1) * SECTOR_BYTES).min(bytes.len());
                torn[at..end].fill(0);
            }
            let was = {
                let disk = MemoryDisk::default();
                disk.put(&crate::support::folder().join("00000000000000000001.journal"), torn.clone());
                read_all(&disk, &found(&disk).unwrap().unwrap())
            };
            let all = [&before[..], &last[..]].concat();
            assert!(was.len() >= before.len() && all.starts_with(&was), "seed {seed}, subset {subset:b}");
            assert!((was.len() - before.len()).is_multiple_of(size), "a frame is there or it is not");
            assert!(was.len() == all.len() || subset + 1 < 1 << sectors, "nothing was lost");
            check_usable(torn.clone(), &was);
            // The same, and the length was not noted either.
            let kept = torn.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).max(start);
            check_usable(torn[..kept].to_vec(), &was);
        }
    }
}

/// A later frame says that this one was on the disk, with a head that is all that there is of it.
#[test]
fn a_hole_in_what_was_synced_is_damage_however_short_the_rest_is() {
    let (disk, mut rng) = (MemoryDisk::default(), Rng::new(2));
    let mut log = create(&disk, ROOMY);
    append(&mut log, &records(&mut rng, 3, 300)).unwrap();
    let (start, position) = (disk.bytes(&segment(&disk)).len(), log.position());
    append(&mut log, &[(6, 1, vec![1; 1500])]).unwrap();
    (log.sync_task().unwrap().run)().unwrap();
    log.synced(log.position().seq);
    let next = disk.bytes(&segment(&disk)).len();
    append(&mut log, &[(6, 1, vec![1; 100])]).unwrap();
    let mut bytes = disk.bytes(&segment(&disk));
    let head = SegmentHead::decode(&bytes).unwrap();
    bytes[start..start.next_multiple_of(SECTOR_BYTES)].fill(0);
    for len in next..bytes.len() {
        // With less than its head nothing is known of the later one.
        let expected = len < next + FRAME_HEAD_BYTES;
        assert_eq!(is_torn(&bytes[..len], start, &head, position), expected, "{len} after {next}");
    }
}

#[test]
fn zeroes_after_the_last_record_are_no_damage() {
    let (disk, mut rng) = (MemoryDisk::default(), Rng::new(2));
    let mut log = create(&disk, ROOMY);
    let all = records(&mut rng, 4, 300);
    append(&mut log, &all).unwrap();
    let bytes = disk.bytes(&segment(&disk));
    for zeroes in [1, 55, 56, 300, 511, 512, 4096, 70_000] {
        check_usable([&bytes[..], &vec![0; zeroes]].concat(), &all);
    }
}

/// A journal of 64 KiB, each of its 524,288 bits flipped. What comes before the frame with the flipped bit is as it was, so the
/// frames are read from that one on.
#[test]
fn every_flipped_bit_is_noticed_and_never_taken_for_a_torn_end() {
    let (disk, mut rng) = (MemoryDisk::default(), Rng::new(3));
    let mut log = create(&disk, ROOMY);
    while disk.bytes(&segment(&disk)).len() < 64 << 10 {
        let more = records(&mut rng, 1 + rng_small(log.position()), 600);
        append(&mut log, &more).unwrap();
        if log.position().seq.is_multiple_of(3) {
            let task = log.sync_task().unwrap();
            (task.run)().unwrap();
            log.synced(task.seq);
        }
    }
    let mut bytes = disk.bytes(&segment(&disk));
    let head = SegmentHead::decode(&bytes).unwrap();
    for bit in 0..SEGMENT_HEAD_BYTES * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHead::decode(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let (mut at, mut position, mut flips) = (SEGMENT_HEAD_BYTES, head.after, SEGMENT_HEAD_BYTES * 8);
    while at < bytes.len() {
        let frame = read_frame(&bytes, at, &head, position).unwrap();
        for bit in at * 8..frame.end * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_frame(&bytes, at, &head, position).is_err(), "bit {bit} is not noticed");
            assert!(!is_torn(&bytes, at, &head, position), "bit {bit} is taken for a torn end");
            bytes[bit / 8] ^= 1 << (bit % 8);
            flips += 1;
        }
        (at, position) = (frame.end, frame.position);
    }
    assert_eq!(flips, bytes.len() * 8);
    assert!(flips >= 524_288);
}

fn rng_small(position: Position) -> u64 {
    position.hash % 4
}

#[test]
fn damage_refuses_the_room_and_changes_nothing() {
    let (disk, mut rng) = (MemoryDisk::default(), Rng::new(4));
    let mut log = create(&disk, 4096);
    for _ in 0..30 {
        append(&mut log, &records(&mut rng, 4, 300)).unwrap();
    }
    let paths = disk.paths();
    assert!(paths.len() > 3);
    for path in &paths {
        let sound = disk.bytes(path);
        for byte in (0..sound.len()).step_by(37) {
            let disk = disk.after_kill();
            let mut damaged = sound.clone();
            damaged[byte] ^= 0x10;
            disk.put(path, damaged.clone());
            let error = found(&disk).unwrap_err();
            assert!(matches!(error, Damage::Frame { .. } | Damage::Head { .. }), "{error}");
            let text = error.to_string();
            assert!(text.starts_with(path.to_str().unwrap()) && text.contains("/data/rooms/main"), "{text}");
            assert_eq!(disk.bytes(path), damaged);
        }
    }
    // A segment that is gone, and an end that is cut where it is not the last.
    let gone = disk.after_kill();
    engine::journal::files::Files::remove(&gone, &paths[1]).unwrap();
    assert!(found(&gone).unwrap_err().to_string().contains("was expected"));
    let cut = disk.after_kill();
    let bytes = cut.bytes(&paths[1]);
    cut.put(&paths[1], bytes[..bytes.len() - 7].to_vec());
    assert!(found(&cut).is_err());
}

/// Zeroes where a record was that is known to have been on the disk: not a write that was lost.
#[test]
fn a_hole_before_what_was_synced_is_damage() {
    let (disk, mut rng) = (MemoryDisk::default(), Rng::new(5));
    let mut log = create(&disk, ROOMY);
    append(&mut log, &records(&mut rng, 1, 10)).unwrap();
    append(&mut log, &[(6, 1, vec![1; 3000])]).unwrap();
    let task = log.sync_task().unwrap();
    (task.run)().unwrap();
    log.synced(task.seq);
    append(&mut log, &records(&mut rng, 1, 10)).unwrap();
    let mut bytes = disk.bytes(&segment(&disk));
    bytes[1024..1536].fill(0);
    disk.put(&segment(&disk), bytes);
    assert!(matches!(found(&disk), Err(Damage::Frame { .. })));
}

/// An engine that wrote other frames is named, so that it can be started.
#[test]
fn a_journal_of_another_format_is_refused_by_its_head() {
    let disk = MemoryDisk::default();
    drop(create(&disk, ROOMY));
    let path = segment(&disk);
    let mut bytes = disk.bytes(&path);
    bytes[8..10].copy_from_slice(&1u16.to_le_bytes());
    let checked = SEGMENT_HEAD_BYTES - 4;
    let checksum = crc32c::crc32c(&bytes[..checked]);
    bytes[checked..SEGMENT_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    disk.put(&path, bytes.clone());
    let expected = format!(
        "/data/rooms/main/00000000000000000001.journal has journal format 1 and record format {RECORD_FORMAT}, written \
         by {ENGINE}; this engine reads journal format 2 and record formats {RECORD_FORMAT_OLDEST} to {RECORD_FORMAT}: start the engine that wrote it, or move /data/rooms/main aside to \
         do without the room"
    );
    assert_eq!(found(&disk).unwrap_err().to_string(), expected);
    assert_eq!(disk.bytes(&path), bytes);
}

/// An engine of before, whose records are read still; those that come after are not of that format.
#[test]
fn a_journal_of_an_older_record_format_is_gone_on_with_in_a_segment_of_its_own() {
    for records in [0, 3] {
        let disk = MemoryDisk::default();
        let mut log = create(&disk, ROOMY);
        let all = crate::support::records(&mut Rng::new(5), records + 1, 20);
        let (old, new) = all.split_at(all.len() - 1);
        if !old.is_empty() {
            append(&mut log, old).unwrap();
        }
        drop(log);
        let path = segment(&disk);
        let mut bytes = disk.bytes(&path);
        bytes[10..12].copy_from_slice(&RECORD_FORMAT_OLDEST.to_le_bytes());
        let checked = SEGMENT_HEAD_BYTES - 4;
        let checksum = crc32c::crc32c(&bytes[..checked]);
        bytes[checked..SEGMENT_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
        disk.put(&path, bytes);
        let before = found(&disk).unwrap().unwrap();
        assert_eq!(before.head().record_format, RECORD_FORMAT_OLDEST);
        let mut log = Segments::resume(Arc::new(disk.clone()), &before, ROOMY).unwrap();
        append(&mut log, new).unwrap();
        drop(log);
        let after = found(&disk).unwrap().unwrap();
        assert_eq!(crate::support::read_all(&disk, &after), all);
        assert_eq!((after.first().seq, after.head().record_format), (0, RECORD_FORMAT));
        // One without records is replaced.
        let segments = disk.paths().iter().filter(|path| path.extension().is_some_and(|is| is == "journal")).count();
        assert_eq!(segments, if records == 0 { 1 } else { 2 });
    }
}

#[test]
fn a_new_room_is_not_made_where_another_one_is() {
    let disk = MemoryDisk::default();
    drop(create(&disk, ROOMY));
    let again = Segments::create(Arc::new(disk.clone()), &crate::support::folder(), "main", [9, 10], ROOMY);
    assert_eq!(again.unwrap_err().to_string(), "making a room in /data/rooms/main failed: it has a journal already");
    assert_eq!(found(&disk).unwrap().unwrap().head().room, 7);
}

#[derive(World)]
struct Nothing {}

#[logic(linked)]
impl Logic for Nothing {}

/// In its head, in the leaves that it knows of, and in the room.
#[test]
fn every_bit_of_a_snapshot_is_noticed() {
    let (disk, mut unheard) = (MemoryDisk::default(), Outbox::new());
    let stamp = Stamp { now_us: 1, seed: 1 };
    let mut room = Room::create("main", linked::<Nothing>(), &Pool::new(), stamp, b"", &mut unheard).unwrap();
    let leaving = BTreeMap::from([(PlayerId(3), Arc::from("left")), (PlayerId(9), Arc::from("kicked"))]);
    let (position, mut image) = (Position { seq: 1, hash: 2 }, room.image().unwrap());
    let (of, mut sound) = ((7, position, leaving.clone()), BTreeSet::new());
    snapshots::write(&disk, &crate::support::folder(), of, &mut image, &|| false, &mut sound).unwrap();
    let path = snapshots::list(&disk, &crate::support::folder()).unwrap().remove(0).path;
    assert_eq!(snapshots::check(&disk, &path).unwrap().leaving, leaving);
    let sound = disk.bytes(&path);
    for bit in 0..8 * sound.len() {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        disk.put(&path, bytes);
        let error = snapshots::check(&disk, &path).expect_err("a bit has flipped");
        assert!(snapshots::is_damage(&error), "bit {bit}: {error}");
    }
}
