//! An engine that is killed under load, again and again, and its twin that never is: whatever was acknowledged is there once, in the
//! order of the answers, and every state hash is the twin's.
//!
//! Players number their messages, and send again what they do not know to be consumed; the world counts each number.

mod players;
mod twin;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use logic_api::Rng;

use crate::kept::run;
use crate::kills::players::{Asker, PLAYERS, Player};
use crate::kills::twin::Twin;
use crate::support::{Engine, Setup, in_time, moody};

/// How often an engine is killed under load, unless `HOTSEAT_KILLS` says otherwise.
const KILLS: u64 = 50;
/// Each player's messages, and requests, between two kills, at most.
const EACH_MAX: u32 = 50;
/// The engine makes a snapshot each time so many bytes of records have come.
const SNAPSHOT_BYTES: usize = 64 << 10;
/// With a record's frame, and what else there is of requests.
const INPUT_BYTES_MAX: usize = players::MESSAGE_BYTES_MAX + 200;
// A segment goes when two snapshots have come after it. Between two kills there is one at most, so the twin misses none.
const _: () = assert!((PLAYERS + 1) * EACH_MAX as usize * INPUT_BYTES_MAX < 2 * SNAPSHOT_BYTES);

/// Everybody sends and asks until so many answers have come; then the engine is killed while more is under way.
fn killed_under_load(engine: Engine, players: &mut [Player], asker: &mut Asker, answers: usize) -> Setup {
    let (heard, address) = (AtomicUsize::new(0), engine.address);
    players.iter_mut().for_each(|player| player.come(address));
    std::thread::scope(|scope| {
        let heard = &heard;
        let count = move || {
            heard.fetch_add(1, Ordering::Relaxed);
        };
        for player in players {
            scope.spawn(move || player.play(EACH_MAX, count));
        }
        scope.spawn(move || asker.ask(address, EACH_MAX, count));
        assert!(in_time(|| heard.load(Ordering::Relaxed) >= answers));
        engine.killed()
    })
}

/// What is in the room's folder now has another name beside, and is there when the engine removes it.
fn link_segments(room: &Path, links: &Path) {
    std::fs::create_dir_all(links).unwrap();
    for entry in std::fs::read_dir(room).unwrap() {
        let path = entry.unwrap().path();
        let link = links.join(path.file_name().unwrap());
        if path.extension().is_some_and(|extension| extension == "journal") && !link.exists() {
            std::fs::hard_link(path, link).unwrap();
        }
    }
}

#[test]
fn a_killed_engine_has_lost_nothing_and_doubled_nothing() {
    let kills = std::env::var("HOTSEAT_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let lines = format!("tick_hz = 20\nsnapshot_interval_ms = 86400000\nsnapshot_journal_bytes = {SNAPSHOT_BYTES}");
    let mut setup = Setup::new(moody(), &["game.1001.so"]).with(&lines);
    let mut players: Vec<Player> = (1..=PLAYERS as u64).map(Player::new).collect();
    let (mut asker, mut twin, mut rng) = (Asker::default(), None, Rng::new(kills));
    for kill in 0..kills {
        let engine = setup.start();
        link_segments(&engine.setup.data().join("rooms/main"), &engine.setup.path("links"));
        let answers_max = (PLAYERS as u64 + 1) * u64::from(EACH_MAX) * 2 / 3;
        let answers = usize::try_from(if kill % 4 == 3 { answers_max } else { rng.below(60) }).unwrap();
        setup = killed_under_load(engine, &mut players, &mut asker, answers);
        link_segments(&setup.data().join("rooms/main"), &setup.path("links"));
        let twin = twin.get_or_insert_with(|| Twin::new(&setup.data()));
        twin.follow(&setup.path("links"), &players, &asker, &format!("kill {kill}"));
    }
    let mut twin = twin.unwrap();
    assert!(run(&setup, &["journal", "check"]).starts_with("main: "));
    let verified = run(&setup, &["replay", "--verify"]);
    assert!(verified.starts_with("verified: "), "{verified}");
    // Its own count of what it was sent, and once more the whole of it against the twin.
    let engine = setup.start();
    players.iter_mut().for_each(|player| player.come(engine.address));
    let (sent, consumed) = players.iter().fold((0, 0), |sum, player| (sum.0 + player.sent, sum.1 + player.consumed()));
    let counted = engine.get("/heard");
    assert_eq!(counted, format!("{consumed} numbers, {consumed} messages\n"), "{sent} were sent");
    let setup = engine.killed();
    link_segments(&setup.data().join("rooms/main"), &setup.path("links"));
    twin.follow(&setup.path("links"), &players, &asker, "the end");
    println!("{kills} kills: {twin}; {consumed} of {sent} messages consumed, none lost, none doubled");
    assert!(twin.hashes as u64 > kills && twin.answers as u64 > kills);
}
