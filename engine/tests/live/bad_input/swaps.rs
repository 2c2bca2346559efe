//! Plugins that can be mapped, and fail when the rooms are to run them; and those that are loaded again.

use expect_test::{Expect, expect};

use super::{
    plugins::{good, saboteur},
    refusals::{start, start_with},
};

/// In an engine with this line of the config. So many versions are mapped afterwards.
fn check_panic_in_second(line: &str, mapped: usize, reason: Expect) {
    let engine = start_with(&good(1001, "game1"), line);
    engine.get("/mark");
    engine.put("panics-in-second.so", &saboteur("upgraded_panics_in_second"));
    engine.check_swap_refused("panics-in-second.so", 422, "upgraded-failed", reason);
    assert_eq!(engine.get("/marks"), "1 marks\n");
    assert_eq!(engine.get("/marks?room=second"), "0 marks\n");
    let status = engine.whole_status();
    for room in status.rooms {
        assert_eq!((room.version, room.logic.as_str()), (1001, "game1"), "{}", room.name);
    }
    assert_eq!(status.versions.len(), mapped);
    engine.end();
}

#[test]
fn an_upgrade_that_panics_is_refused_before_it_is_mapped() {
    check_panic_in_second(
        "",
        1,
        expect![[
            r#"in the room second: version 1000 failed in upgraded at tick N, engine/tests/saboteurs/examples/upgraded_panics_in_second.rs:12:9: assertion `left != right` failed: not this room   left: "second"  right: "second""#
        ]],
    );
}

#[test]
fn an_upgrade_that_panics_in_the_swap_itself_changes_no_room() {
    check_panic_in_second(
        "rehearsal_bytes_max = 0",
        2,
        expect![[
            r#"the room second could not be swapped: version 1000 failed in upgraded at tick N, engine/tests/saboteurs/examples/upgraded_panics_in_second.rs:12:9: assertion `left != right` failed: not this room   left: "second"  right: "second""#
        ]],
    );
}

#[test]
fn other_tables_are_refused_with_a_line_for_each_field() {
    let engine = start(&good(1001, "game1"));
    engine.put("other.so", &saboteur("other_schema"));
    engine.check_swap_refused(
        "other.so",
        409,
        "schema-differs",
        expect![[r#"
            the tables of game1 1001, which is running, cannot be carried over to saboteurs 1000; what may be lost can be acknowledged with &drop=NAME
            Greeting.nick: Str<32> is new; give it `#[row(default = …)]` or a migration
            Greeting.name: Str<32> would be dropped; say `#[row(dropped("name"))]`, or acknowledge it with drop=Greeting.name"#]],
    );
    engine.end();
}

#[test]
fn the_same_file_again_is_the_same_version() {
    let engine = start(&good(1001, "game1"));
    engine.put("plugin2.so", &good(1002, "game2"));
    for _ in 0..5 {
        engine.must_load("plugin2.so");
        assert_eq!(engine.hello(), "game2 1002");
    }
    engine.put("copy.so", &good(1002, "game2"));
    engine.must_load("copy.so");
    engine.must_load("base.so");
    assert_eq!(engine.hello(), "game1 1001");
    let status = engine.whole_status();
    let mapped: Vec<_> = status.versions.iter().map(|version| (version.version, version.file.as_str())).collect();
    assert_eq!(mapped, [(1001, "base.so"), (1002, "plugin2.so")], "the same bytes are mapped once");
    assert_eq!(status.swaps.len(), 7);
    engine.end();
}

#[test]
fn the_same_name_with_new_bytes_runs_the_new_code() {
    let engine = start(&good(1001, "game1"));
    let put = |bytes: &[u8], again: usize| match again % 2 {
        // As scripts/build_so.sh does, and as `cp` does.
        0 => engine.put("plugin.so", bytes),
        _ => std::fs::write(engine.setup.plugins().join("plugin.so"), bytes).unwrap(),
    };
    for again in 0..10 {
        let (version, name) = (1100 + again, format!("new{again}"));
        put(&good(version, &name), again as usize);
        engine.must_load("plugin.so");
        assert_eq!(engine.hello(), format!("{name} {version}"));
    }
    // A version's number says nothing about its code.
    for again in 0..3 {
        let name = format!("other{again}");
        put(&good(1100, &name), again);
        engine.must_load("plugin.so");
        assert_eq!(engine.hello(), format!("{name} 1100"));
    }
    let versions = engine.whole_status().versions;
    assert_eq!(versions.len(), 14);
    for version in &versions {
        let same = versions.iter().filter(|other| other.build_id == version.build_id || other.sha256 == version.sha256);
        assert_eq!(same.count(), 1, "{version:?}");
    }
    engine.end();
}
