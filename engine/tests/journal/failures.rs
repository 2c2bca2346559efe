//! Each of the first calls fails in turn: the journal stops, says why, and acknowledges nothing any more.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use engine::journal::log::Log;
use engine::journal::segments::{Segments, remove_temporary};
use engine::journal::{Durability, Journal, LogId};
use logic_api::Rng;
use parking_lot::Mutex;

use crate::disk::{Failure, MemoryDisk};
use crate::support::{Plain, append, batch, create, folder, found, read_all, records};

const SEGMENT_BYTES: u64 = 3000;
const BATCHES: u64 = 220;

/// How many records were acknowledged, and what the journal said when it stopped.
fn run(disk: &MemoryDisk, durability: Durability, all: &[Vec<Plain>]) -> (usize, Option<String>) {
    let log = create(disk, SEGMENT_BYTES);
    let (told, telling) = channel();
    let acknowledged = Arc::new(Mutex::new(0));
    let journal = Journal::start(durability, move |error| told.send(error.to_string()).unwrap()).unwrap();
    let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
    for records in all {
        let (acknowledged, count) = (Arc::clone(&acknowledged), records.len());
        let release = move || *acknowledged.lock() += count;
        writer.commit(&mut batch(records), release);
        // One after the other, so that the same calls are made every time.
        if !journal.flushed() {
            break;
        }
    }
    journal.end();
    let told = telling.try_recv().ok();
    (*acknowledged.lock(), told)
}

fn work() -> Vec<Vec<Plain>> {
    let mut rng = Rng::new(1);
    (0..BATCHES).map(|_| records(&mut rng, 3, 400)).collect()
}

#[test]
fn without_failures_all_is_acknowledged() {
    for durability in [Durability::Tick, Durability::Within(Duration::from_millis(1))] {
        let (disk, all) = (MemoryDisk::default(), work());
        assert_eq!(run(&disk, durability, &all), (all.concat().len(), None));
        let was = found(&disk).unwrap().unwrap();
        assert_eq!(read_all(&disk, &was), all.concat());
    }
}

#[test]
fn after_a_call_that_failed_nothing_is_acknowledged() {
    let all = work();
    let plain = all.concat();
    let tick = [Failure::Io, Failure::NoSpace, Failure::Short];
    let within = Durability::Within(Duration::from_secs(3600));
    for (durability, failures) in [(Durability::Tick, &tick[..]), (within, &[Failure::Short])] {
        let disk = MemoryDisk::default();
        let made = {
            let disk = MemoryDisk::default();
            create(&disk, SEGMENT_BYTES);
            disk.calls()
        };
        run(&disk, durability, &all);
        assert!(disk.calls() > 500, "{} calls", disk.calls());
        for failure in failures.iter().copied() {
            for call in made..made + 500 {
                let disk = MemoryDisk::default();
                disk.fail_at(call, failure);
                let (acknowledged, told) = run(&disk, durability, &all);
                let told = told.unwrap_or_else(|| panic!("call {call} fails with {failure:?}, and nobody is told"));
                assert!(told.contains("/data/rooms/main") && told.contains(" failed: "), "{told}");
                let mut rng = Rng::new(call);
                // Within some time, what was acknowledged survives the process; only with every tick also the machine.
                let after_power_cut = if durability == Durability::Tick { acknowledged } else { 0 };
                for (disk, acknowledged) in
                    [(disk.after_kill(), acknowledged), (disk.after_power_cut(&mut rng), after_power_cut)]
                {
                    let was = found(&disk).unwrap().unwrap();
                    let there = read_all(&disk, &was);
                    assert!(there.len() >= acknowledged && plain.starts_with(&there), "call {call}, {failure:?}");
                    remove_temporary(&disk, &folder()).unwrap();
                    let mut again = Segments::resume(Arc::new(disk.clone()), &was, SEGMENT_BYTES).unwrap();
                    append(&mut again, &plain[..1]).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_room_that_is_removed_leaves_nothing() {
    let disk = MemoryDisk::default();
    let journal = Journal::start(Durability::Tick, |error| panic!("{error}")).unwrap();
    let log = create(&disk, SEGMENT_BYTES);
    let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
    writer.commit(&mut batch(&records(&mut Rng::new(1), 9, 900)), || {});
    writer.remove(Box::new(|| {}));
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
