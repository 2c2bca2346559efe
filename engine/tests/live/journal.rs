//! `engine journal check`: what it passes is what an engine starts on.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::kept::files_of;
use crate::support::{Setup, moody};

/// Damages a file in each of two ways, and puts it back.
fn damaged(path: &Path, mut check: impl FnMut(&str)) {
    let sound = std::fs::read(path).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for (how, bytes) in [("cut", &sound[..sound.len() / 2]), ("flipped", &flipped)] {
        // It may be read-only.
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
        check(how);
    }
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, sound).unwrap();
}

#[test]
fn all_that_a_start_needs_is_checked() {
    let setup =
        Setup::new(moody(), &["game.1001.so", "plugin2.so"]).with("probation = \"10min\"\ndurability = \"tick\"");
    let engine = setup.start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert!(engine.get("/api/v1/rollback").contains("rewound"));
    assert_eq!(engine.get("/load?name=plugin2.so&force=1"), "done\n");
    let setup = engine.killed();
    assert!(setup.said(&["journal", "check"]).contains(" are sound"));
    let data = setup.data();
    let versions = std::fs::read_dir(data.join("versions")).unwrap().map(|entry| entry.unwrap().path());
    let versions: Vec<PathBuf> = versions.filter(|path| path.extension().is_some_and(|is| is == "so")).collect();
    assert_eq!(versions.len(), 2);
    for path in versions {
        damaged(&path, |how| {
            let failure = setup.failure(&["journal", "check"]);
            let name = path.file_name().unwrap().to_str().unwrap();
            let told = format!("{name}: its sha256 is ");
            assert!(failure.starts_with("main: ") && failure.contains(&told), "{how}: {failure}");
            assert!(failure.ends_with("; put the plugin with this sha256 there"), "{how}: {failure}");
        });
        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert!(setup.failure(&["journal", "check"]).contains("No such file or directory"));
        std::fs::rename(&aside, &path).unwrap();
    }
    for (file, starts) in [("verdicts.json", ""), ("failed-versions.json", ""), ("rooms/main/room.json", "main: ")] {
        damaged(&data.join(file), |how| {
            let output = setup.run(&["journal", "check"]);
            assert_eq!(output.status.code(), Some(1));
            // After what is sound.
            let failure = String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned();
            let told = format!("{file} is damaged: ");
            assert!(failure.starts_with(starts) && failure.contains(&told), "{file}, {how}: {failure}");
            assert!(failure.contains("; remove it, and "), "{file}, {how}: {failure}");
            // As the start says.
            let reason = failure.strip_prefix(starts).unwrap().split(" is damaged: ").nth(1).unwrap();
            assert!(setup.failure(&["serve"]).contains(reason), "{file}, {how}: {failure}");
        });
    }
    assert!(setup.said(&["journal", "check"]).contains(" are sound"));
}

#[test]
fn a_folder_that_is_no_rooms_is_told_as_a_start_treats_it() {
    let engine = Setup::new(moody(), &["game.1001.so"]).start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    let setup = engine.killed();
    let folder = setup.data().join("rooms/Copy of main");
    std::fs::create_dir(&folder).unwrap();
    let told = setup.said(&["journal", "check"]);
    assert!(told.starts_with("Copy of main: no room's name, and passed over by a start\nmain: "), "{told}");
    let engine = setup.start();
    assert!(engine.log().contains("passed over: this is no room's name"), "{}", engine.log());
    assert!(folder.exists());
}

/// What it had came after the snapshot, and nothing else tells of that.
#[test]
fn the_last_segment_that_is_gone_is_told_by_the_snapshot_before_it() {
    let engine = Setup::new(moody(), &["game.1001.so"]).start();
    assert_eq!(engine.get("/count"), "1 in 1001\n");
    engine.signal(Signal::TERM);
    let setup = engine.ended().1.start().killed();
    let newest = files_of(&setup, "journal").into_iter().max().unwrap();
    let aside = setup.path("aside");
    std::fs::rename(&newest, &aside).unwrap();
    let failure = setup.failure(&["journal", "check"]);
    let name = newest.file_name().unwrap().to_str().unwrap();
    let told = format!("{name} is missing, which was there before ");
    assert!(failure.starts_with("main: ") && failure.contains(&told), "{failure}");
    // As the start says.
    assert!(setup.failure(&["serve"]).contains(&told));
    std::fs::rename(&aside, &newest).unwrap();
    assert!(setup.said(&["journal", "check"]).contains(" are sound"));
    assert_eq!(setup.start().get("/count"), "2 in 1001\n");
}
