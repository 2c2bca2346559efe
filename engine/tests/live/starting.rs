//! A start that cannot be: one line that says what to do.

use crate::support::{Setup, game, moody};
use std::path::Path;

fn nothing() -> Setup {
    Setup::new(Path::new("/nowhere"), &[])
}

#[test]
fn a_folder_without_logic_is_told() {
    assert_eq!(nothing().failure(&["serve"]), "plugins/ has no logic: build one with scripts/build_so.sh");
    let other = nothing();
    std::fs::write(other.plugins().join("plugin1.so"), "not looked into").unwrap();
    let expected = "plugins/ has no game.<N>.so: build one with scripts/build_so.sh, or start on another file with \
                    --logic plugin1.so";
    assert_eq!(other.failure(&["serve"]), expected);
    assert_eq!(other.failure(&["serve", "--logic", "game1"]), expected);
    assert_eq!(
        nothing().failure(&["serve", "--plugins", "missing"]),
        "the plugins folder missing cannot be opened: No such file or directory (os error 2); create it, or name another \
         with --plugins"
    );
}

#[test]
fn a_version_to_start_on_is_taken_by_file_or_by_name() {
    let files = ["game.1001.so", "game.1002.so", "plugin1.so"];
    let starts = |logic: &str| {
        let engine = Setup::new(game(), &files).with(&format!("logic = \"{logic}\"")).start();
        engine.status()["rooms"][0]["version"].as_u64().unwrap()
    };
    assert_eq!(starts("plugin1.so"), 1001);
    assert_eq!(starts("game1"), 1001);
    assert_eq!(starts("game2"), 1002);
    let highest = Setup::new(game(), &files).start();
    assert_eq!(highest.status()["rooms"][0]["version"], 1002);
    let setup = Setup::new(game(), &files);
    assert_eq!(
        setup.failure(&["serve", "--logic", "game3"]),
        "plugins/ has no logic called \"game3\"; it has game2 in game.1002.so, game1 in game.1001.so"
    );
    assert_eq!(
        setup.failure(&["serve", "--logic", "plugin3.so"]),
        "no file \"plugin3.so\" in plugins: it has plugin1.so, game.1001.so, game.1002.so"
    );
}

#[test]
fn a_damaged_version_is_no_start() {
    let setup = Setup::new(game(), &["game.1001.so"]);
    std::fs::write(setup.plugins().join("game.1002.so"), "hello, world").unwrap();
    assert_eq!(setup.failure(&["serve"]), "game.1002.so: not an ELF file: starts with \"hello, world\"");
}

#[test]
fn a_second_engine_on_the_same_data_is_told_the_pid_of_the_first() {
    let first = Setup::new(game(), &["game.1001.so"]).start();
    let expected = format!("data folder data/ is in use by process {}; stop it, or give another --data", first.pid());
    assert_eq!(first.setup.failure(&["serve"]), expected);
    assert_eq!(first.get("/healthz"), "ready\n");
}

#[test]
fn a_taken_port_is_told() {
    let first = Setup::new(game(), &["game.1001.so"]).start();
    let listen = first.address.to_string();
    let failure = Setup::new(game(), &["game.1001.so"]).failure(&["serve", "--listen", &listen]);
    assert_eq!(failure, format!("cannot listen on {listen}: address in use (is another engine running? see --listen)"));
}

#[test]
fn check_says_what_a_load_would() {
    let setup = Setup::new(moody(), &["plugin1.so"]);
    let output = setup.run(&["check", "plugins/plugin1.so"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("plugin1.so: game1 1001, ") && lines[0].ends_with(" bytes, sealed"), "{text}");
    assert_eq!(
        lines[3..],
        [
            "contract  1",
            "callbacks create, tick, join_attempt, join, drop, reconnect, leave, message, query, request, terminate, dispose, upgraded",
            "state: One<State>, 72 bytes a row: count, ticks, spoilt, doomed, cursed, fickle, number, mix, listener",
            "heard: Table<Heard>, 16 bytes a row: number, times"
        ]
    );
    std::fs::write(setup.plugins().join("text.so"), "hello, world").unwrap();
    assert_eq!(setup.failure(&["check", "plugins/text.so"]), "text.so: not an ELF file: starts with \"hello, world\"");
    assert_eq!(
        setup.failure(&["check", "plugins/none.so"]),
        "no file \"none.so\" in plugins: it has text.so, plugin1.so"
    );
    assert_eq!(setup.failure(&["check", "nowhere/a.so"]), "there is no file nowhere/a.so");
    assert_eq!(setup.failure(&["check", "engine.toml/a.so"]), "there is no file engine.toml/a.so");
    assert_eq!(setup.failure(&["check", "Nothing.toml"]), "there is no file Nothing.toml");
    assert_eq!(
        setup.failure(&["check", "engine.toml"]),
        "engine.toml is not named as a plugin is: at most 64 of a-z, 0-9, '.', '_' and '-', without a leading dot or \
         \"..\", ending in .so"
    );
}

#[test]
fn check_keeps_to_the_limits_of_the_config() {
    let setup = Setup::new(Path::new("/nowhere"), &[]).with("plugin_bytes_max = 4096");
    std::fs::write(setup.plugins().join("large.so"), [0; 5000]).unwrap();
    let refused = "large.so has 5000 bytes, the limit is 4096 (plugin_bytes_max)";
    assert_eq!(setup.failure(&["check", "plugins/large.so"]), refused);
    std::fs::write(setup.plugins().join("roomy.toml"), "plugin_bytes_max = 8192\n").unwrap();
    let failure = setup.failure(&["check", "plugins/large.so", "--config", "plugins/roomy.toml"]);
    assert!(failure.starts_with("large.so: "), "{failure}");
}
