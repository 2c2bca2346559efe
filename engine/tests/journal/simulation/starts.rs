//! Starts on what is left of a room when more is amiss than a crash may leave: it is refused as it is, or comes back whole. And the
//! end of one while a snapshot of it is made.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use engine::journal::Durability;
use engine::journal::files::Files as _;
use engine::journal::snapshots::SnapshotHead;

use super::failures::{begun, input, stamp};
use super::game::Versions;
use super::process::{DATA, Process, ROOMS};
use crate::disk::{Failure, MemoryDisk};

/// For a test that hangs to fail instead; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

fn folder() -> PathBuf {
    Path::new(DATA).join("rooms").join(ROOMS[0])
}

/// The room's files of a kind, the oldest first.
fn files_of(disk: &MemoryDisk, kind: &str) -> Vec<PathBuf> {
    let is_of_it = |path: &PathBuf| path.starts_with(folder()) && path.extension().is_some_and(|it| it == kind);
    disk.paths().into_iter().filter(is_of_it).collect()
}

/// The number in a file's name.
fn number(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_journal_that_ends_before_its_snapshot_is_refused_as_it_is() {
    let versions = Versions::linked();
    let disk = begun(&versions);
    let [.., before, newest] = &files_of(&disk, "journal")[..] else { panic!("there are two segments") };
    disk.remove(newest).unwrap();
    let mut bytes = disk.bytes(before);
    bytes.truncate(bytes.len() - 3);
    disk.put(before, bytes);
    let (was, snapshots) = ([files_of(&disk, "journal"), files_of(&disk, "snapshot")], files_of(&disk, "snapshot"));
    let error = Process::start(disk.clone(), Durability::Tick).unwrap().recover(0, &versions).unwrap_err();
    let made_after = number(snapshots.last().unwrap());
    let (folder, file, last) = (folder(), snapshots.last().unwrap(), made_after - 1);
    assert_eq!(
        error,
        format!(
            "{}: the journal ends with record {last}, and {} was made after record {made_after}: records are lost; nothing was \
             changed: put the missing files back, or move the folder aside to do without the room",
            folder.display(),
            file.display()
        )
    );
    assert_eq!([files_of(&disk, "journal"), files_of(&disk, "snapshot")], was);
}

/// What came after the snapshot was in it, if anything did.
#[test]
fn a_journal_without_the_segment_that_begins_at_its_snapshot_is_refused_as_it_is() {
    let versions = Versions::linked();
    let disk = begun(&versions);
    let newest = files_of(&disk, "journal").pop().unwrap();
    let snapshot = files_of(&disk, "snapshot").pop().unwrap();
    assert_eq!(number(&newest), number(&snapshot) + 1);
    let bytes = disk.bytes(&newest);
    disk.remove(&newest).unwrap();
    let was = [files_of(&disk, "journal"), files_of(&disk, "snapshot")];
    let recover = || Process::start(disk.clone(), Durability::Tick).unwrap().recover(0, &versions);
    assert_eq!(
        recover().map(drop).unwrap_err(),
        format!(
            "{}: {} is missing, which was there before {} was made: records are lost; nothing was changed: put the missing files \
             back, or move the folder aside to do without the room",
            folder().display(),
            newest.display(),
            snapshot.display()
        )
    );
    assert_eq!([files_of(&disk, "journal"), files_of(&disk, "snapshot")], was);
    disk.put(&newest, bytes);
    assert!(recover().unwrap().is_some());
}

/// An error of a disk is no damage: what was made before it, and the journal, bring the room to where it was.
#[test]
fn a_snapshot_that_cannot_be_read_just_now_stays_where_it_is() {
    let versions = Versions::linked();
    let begun = begun(&versions);
    let start = |disk: &MemoryDisk| {
        let mut room = Process::start(disk.clone(), Durability::Tick).unwrap().recover(0, &versions)?.unwrap().room;
        Ok::<_, String>(room.state_hash())
    };
    let plain = begun.after_kill();
    let hash = start(&plain).unwrap();
    let mut passed_over = 0;
    for call in 0..plain.calls() {
        let disk = begun.after_kill();
        let process = Process::start(disk.clone(), Durability::Tick).unwrap();
        disk.fail_once_at(call, Failure::Io);
        let recovered = process.recover(0, &versions);
        match disk.failed() {
            Some(("reader", path)) => {
                assert_eq!(recovered.unwrap().unwrap().room.state_hash(), hash);
                assert!(disk.paths().contains(&path) && files_of(&disk, "damaged").is_empty());
                passed_over += 1;
            }
            Some((kind, path)) => {
                let error = recovered.map(drop).expect_err(kind);
                assert!(error.contains(path.to_str().unwrap()), "{kind} {path:?}: {error}");
            }
            None => assert!(call < 10),
        }
    }
    assert!(passed_over > 0);
    // What it needs is not known then, and nothing may be removed.
    let disk = begun.after_kill();
    let recovered = Process::start(disk.clone(), Durability::Tick).unwrap().recover(0, &versions).unwrap().unwrap();
    let first = disk.calls();
    assert!(recovered.versions(&disk).unwrap().contains(&versions.all()[0].mark().sha256));
    for call in first..disk.calls() {
        let disk = begun.after_kill();
        let recovered = Process::start(disk.clone(), Durability::Tick).unwrap().recover(0, &versions).unwrap().unwrap();
        disk.fail_once_at(call, Failure::Io);
        let error = recovered.versions(&disk).unwrap_err().to_string();
        assert!(error.contains(disk.failed().unwrap().1.to_str().unwrap()), "{error}");
    }
}

/// Made when heads had no list of leaves.
#[test]
fn a_snapshot_of_an_older_engine_is_started_from() {
    let versions = Versions::linked();
    let disk = begun(&versions).after_kill();
    let start = || Process::start(disk.clone(), Durability::Tick).unwrap().recover(0, &versions).unwrap().unwrap();
    let hash = start().room.state_hash();
    for path in files_of(&disk, "snapshot") {
        let bytes = disk.bytes(&path);
        let head = SnapshotHead::read(&bytes[..]).unwrap();
        let mut older = [&b"HOTSFIL1"[..], &bytes[8..64]].concat();
        older.extend(crc32c::crc32c(&older).to_le_bytes());
        older.extend_from_slice(&bytes[head.encode().len()..]);
        disk.put(&path, older);
    }
    let mut recovered = start();
    assert_eq!((recovered.room.state_hash(), recovered.leaving.len()), (hash, 0));
    assert!(files_of(&disk, "damaged").is_empty(), "none was passed over");
}

/// A room that is closed while a snapshot of it is on its way to a slow disk holds up no other, and its name is free at once.
#[test]
fn a_room_that_goes_while_a_snapshot_is_made_of_it_holds_up_nobody() {
    let versions = Versions::linked();
    for durability in [Durability::Tick, Durability::Within(Duration::from_secs(24 * 3600))] {
        let disk = MemoryDisk::default();
        let mut process = Process::start(disk.clone(), durability).unwrap();
        let create = room::Input::Create { config: [].into() };
        for at in [0, 1] {
            process.create(at, &versions, stamp(0), &create);
            process.step(at, stamp(1), input(3)).unwrap();
            process.release(at, 0);
        }
        let (begins, ends) = disk.slow_syncs(".snapshot.tmp");
        process.begin_snapshot(0);
        begins.recv_timeout(PATIENCE).expect("the snapshot is written");
        process.remove(0);
        // On a thread, for a test that fails rather than hangs.
        let ((told, is_told), versions, create) = (channel(), Versions::linked(), create.clone());
        let others = std::thread::spawn(move || {
            process.step(1, stamp(2), input(3)).unwrap();
            process.release(1, 0);
            process.create(0, &versions, stamp(2), &create);
            process.release(0, 0);
            let _ = told.send(());
            process
        });
        let was_held_up = is_told.recv_timeout(PATIENCE).is_err();
        drop(ends);
        let process = others.join().unwrap();
        assert!(!was_held_up, "the other room waits for the snapshot of one that is gone");
        process.settle();
        assert_eq!(process.failure(), None);
        let of_room = files_of(&disk, "journal");
        assert_eq!(of_room.len(), 1, "{of_room:?}");
        assert!(files_of(&disk, "snapshot").is_empty() && files_of(&disk, "tmp").is_empty());
        assert!(!disk.paths().iter().any(|path| path.to_str().unwrap().contains(".gone")), "{:?}", disk.paths());
    }
}
