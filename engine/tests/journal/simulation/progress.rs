//! Whoever waits for a start is told what it is at.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::journal::Durability;
use engine::journal::files::Files;
use engine::journal::recovery::recover;
use engine::progress::Progress;
use parking_lot::Mutex;
use room::{Input, Pool, TrialId};

use super::failures::{begun, input, stamp};
use super::game::Versions;
use super::process::{DATA, Process, ROOMS};

const PERIOD: Duration = Duration::from_secs(1);

#[test]
fn a_recovery_tells_of_all_that_may_take_long() {
    let versions = Versions::linked();
    let disk = begun(&versions);
    let mut process = Process::start(disk, Durability::Tick).unwrap();
    let recovered = process.recover(0, &versions).unwrap().unwrap();
    let first = recovered.room.seq().0;
    process.go_on(0, recovered, 0);
    let (to, drops) = (versions.all()[1].clone(), [].into());
    process.step(0, stamp(first), Input::Swap { to, drops, trial: TrialId(1) }).unwrap();
    (first..first + 8).for_each(|number| drop(process.step(0, stamp(number), input(number)).unwrap()));
    process.step(0, stamp(first), Input::rewind()).unwrap();
    process.release(0, 0);
    // By a clock by which everything takes a second.
    let (looks, lines, started) = (AtomicU64::new(0), Arc::new(Mutex::new(Vec::new())), Instant::now());
    let clock = move || started + PERIOD * u32::try_from(looks.fetch_add(1, Ordering::Relaxed)).unwrap();
    let to = Arc::clone(&lines);
    let progress = Progress::told_by(PERIOD, clock, move |part| to.lock().push(part.to_string()));
    let files: Arc<dyn Files> = Arc::new(process.disk.after_kill());
    let folder = Path::new(DATA).join("rooms").join(ROOMS[0]);
    let recovered =
        recover(&files, &folder, None, (&Pool::new(), &Arc::default(), &progress), &mut |mark| versions.find(mark));
    recovered.unwrap().unwrap().versions(&*files).unwrap();

    let lines = std::mem::take(&mut *lines.lock());
    let mut told: Vec<(&str, Vec<u64>)> = Vec::new();
    for line in &lines {
        let (what, rest) = line.split_once(": ").unwrap();
        let percent = rest.split(' ').next().unwrap().parse().unwrap();
        match told.iter_mut().find(|(known, _)| *known == what) {
            Some((_, percents)) => percents.push(percent),
            None => told.push((what, vec![percent])),
        }
    }
    let expected = [
        "reading the journal",
        "reading a snapshot",
        "recovering",
        "taking a version back",
        "looking for versions that are needed",
    ];
    assert_eq!(told.iter().map(|(what, _)| *what).collect::<Vec<_>>(), expected, "{lines:#?}");
    for (what, percents) in told {
        let is_told_to_its_end = percents.is_sorted() && percents.last().is_some_and(|last| *last >= 90);
        assert!(is_told_to_its_end && percents[0] < 60, "{what}: {percents:?}");
    }
}
