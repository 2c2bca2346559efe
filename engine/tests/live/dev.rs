//! `engine new` and `engine dev`: from nothing to a game that changes while it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use wire::{ClientFrame, EngineFrame, Severity};

use crate::players::client::{Client, Transport};
use crate::support::{BINARY, Engine, Setup, in_time};

const TOUCHED: &str = "src/lib.rs";

/// A game that `engine new` has made. Its dependencies are those of this workspace, built already.
fn new_game() -> (Setup, PathBuf) {
    let setup = Setup::new(Path::new("."), &[]).with("show_faults = false");
    let made = setup.run(&["new", "snake-pit"]);
    assert!(made.status.success(), "{made:?}");
    let game = setup.path("snake-pit");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"), game.join("Cargo.lock")).unwrap();
    (setup, game)
}

fn target() -> &'static Path {
    Path::new(BINARY).ancestors().nth(2).unwrap()
}

fn replace(game: &Path, from: &str, to: &str) {
    let file = game.join(TOUCHED);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

/// A file beside the folder of the game.
fn setup_file(game: &Path, name: &str) -> PathBuf {
    game.parent().expect("it lies in a folder").join(name)
}

fn version(engine: &Engine) -> u64 {
    engine.status()["rooms"][0]["version"].as_u64().unwrap()
}

/// The next notice that a player gets, whatever else comes before it.
fn notice(player: &mut Client) -> (Severity, String) {
    loop {
        let frame = player.next().expect("the connection stays");
        if let (_, EngineFrame::Notice { severity, text }) = EngineFrame::decode(&frame).unwrap() {
            return (severity, text.to_owned());
        }
    }
}

/// The command lines of all processes that name this.
fn processes_that_name(what: &str) -> Vec<String> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = numbers.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(what)).collect()
}

#[test]
fn a_new_game_is_tested_and_changes_while_it_runs() {
    let (setup, game) = new_game();
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--quiet", "--offline"]).current_dir(&game).env("CARGO_TARGET_DIR", target());
    let tested = cargo.output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));

    // A mistake from the start: it waits until that is mended.
    replace(&game, "mod page;", "mod page; fn broken( {");
    let (log, broken) = (setup.path("log"), game.clone());
    let mender = std::thread::spawn(move || {
        let waits = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("nothing to start on"));
        assert!(in_time(waits), "it does not wait for a change");
        replace(&broken, " fn broken( {", "");
    });
    let envs = [("CARGO_TARGET_DIR", target().to_str().unwrap()), ("CARGO_NET_OFFLINE", "true")];
    let engine = setup.start_as(&["dev", "snake-pit"], &envs);
    mender.join().unwrap();
    assert!(engine.get("/").contains("snake-pit"));
    assert_eq!((version(&engine), engine.get("/painters").as_str()), (1001, "[]\n"));

    // The page is a part of the plugin too.
    std::fs::write(game.join("page/wall.js"), "// nothing\n").unwrap();
    engine.until("the page is new", |engine| engine.get("/wall.js") == "// nothing\n");
    engine.until("the rooms run it", |engine| version(engine) == 1002);

    // Whoever plays is told what is wrong, and when it is over.
    let mut player = Client::open(engine.address, Transport::WebSocket);
    player.send(&ClientFrame::Join { room: "", credentials: "", hello: b"ann" });
    player.joined();
    replace(&game, "mod page;", "mod page; fn broken( {");
    let (severity, text) = notice(&mut player);
    assert!(severity == Severity::Error && text.contains("unclosed delimiter"), "{severity:?} {text}");
    engine.until("the build fails", |engine| engine.log().contains("version 1002 plays on"));
    assert!(engine.log().contains("unclosed delimiter"), "{}", engine.log());
    assert_eq!(version(&engine), 1002);

    // It is over also when somebody else loads a version, which is the one that plays on from there.
    assert_eq!(engine.get("/load?name=dev.1001.so"), "done\n");
    assert_eq!(notice(&mut player), (Severity::Over, String::new()));
    replace(&game, "fn broken( {", "fn broken( [");
    assert_eq!(notice(&mut player).0, Severity::Error);
    engine.until("the build fails again", |engine| engine.log().contains("version 1001 plays on"));

    replace(&game, " fn broken( [", " // mended");
    engine.until("it builds again", |engine| version(engine) == 1003);
    assert_eq!(notice(&mut player), (Severity::Over, String::new()));
    engine.until("it is said", |engine| engine.log().contains("dev: loaded version 1003"));
    let log = engine.log();
    for line in ["dev: watching snake-pit, logic_api, derive", "dev: changed snake-pit/src/lib.rs"] {
        assert!(log.contains(line), "{line} in {log}");
    }

    // Files from elsewhere that the code takes in are watched, too; and whoever plays here may see all of a fault.
    let words = setup_file(&game, "words.md");
    std::fs::write(&words, "one").unwrap();
    replace(&game, "*bytes else { return }", "*bytes else { panic!(include_str!(\"../../words.md\")) }");
    engine.until("it is built in", |engine| version(engine) == 1004);
    std::fs::write(&words, "two bytes are expected").unwrap();
    engine.until("it is built anew", |engine| version(engine) == 1005);
    player.say(b"?");
    let text = loop {
        let frame = player.next().expect("the connection stays");
        if let (_, EngineFrame::Error { text, .. }) = EngineFrame::decode(&frame).unwrap() {
            break text.to_owned();
        }
    };
    assert!(text.ends_with(": two bytes are expected"), "{text}");
    let log = engine.log();
    for line in ["dev: watching words.md too", "dev: changed words.md\ndev: building version 1005"] {
        assert!(log.contains(line), "{line} in {log}");
    }

    // In the middle of a build: neither cargo nor a compiler is left.
    replace(&game, "// mended", "");
    engine.until("it builds", |engine| engine.log().contains("building version 1006"));
    engine.signal(Signal::INT);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    let folder = setup.path("").display().to_string();
    assert!(in_time(|| processes_that_name(&folder).is_empty()), "{:?}", processes_that_name(&folder));

    // A world that is kept plays on where the first version has no place for it, until one has, or the loss is acknowledged.
    replace(&game, "painted: u32", "painted: u16");
    let engine = setup.start_as(&["dev", "snake-pit", "--data", "data-dev"], &envs);
    assert_eq!(version(&engine), 1005);
    let log = engine.log();
    for line in ["acknowledged with --drop NAME\n", "dev: version 1005 plays on; waiting for a change\n"] {
        assert!(log.contains(line) && !log.contains("--logic"), "{line} in {log}");
    }
    replace(&game, "painted: u16", "painted: u32");
    engine.until("a change has a place for it", |engine| version(engine) == 1007);
    engine.signal(Signal::INT);
    let (_, setup) = engine.ended();
    replace(&game, "painted: u32", "painted: u16");
    let words = ["dev", "snake-pit", "--data", "data-dev", "--drop", "Painter.painted"];
    assert_eq!(version(&setup.start_as(&words, &envs)), 1008);
}

#[test]
fn what_is_no_logic_is_told_in_one_line() {
    let setup = Setup::new(Path::new("."), &[]);
    assert_eq!(
        setup.failure(&["dev"]),
        "there is no logic here: neither . nor logic has a Cargo.toml of a crate; give its folder, or make one with engine new"
    );
    assert_eq!(
        setup.failure(&["dev", "nowhere"]),
        "there is no Cargo.toml in nowhere: give the folder of a logic, or make one with engine new"
    );
    assert_eq!(
        setup.failure(&["new", "Snake"]),
        "\"Snake\" is no name for a game: use a lower-case letter, then letters, digits, '_' and '-', at most 32"
    );
}
