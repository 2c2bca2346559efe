//! What the journal lets go and what it syncs, and when; `simulation/failures.rs` has its calls on files fail.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use engine::journal::log::Log;
use engine::journal::{Durability, Journal, LogId};
use logic_api::Rng;
use parking_lot::Mutex;

use crate::disk::MemoryDisk;
use crate::support::{Plain, append, batch, create, found, read_all, records};

const SEGMENT_BYTES: u64 = 3000;
const BATCHES: u64 = 220;
/// For a test that hangs to fail instead; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many records were acknowledged.
fn run(disk: &MemoryDisk, durability: Durability, all: &[Vec<Plain>]) -> usize {
    let log = create(disk, SEGMENT_BYTES);
    let acknowledged = Arc::new(Mutex::new(0));
    let journal = Journal::start(durability, |error| panic!("{error}")).unwrap();
    let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
    for records in all {
        let (acknowledged, count) = (Arc::clone(&acknowledged), records.len());
        let release = move || *acknowledged.lock() += count;
        writer.commit(&mut batch(records), release);
    }
    journal.end();
    *acknowledged.lock()
}

fn work() -> Vec<Vec<Plain>> {
    let mut rng = Rng::new(1);
    (0..BATCHES).map(|_| records(&mut rng, 3, 400)).collect()
}

#[test]
fn without_failures_all_is_acknowledged() {
    for durability in [Durability::Tick, Durability::Within(Duration::from_millis(1))] {
        let (disk, all) = (MemoryDisk::default(), work());
        assert_eq!(run(&disk, durability, &all), all.concat().len());
        let was = found(&disk).unwrap().unwrap();
        assert_eq!(read_all(&disk, &was), all.concat());
    }
}

/// What a power cut may take at "20ms" is on the disk soon, whether anything else comes or not; at "1h" it waits for more.
#[test]
fn what_is_written_is_synced_in_its_time() {
    let all = work();
    for within in [Duration::from_millis(20), Duration::from_secs(3600)] {
        let disk = MemoryDisk::default();
        let log = create(&disk, SEGMENT_BYTES * 1000);
        let journal = Journal::start(Durability::Within(within), |error| panic!("{error}")).unwrap();
        let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
        for records in &all[..20] {
            writer.commit(&mut batch(records), || {});
            assert!(journal.written());
            if within.as_secs() == 0 {
                // Nothing more is ordered: a journal that does not do it by itself is waited for in vain.
                let deadline = Instant::now() + PATIENCE;
                while disk.unsynced() > 0 {
                    assert!(Instant::now() < deadline, "what was written is not synced");
                    std::thread::yield_now();
                }
            }
        }
        assert_eq!(disk.unsynced() > 0, within.as_secs() > 0);
        assert!(journal.flushed());
        assert_eq!(disk.unsynced(), 0);
    }
}

#[test]
fn a_room_that_is_removed_leaves_nothing() {
    let disk = MemoryDisk::default();
    let journal = Journal::start(Durability::Tick, |error| panic!("{error}")).unwrap();
    let log = create(&disk, SEGMENT_BYTES);
    let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
    writer.commit(&mut batch(&records(&mut Rng::new(1), 9, 900)), || {});
    writer.remove(|rest| rest().unwrap());
    journal.end();
    assert_eq!(disk.paths(), Vec::<std::path::PathBuf>::new());
}

/// Where a room's log can be told to start anew without its past.
#[test]
fn a_division_says_where_it_is() {
    let disk = MemoryDisk::default();
    let journal = Journal::start(Durability::Tick, |error| panic!("{error}")).unwrap();
    let mut log = create(&disk, 1 << 20);
    let all = records(&mut Rng::new(1), 9, 900);
    append(&mut log, &all).unwrap();
    let expected = log.position();
    let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
    let (send, received) = channel();
    writer.divide(move |position| send.send(position).unwrap());
    assert_eq!(received.recv().unwrap(), expected);
    journal.forget(LogId(1), expected);
    journal.end();
    let was = found(&disk).unwrap().unwrap();
    assert_eq!((was.first(), was.last), (expected, expected));
}
