//! Plugins whose code does something when it is mapped, before anybody has asked it anything.

use expect_test::{Expect, expect};

use super::{
    plugins::{good, saboteur, sealed},
    refusals::{start, start_with},
};
use crate::support::Engine;

/// The constructor of this saboteur has it refused like this.
fn check(engine: &Engine, name: &str, code: &str, reason: Expect) {
    let file = format!("{}.so", name.replace('_', "-"));
    engine.put(&file, &sealed(&saboteur(name)));
    engine.check_refused(&file, 422, code, reason);
}

#[test]
fn a_constructor_that_ends_the_process_ends_the_probe_only() {
    let engine = start(&good(1001, "game1"));
    check(
        &engine,
        "crashes",
        "crashes-on-load",
        expect!["crashes.so: crashed while being loaded: signal 11 (SIGSEGV)"],
    );
    check(&engine, "exits", "exits-on-load", expect!["exits.so: called exit(0) while being loaded"]);
    check(&engine, "exits_with_3", "exits-on-load", expect!["exits-with-3.so: called exit(3) while being loaded"]);
    check(
        &engine,
        "crashes_at_exit",
        "fails-at-exit",
        expect!["crashes-at-exit.so: crashed after being loaded, when its process ended: signal 6 (SIGABRT)"],
    );
    engine.end();
}

#[test]
fn a_constructor_that_never_ends_is_stopped() {
    let engine = start_with(&good(1001, "game1"), "probe_timeout_ms = 2000\n");
    check(
        &engine,
        "loops",
        "never-loads",
        expect!["loops.so: did not finish loading within 2 s: a constructor that loops?"],
    );
    engine.end();
}

#[test]
fn a_constructor_that_leaves_something_behind_is_refused() {
    let engine = start(&good(1001, "game1"));
    check(
        &engine,
        "threads",
        "starts-threads",
        expect!["threads.so: starts a thread of its own: logic has no threads (it has 1 after loading)"],
    );
    check(&engine, "forks", "starts-processes", expect!["forks.so: starts a process of its own: logic has none"]);
    check(&engine, "closes_files", "changes-files", expect!["closes-files.so: opens or closes files: logic has none"]);
    check(
        &engine,
        "handles_signals",
        "changes-signals",
        expect!["handles-signals.so: changes what is done on signals: that is the engine's to say"],
    );
    engine.end();
}

#[test]
fn a_constructor_that_prints_does_no_harm() {
    let engine = start(&good(1001, "game1"));
    engine.put("prints.so", &saboteur("prints"));
    engine.must_load("prints.so");
    assert_eq!(engine.hello(), "saboteurs 1000");
    assert!(engine.log().contains("the plugin printed while it was probed"), "{}", engine.log());
    engine.end();
}
