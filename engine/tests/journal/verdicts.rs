//! What is kept of trials, with each call on its files failing in turn: what the next engine finds is the old or the new.

use std::path::Path;
use std::sync::Arc;

use engine::journal::log::LogError;
use engine::loader::digest::Sha256;
use engine::probation::{Failed, FailedVersions, Tried, Verdict, Verdicts};
use logic_api::Rng;
use room::TrialId;

use crate::disk::{Failure, MemoryDisk};

const DATA: &str = "/data";
const FIRST: TrialId = TrialId(1);
const SECOND: TrialId = TrialId(2);

fn sha256(trial: TrialId) -> Sha256 {
    Sha256::of(&trial.0.to_le_bytes())
}

fn tried(trial: TrialId) -> Tried {
    let (name, at) = ("game".to_owned(), "2026-01-02T03:04:05Z".parse().unwrap());
    Tried { trial, sha256: sha256(trial), version: 1002, name, at }
}

fn failed(trial: TrialId) -> Failed {
    let Tried { sha256, version, name, at, .. } = tried(trial);
    Failed { trial, sha256, version, name, reason: "it was slow".to_owned(), who: "the engine".to_owned(), at }
}

fn open(disk: &MemoryDisk) -> (Verdicts, FailedVersions, Option<Tried>) {
    let (verdicts, interrupted) = Verdicts::open(Arc::new(disk.clone()), Path::new(DATA)).unwrap();
    (verdicts, FailedVersions::open(Arc::new(disk.clone()), Path::new(DATA)).unwrap(), interrupted)
}

type Step = fn(&Verdicts, &FailedVersions) -> Result<(), LogError>;

/// A trial that is confirmed, and one that is not.
const STEPS: [Step; 6] = [
    |verdicts, _| verdicts.begin(tried(FIRST)),
    |verdicts, _| verdicts.confirm(tried(FIRST)),
    |_, versions| versions.remember(failed(FIRST)),
    |verdicts, _| verdicts.begin(tried(SECOND)),
    |_, versions| versions.forget(&sha256(FIRST)),
    |verdicts, _| verdicts.end(),
];

/// What an engine finds: the trial under way, whether the first was confirmed, and whether its version is one that failed.
type Found = (Option<TrialId>, bool, bool);

fn found(disk: &MemoryDisk) -> Found {
    let (verdicts, versions, interrupted) = open(disk);
    assert_eq!(verdicts.of(SECOND), Verdict::Rewind);
    (
        interrupted.map(|tried| tried.trial),
        verdicts.of(FIRST) == Verdict::Confirm,
        versions.find(&sha256(FIRST)).is_some(),
    )
}

#[test]
fn each_call_that_fails_leaves_the_old_or_the_new() {
    let disk = MemoryDisk::default();
    let (verdicts, versions, _) = open(&disk);
    let mut after = vec![found(&disk)];
    for step in STEPS {
        step(&verdicts, &versions).unwrap();
        after.push(found(&disk));
    }
    // Those of the steps alone: an engine that cannot read what is kept does not start.
    let disk = MemoryDisk::default();
    let (verdicts, versions, _) = open(&disk);
    let opened = disk.calls();
    STEPS.iter().for_each(|step| step(&verdicts, &versions).unwrap());
    let calls = opened..disk.calls();
    assert!(calls.end - calls.start >= 5 * STEPS.len() as u64);
    for failure in [Failure::Io, Failure::NoSpace, Failure::Short] {
        for call in calls.clone() {
            let disk = MemoryDisk::default();
            let (verdicts, versions, _) = open(&disk);
            disk.fail_at(call, failure);
            let failing = STEPS.iter().position(|step| {
                let error = step(&verdicts, &versions).err();
                error.is_some_and(|error| {
                    let error = error.to_string();
                    assert!(error.contains(" /data") && error.contains(" failed: "), "{error}");
                    true
                })
            });
            let failing = failing.unwrap_or_else(|| panic!("call {call} fails, and nobody is told"));
            let (mut rng, known) = (Rng::new(call), &after[failing..=failing + 1]);
            for disk in [disk.after_kill(), disk.after_power_cut(&mut rng)] {
                let found = found(&disk);
                assert!(known.contains(&found), "call {call}, {failure:?}: {found:?} is none of {known:?}");
            }
        }
    }
}
