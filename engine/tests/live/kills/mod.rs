//! An engine that is killed at random moments, under load and in its starts, again and again, and its twin that never is: whatever
//! was acknowledged is there once, in the order of the answers, and every state hash is the twin's.
//!
//! Players in two rooms number their messages, send again what they do not know to be consumed, and leave and come anew; the
//! world counts each number. Now and then an operator loads the other version, and confirms it, takes it back, or does not come to it.

mod operator;
mod players;
mod twin;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use logic_api::Rng;

use crate::kills::operator::{Operator, Verdict};
use crate::kills::players::{Asker, Player};
use crate::kills::twin::{Accounts, Twin};
use crate::support::{Engine, Setup, in_time, moody};

/// How often an engine is killed, unless `HOTSEAT_KILLS` says otherwise.
const KILLS: u64 = 50;
const ROOMS: [&str; 2] = ["main", "b"];
/// In each room.
const PLAYERS: usize = 2;
/// Each player's messages, and requests to each room, between two kills, at most.
const EACH_MAX: u32 = 80;
/// Answers of all rooms that come in any case.
const ANSWERS_MAX: u64 = (ROOMS.len() * (PLAYERS + 1)) as u64 * EACH_MAX as u64;
/// The engine makes a snapshot of a room each time so many bytes of its records have come.
const SNAPSHOT_BYTES: usize = 64 << 10;
/// With a record's frame, and what else there is of requests.
const INPUT_BYTES_MAX: usize = players::MESSAGE_BYTES_MAX + 100;
// A segment goes when two snapshots have come after it. Between two kills there is one at most, so the twin misses none.
const _: () = assert!((PLAYERS + 1) * EACH_MAX as usize * INPUT_BYTES_MAX < 2 * SNAPSHOT_BYTES);
/// Starts in a row that are killed, as the first ones are, which make the rooms. An input that is under way in five of them is taken
/// for what ends the process.
const STARTS_MAX: u64 = 3;
/// What a start takes, until it is known.
const START: Duration = Duration::from_millis(300);

/// One life of the engine, as those see it who have to do with it.
#[derive(Clone, Copy)]
struct Life<'a> {
    address: SocketAddr,
    /// Messages of each player, and requests to each room.
    each: u32,
    /// Between two messages of a player.
    pause_max: Duration,
    /// To be called for each answer,
    heard: &'a (dyn Fn() + Sync),
    /// and for each step of the operator.
    stepped: &'a (dyn Fn() + Sync),
}

/// When an engine is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After the spawn, by this part of what a whole start took.
    Start { permille: u64 },
    /// So long after so many answers.
    Answers { count: usize, then: Duration },
    /// While a load is under way, a version on trial, or a verdict under way: so long after that step.
    Step { count: usize, then: Duration, verdict: Verdict },
}

/// What is random of a life.
#[derive(Debug, Clone, Copy)]
struct Plan {
    moment: Moment,
    durability: &'static str,
    seed: u64,
}

impl Plan {
    fn new(rng: &mut Rng, starts_before: u64) -> Plan {
        let micros = |rng: &mut Rng, max: u64| Duration::from_micros(rng.below(max));
        let moment = match rng.below(10) {
            0..4 if starts_before < STARTS_MAX => Moment::Start { permille: rng.below(1100) },
            4..7 => {
                let verdict = Verdict::ALL[usize::try_from(rng.below(4)).unwrap()];
                let steps = if verdict == Verdict::Nothing { 1 } else { 3 };
                let count = usize::try_from(1 + rng.below(steps)).unwrap();
                Moment::Step { count, then: micros(rng, if count == 1 { 400_000 } else { 20_000 }), verdict }
            }
            _ => {
                let count = if rng.below(3) == 0 { ANSWERS_MAX * 9 / 10 } else { rng.below(ANSWERS_MAX / 3) };
                Moment::Answers { count: usize::try_from(count).unwrap(), then: micros(rng, 3000) }
            }
        };
        // By default outputs leave earlier, and more is written when the engine dies.
        let durability = if rng.below(2) == 0 { "tick" } else { "100ms" };
        Plan { moment, durability, seed: rng.next_u64() }
    }
}

/// Tells how to see a failure again, as far as a real process can be had again.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was HOTSEAT_SEED={}", self.0);
        }
    }
}

/// All but the engine.
struct Cast {
    players: Vec<Player>,
    askers: Vec<Asker>,
    operator: Operator,
    /// What a start takes that is not killed, once there was one.
    start: Option<Duration>,
}

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visits = || self.players.iter().flat_map(|player| &player.visits);
        let sent: u32 = visits().map(|visit| visit.sent).sum();
        write!(f, "{} joins, {sent} messages", visits().count())
    }
}

impl Cast {
    fn new() -> Cast {
        let places = (0..PLAYERS * ROOMS.len()).map(|place| Player::new(place, ROOMS[place % ROOMS.len()]));
        let (players, askers) = (places.collect(), ROOMS.map(Asker::new).into());
        Cast { players, askers, operator: Operator::default(), start: None }
    }

    fn accounts(&self) -> Accounts<'_> {
        Accounts { players: &self.players, askers: &self.askers, operator: &self.operator }
    }

    /// Has the engine live as planned, and killed.
    fn live(&mut self, setup: Setup, plan: Plan) -> Setup {
        let setup = setup.set("durability", &format!("{:?}", plan.durability));
        if let Moment::Start { permille } = plan.moment {
            self.operator.loads.clear();
            let engine = setup.start_unheard(&["serve"], &[]);
            // Waits for nothing: the moment is random.
            std::thread::sleep(self.start.unwrap_or(START) * u32::try_from(permille).unwrap() / 1000);
            return engine.killed();
        }
        let spawned = Instant::now();
        let engine = setup.start();
        self.start.get_or_insert(spawned.elapsed());
        self.operator.come(&engine);
        self.under_load(engine, plan)
    }

    /// Everybody sends and asks until it is time; then the engine is killed while more is under way.
    fn under_load(&mut self, engine: Engine, Plan { moment, seed, .. }: Plan) -> Setup {
        let (answers, steps, mut rng) = (AtomicUsize::new(0), AtomicUsize::new(0), Rng::new(seed));
        let (heard, stepped) =
            (|| _ = answers.fetch_add(1, Ordering::Relaxed), || _ = steps.fetch_add(1, Ordering::Relaxed));
        // A load takes longer than their messages otherwise would.
        let pause_max = if let Moment::Step { .. } = moment { Duration::from_millis(20) } else { Duration::ZERO };
        let life = Life { address: engine.address, each: EACH_MAX, pause_max, heard: &heard, stepped: &stepped };
        let (life, places, operator) = (&life, self.players.len(), &mut self.operator);
        std::thread::scope(|scope| {
            for player in &mut self.players {
                let rng = Rng::new(rng.next_u64());
                scope.spawn(move || player.live(places, life, rng));
            }
            for asker in &mut self.askers {
                scope.spawn(move || asker.live(life));
            }
            if let Moment::Step { verdict, .. } = moment {
                scope.spawn(move || operator.live(verdict, life));
            }
            let (counted, count, then) = match moment {
                Moment::Start { .. } => unreachable!("nobody is there then"),
                Moment::Answers { count, then } => (&answers, count, then),
                Moment::Step { count, then, .. } => (&steps, count, then),
            };
            assert!(in_time(|| counted.load(Ordering::Relaxed) >= count), "{}", engine.log());
            std::thread::sleep(then);
            engine.killed()
        })
    }
}

/// What is in the rooms' folders now has another name beside, and is there when the engine removes it.
fn link_segments(setup: &Setup, links: &Path) {
    for room in ROOMS {
        let links = links.join(room);
        std::fs::create_dir_all(&links).unwrap();
        for entry in std::fs::read_dir(setup.data().join("rooms").join(room)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let link = links.join(path.file_name().unwrap());
            if path.extension().is_none_or(|extension| extension != "journal") {
                continue;
            }
            let inode = |path: &Path| path.metadata().map(|data| data.ino()).ok();
            // A room that was never whole is made anew.
            if inode(&link).is_some_and(|linked| Some(linked) != inode(&path)) {
                std::fs::remove_file(&link).unwrap();
            }
            if !link.exists() {
                std::fs::hard_link(path, link).unwrap();
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}

#[test]
fn a_killed_engine_has_lost_nothing_and_doubled_nothing() {
    let kills = number("HOTSEAT_KILLS").unwrap_or(KILLS);
    let seed = Seed(number("HOTSEAT_SEED").unwrap_or_else(|| RandomState::new().hash_one(0)));
    println!("HOTSEAT_SEED={}", seed.0);
    let lines = format!(
        "rooms = [\"main\", \"b\"]\nroom_threads = 2\ntick_hz = 20\nprobation = \"10min\"\naway_grace_ms = 86400000\n\
         frames_per_second_max = 0\nsnapshot_interval_ms = 86400000\nsnapshot_journal_bytes = {SNAPSHOT_BYTES}"
    );
    let mut setup = Setup::new(moody(), &["game.1001.so", "plugin1.so", "plugin2.so"]).with(&lines);
    let (links, mut rng, mut cast, mut starts) = (setup.path("links"), Rng::new(seed.0), Cast::new(), 0);
    let mut twin = None;
    for kill in 1..=kills {
        let mut plan = Plan::new(&mut rng, starts);
        if kill <= STARTS_MAX {
            plan.moment = Moment::Start { permille: rng.below(1100) };
        }
        println!("kill {kill}: {plan:?}");
        starts = if let Moment::Start { .. } = plan.moment { starts + 1 } else { 0 };
        link_segments(&setup, &links);
        setup = cast.live(setup, plan);
        link_segments(&setup, &links);
        twin.get_or_insert_with(|| Twin::new(&setup.data(), &ROOMS)).follow(&links, cast.accounts());
    }
    let (mut twin, engine) = (twin.unwrap(), setup.start());
    cast.operator.come(&engine);
    let counted = ROOMS.map(|room| engine.get(&format!("/heard?room={room}")));
    let setup = engine.killed();
    link_segments(&setup, &links);
    twin.follow(&links, cast.accounts());
    println!("{kills} kills, {cast}: {twin}");
    for (room, counted) in ROOMS.into_iter().zip(counted) {
        // Its own count of what it was sent, and once more the whole of it against the twin.
        let consumed = twin.consumed(room);
        assert_eq!(counted, format!("{consumed} numbers, {consumed} messages\n"));
        let verified = setup.said(&["replay", "--room", room, "--verify"]);
        assert!(verified.starts_with("verified: "), "{verified}");
        let (replayed, hash) = (setup.said(&["replay", "--room", room]), twin.state_hash(room));
        assert!(replayed.contains(&format!("state hash {hash:016x}\n")), "{room}: {hash:016x}: {replayed}");
    }
    assert!(setup.said(&["journal", "check"]).starts_with("b: "));
    let counts = twin.counts();
    assert!(counts.hashes > kills / 2 && counts.answers > kills, "{twin}");
    // Few kills may have none of it.
    assert!(kills < 4 * KILLS || counts.leaves * counts.confirmed * counts.rewound > 0, "{twin}");
}
