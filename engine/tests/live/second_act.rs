//! The arena's second act, word for word as the README has it: a field more and another renamed, while somebody plays on.

use std::path::{Path, PathBuf};
use std::process::Command;

use wire::{ClientFrame, EngineFrame};

use crate::players::client::{Client, Transport};
use crate::support::{BINARY, Setup, game};

const README: &str = include_str!("../../../README.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the README has between two texts, the first included.
#[track_caller]
fn told<'t>(from: &str, to: &str) -> &'t str {
    let start = README.find(from).unwrap_or_else(|| panic!("no {from:?} in the README"));
    let rest = &README[start..];
    &rest[..rest.find(to).unwrap_or_else(|| panic!("no {to:?} after {from:?} in the README"))]
}

/// A copy of the game that ships with the engine, by itself.
fn copy_of_the_game(folder: &Path) -> PathBuf {
    let copy = folder.join("logic");
    for part in ["src", "page"] {
        copy_all(&Path::new(ROOT).join("logic").join(part), &copy.join(part));
    }
    // Which its page takes in from there.
    let client = "clients/js/hotseat.js";
    std::fs::create_dir_all(folder.join(client).parent().unwrap()).unwrap();
    std::fs::copy(Path::new(ROOT).join(client), folder.join(client)).unwrap();
    let api = Path::new(ROOT).join("logic_api").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"logic\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\nlogic_api = {{ path = {api:?} }}\n\n[workspace]\n"
    );
    std::fs::write(copy.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(Path::new(ROOT).join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    copy
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[track_caller]
fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Somebody with a page, who knows which avatar is theirs.
struct Player {
    client: Client,
    number: u16,
}

impl Player {
    fn join(address: std::net::SocketAddr) -> Self {
        let mut client = Client::open(address, Transport::WebSocket);
        client.send(&ClientFrame::Join { room: "", credentials: "", hello: b"ann" });
        client.joined();
        let mut player = Self { client, number: 0 };
        while player.number == 0 {
            player.news(|kind, part| if kind == 2 { number(part, 1) } else { 0 }, |player, own| player.number = own);
        }
        player
    }

    /// Reads each part of the next message, and takes what is found.
    fn news(&mut self, read: impl Fn(u8, &[u8]) -> u16, mut found: impl FnMut(&mut Self, u16)) {
        let frame = self.client.next().expect("the connection stays");
        let (_, EngineFrame::Message(mut bytes)) = EngineFrame::decode(&frame).unwrap() else { return };
        while let Some(&kind) = bytes.first() {
            let (part, rest) = bytes.split_at(part_bytes(bytes));
            match read(kind, part) {
                0 => {}
                value => found(self, value),
            }
            bytes = rest;
        }
    }

    /// Where it is, from left to right, once it is told.
    fn place(&mut self) -> u16 {
        let (number_of, mut place) = (self.number, None);
        while place.is_none() {
            let read = |kind: u8, part: &[u8]| {
                let avatars = (kind == 10).then(|| part[7..].chunks_exact(10)).into_iter().flatten();
                // 0 is nothing found.
                avatars.filter(|avatar| number(avatar, 0) == number_of).map(|avatar| number(avatar, 2).max(1)).sum()
            };
            self.news(read, |_, x| place = Some(x));
        }
        place.unwrap()
    }

    /// Steers away from the nearer wall until it gets there.
    fn moves(&mut self) {
        let from = self.place();
        let is_left = from < u16::MAX / 2;
        self.client.say(&[if is_left { 127 } else { 0x81 }, 0]);
        loop {
            let place = self.place();
            if if is_left { place > from + 500 } else { place + 500 < from } {
                return;
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// How long the first part of a message is: `logic/src/news.rs`.
fn part_bytes(bytes: &[u8]) -> usize {
    match bytes[0] {
        1 => 15,
        2 | 4 => 3,
        3 => 5 + usize::from(bytes[4]),
        5 => 10,
        6 => 5,
        7 => 6,
        8 => (0..bytes[10]).fold(11, |at, _| at + 7 + usize::from(bytes[at + 6])),
        9 => 1,
        10 => 7 + 10 * usize::from(number(bytes, 5)),
        kind => panic!("{kind} is no part of a message"),
    }
}

#[test]
fn the_second_act_is_played_as_the_readme_tells_it() {
    let engine = Setup::new(game(), &["game.1001.so"]).with("logic = \"game.1001.so\"").start();
    let mut ann = Player::join(engine.address);
    ann.moves();

    let folder = tempfile::tempdir().unwrap();
    let copy = copy_of_the_game(folder.path());
    done(Command::new("sh").arg("-ec").arg(told("sed -i -e", "scripts/build_so.sh 2")).current_dir(folder.path()));
    let target = Path::new(BINARY).ancestors().nth(2).unwrap();
    let mut build = Command::new(Path::new(ROOT).join("scripts/build_so.sh"));
    build.args(["--dev", "--crate"]).arg(&copy).arg("--plugins").arg(engine.setup.plugins()).arg("2");
    done(build.env("CARGO_TARGET_DIR", target));

    let [one, two] = ["game.1001.so", "game.1002.so"].map(|name| engine.setup.plugins().join(name));
    let plan = engine.setup.run(&["plan", one.to_str().unwrap(), two.to_str().unwrap()]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    let lines = told("# avatars: ", "# …").lines().map(|line| line.strip_prefix("# ").unwrap());
    assert_eq!(lines.clone().count(), 3);
    lines.for_each(|line| assert!(plan.lines().any(|told| told == line), "{line:?} in {plan}"));

    ann.moves();
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    ann.moves();
    let leaders = engine.get("/leaderboard");
    assert!(leaders.contains("ann"), "{leaders}");

    // Back something would be lost, so it has to be named.
    let (status, code, reason) = engine.refusal("/load?name=game.1001.so&confirm=1");
    assert_eq!((status, &*code), (409, "schema-differs"), "{reason}");
    assert!(reason.contains("Avatar.lives: u8 would be dropped; "), "{reason}");
    ann.moves();
    let back = told("127.0.0.1:12345/load?name=game.1001.so&drop=", "'").strip_prefix("127.0.0.1:12345").unwrap();
    assert_eq!(engine.get(back), "done\n");
    ann.moves();
    let versions: Vec<u64> =
        engine.status()["rooms"].as_array().unwrap().iter().map(|room| room["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1001]);
}
