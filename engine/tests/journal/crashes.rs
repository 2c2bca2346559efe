//! Random work on a journal, and a crash at a random moment, again and again: what was synced is there, in order, and what is
//! there is what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::journal::frame::Position;
use engine::journal::log::Log;
use engine::journal::segments::{Segments, remove_temporary};
use engine::journal::snapshots;
use logic_api::Rng;
use logic_api::prelude::{Logic, World, logic};
use room::{Input, Outbox, Pool, Room, Stamp};

use crate::disk::{Failure, MemoryDisk};
use crate::support::{Plain, append, create, folder, found, linked, read_after, read_all, records};

const SEGMENT_BYTES: u64 = 3000;

/// What must be there, and what may be.
struct Model {
    records: Vec<Plain>,
    positions: Vec<Position>,
    written: usize,
    synced: usize,
    forgotten: u64,
}

fn work(log: &mut Segments, model: &mut Model, rng: &mut Rng) {
    match rng.below(10) {
        0..6 => {
            let (count, bytes_max) = (1 + rng.below(4), [20, 300, 1500][rng.below(3) as usize]);
            let more = records(rng, count, bytes_max);
            append(log, &more).unwrap();
            model.records.extend(more);
            model.positions.push(log.position());
            model.written = model.records.len();
        }
        6..8 => {
            if let Some(task) = log.sync_task() {
                (task.run)().unwrap();
                log.synced(task.seq);
                model.synced = model.written;
            }
        }
        8 => {
            log.divide().unwrap();
            model.synced = model.written;
        }
        _ => {
            let synced = model.positions.iter().rev().find(|position| position.seq <= model.synced as u64);
            if let Some(upto) = synced.copied() {
                log.forget(upto).unwrap();
                model.forgotten = upto.seq;
            }
        }
    }
}

fn crash(disk: &MemoryDisk, model: &mut Model, rng: &mut Rng) -> (MemoryDisk, Segments) {
    let (disk, at_least) = match rng.chance(0.5) {
        true => (disk.after_kill(), model.written),
        false => (disk.after_power_cut(rng), model.synced),
    };
    let was = found(&disk).unwrap().unwrap();
    let there = usize::try_from(was.last.seq).unwrap();
    assert!(there >= at_least, "{there} records are there, {at_least} were acknowledged");
    assert!(was.first().seq <= model.forgotten, "what nobody has forgotten is there");
    let first = usize::try_from(was.first().seq).unwrap();
    assert_eq!(read_all(&disk, &was), model.records[first..there]);
    for position in model.positions.iter().filter(|position| (first..=there).contains(&(position.seq as usize))) {
        assert_eq!(was.position_of(&disk, position.seq).unwrap(), Some(*position));
        let after = read_after(&disk, &was, *position);
        assert_eq!(after, model.records[usize::try_from(position.seq).unwrap()..there]);
    }
    model.records.truncate(there);
    model.positions.retain(|position| position.seq as usize <= there);
    (model.written, model.synced) = (there, there);
    remove_temporary(&disk, &folder()).unwrap();
    let log = Segments::resume(Arc::new(disk.clone()), &was, SEGMENT_BYTES).unwrap();
    assert_eq!(log.position(), was.last);
    (disk, log)
}

#[test]
fn a_journal_survives_what_it_has_acknowledged() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut disk = MemoryDisk::default();
        let mut log = create(&disk, SEGMENT_BYTES);
        let mut model = Model { records: Vec::new(), positions: Vec::new(), written: 0, synced: 0, forgotten: 0 };
        for _ in 0..6 {
            (0..rng.below(25)).for_each(|_| work(&mut log, &mut model, &mut rng));
            (disk, log) = crash(&disk, &mut model, &mut rng);
        }
    }
}

/// Killed after each call that a rotation makes: the journal goes on.
#[test]
fn a_kill_at_each_step_of_a_rotation_leaves_the_old_or_the_new() {
    let (disk, mut rng) = (MemoryDisk::default(), Rng::new(1));
    let mut log = create(&disk, SEGMENT_BYTES);
    let all = records(&mut rng, 40, 500);
    disk.keep_steps();
    for record in &all {
        append(&mut log, std::slice::from_ref(record)).unwrap();
    }
    log.forget(log.position()).unwrap();
    let steps = disk.steps();
    assert!(steps.len() > 60);
    let mut before = 0;
    for step in steps {
        let was = found(&step).unwrap().unwrap();
        let (first, last) = (usize::try_from(was.first().seq).unwrap(), usize::try_from(was.last.seq).unwrap());
        assert!(last == before || last == before + 1, "{last} after {before}");
        before = last;
        assert_eq!(read_all(&step, &was), all[first..last]);
        remove_temporary(&step, &folder()).unwrap();
        let mut again = Segments::resume(Arc::new(step.clone()), &was, SEGMENT_BYTES).unwrap();
        append(&mut again, &all[..1]).unwrap();
        assert_eq!(found(&step).unwrap().unwrap().last.seq, was.last.seq + 1);
    }
    assert_eq!(before, all.len());
}

#[derive(World)]
struct Nothing {}

#[logic(linked)]
impl Logic for Nothing {}

/// Killed after each call that snapshots make, and the removal of what they make needless: one that is whole is always there, and
/// all records after it.
#[test]
fn a_kill_at_each_step_of_a_snapshot_leaves_one_that_is_whole() {
    let logic = linked::<Nothing>();
    let (disk, pool, mut unheard) = (MemoryDisk::default(), Pool::new(), Outbox::new());
    let stamp = Stamp { now_us: 1, seed: 1 };
    let mut room = Room::create("main", logic.clone(), &pool, stamp, b"", &mut unheard).unwrap();
    let mut log = create(&disk, SEGMENT_BYTES);
    let (mut first, mut sound) = (true, BTreeSet::new());
    for _ in 0..6 {
        for _ in 0..5 {
            room.step(stamp, Input::Tick, &mut unheard).unwrap();
            append(&mut log, &[(7, 1, vec![0; 16])]).unwrap();
        }
        log.divide().unwrap();
        let mut image = room.image().unwrap();
        let upto =
            snapshots::write(&disk, &folder(), (7, log.position(), BTreeMap::new()), &mut image, &|| false, &mut sound)
                .unwrap();
        upto.into_iter().for_each(|upto| log.forget(upto).unwrap());
        if std::mem::take(&mut first) {
            disk.keep_steps();
        }
    }
    let steps = disk.steps();
    assert!(steps.len() > 50);
    for step in steps {
        let was = found(&step).unwrap().unwrap();
        let newest = snapshots::list(&step, &folder()).unwrap().remove(0);
        let (head, mut reader) = snapshots::open(&step, &newest.path).unwrap();
        assert_eq!(was.position_of(&step, head.position.seq).unwrap(), Some(head.position));
        let kept = Room::from_snapshot(&mut reader, &Pool::new(), |_| Ok(logic.clone())).unwrap();
        // Each record is a tick.
        assert_eq!(kept.tick().0, head.position.seq);
        assert_eq!(read_after(&step, &was, head.position).len() as u64, was.last.seq - head.position.seq);
        assert!(was.first().seq <= head.position.seq);
    }
    assert_eq!(snapshots::list(&disk, &folder()).unwrap().len(), snapshots::SNAPSHOTS_KEPT);
}

/// A snapshot that cannot be read any more is none of the two on which the removal of records relies.
#[test]
fn records_stay_until_two_snapshots_after_them_are_sound() {
    let logic = linked::<Nothing>();
    let (disk, pool, mut unheard) = (MemoryDisk::default(), Pool::new(), Outbox::new());
    let stamp = Stamp { now_us: 1, seed: 1 };
    let mut room = Room::create("main", logic.clone(), &pool, stamp, b"", &mut unheard).unwrap();
    let mut log = create(&disk, SEGMENT_BYTES);
    let mut snapshot = |sound: &mut BTreeSet<u64>| {
        append(&mut log, &[(7, 1, vec![0; 16])]).unwrap();
        log.divide().unwrap();
        let mut image = room.image().unwrap();
        snapshots::write(&disk, &folder(), (7, log.position(), BTreeMap::new()), &mut image, &|| false, sound).unwrap()
    };
    let mut sound = BTreeSet::new();
    assert_eq!(snapshot(&mut sound), None);
    assert_eq!(snapshot(&mut sound).unwrap().seq, 1);
    let newest = snapshots::list(&disk, &folder()).unwrap().remove(0);
    let mut bytes = disk.bytes(&newest.path);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    disk.put(&newest.path, bytes);
    // By the next process, which knows nothing of them yet.
    let mut sound = BTreeSet::new();
    assert_eq!(snapshot(&mut sound).unwrap().seq, 1, "the damaged one does not count");
    assert_eq!(sound, BTreeSet::from([1, 3]));
    assert!(disk.paths().contains(&newest.path.with_added_extension("damaged")));
    assert_eq!(snapshot(&mut sound).unwrap().seq, 3);
    assert_eq!(sound, BTreeSet::from([3, 4]));
    assert_eq!(snapshots::list(&disk, &folder()).unwrap().len(), snapshots::SNAPSHOTS_KEPT);
}

/// A running engine forgets what it does not need while others read.
#[test]
fn a_segment_that_goes_while_the_journal_is_read_is_not_missed() {
    let disk = MemoryDisk::default();
    let mut log = create(&disk, SEGMENT_BYTES);
    append(&mut log, &records(&mut Rng::new(1), 5, 100)).unwrap();
    let oldest = disk.paths().remove(0);
    log.divide().unwrap();
    append(&mut log, &records(&mut Rng::new(2), 5, 100)).unwrap();
    let whole = disk.after_kill();
    let was = found(&whole).unwrap().unwrap();
    assert_eq!((was.first().seq, was.last.seq), (0, 10));
    for call in 0..whole.calls() {
        let disk = disk.after_kill();
        disk.remove_at(call, &oldest);
        let found = found(&disk).unwrap().unwrap();
        // Before its list, between that and its own turn, after that.
        assert_eq!(found.first().seq, if call < 2 { 5 } else { 0 });
        assert_eq!(found.last, was.last);
    }
    // And not for ever.
    let disk = disk.after_kill();
    disk.fail_at(1, Failure::Gone);
    assert!(found(&disk).unwrap_err().is_gone());
}
