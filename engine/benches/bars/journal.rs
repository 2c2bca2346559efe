//! What it costs to keep a room, and how fast it is back.

use crate::loads::bench_logic;
use crate::measure::{Bar, Report, median, quantile, seconds};
use crate::server::Engine;
use crate::sockets::options;
use bench_logic::operation;
use engine::journal::Durability;
use engine::journal::keeper::{KeepOptions, Keeper};
use engine::journal::recorder::Recorder;
use engine::journal::replay::Replay;
use engine::journal::segments::Found;
use logic_api::PlayerId;
use room::{Input, LogicVersion, Outbox, Pool, Room, Stamp, VersionMark};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use swarm::script::Script;
use swarm::{Expect, Options, Pace, Stop};

const ROWS: u64 = 1_000_000;
const TICK_US: u64 = 50_000;
const PLAYERS: u64 = 100;

pub(crate) fn measure(report: &mut Report) {
    let logic = bench_logic();
    measure_messages(report, &logic);
    measure_recovery(report, &logic);
    measure_restart(report);
    measure_replay(report, &logic);
    measure_snapshot(report, &logic);
}

/// A room that is kept, or one that is not, and its virtual clock.
struct Kept {
    room: Room,
    recorder: Option<Recorder>,
    outbox: Outbox,
    now_us: u64,
    numbers: u32,
}

impl Kept {
    fn new(logic: &Arc<LogicVersion>, keeper: Option<&Keeper>) -> Self {
        let (pool, mut outbox, stamp) = (Pool::new(), Outbox::new(), Stamp { now_us: 1, seed: 7 });
        let room = Room::create("main", logic.clone(), &pool, stamp, b"", &mut outbox).expect("a room");
        let recorder = keeper.map(|keeper| {
            let mut recorder = keeper.record_new("main", &pool, b"{}".to_vec(), None);
            recorder.created(&room, stamp, &Input::Create { config: Arc::from([]) });
            recorder
        });
        let mut this = Self { room, recorder, outbox, now_us: 1, numbers: 0 };
        for player in 1..=PLAYERS {
            this.step(Input::Join { player: PlayerId(player), hello: Arc::from([]), claims: "".into() });
        }
        this
    }

    fn step(&mut self, input: Input) {
        let (stamp, outbox) = (Stamp { now_us: self.now_us, seed: 7 }, &mut self.outbox);
        let stepped = match &mut self.recorder {
            None => self.room.step(stamp, input, outbox),
            Some(recorder) => {
                recorder.step(&mut self.room, stamp, input, |room, input, _| room.step(stamp, input, outbox))
            }
        };
        stepped.expect("applied");
        outbox.drain().for_each(drop);
    }

    /// Messages of all players in batches as they come from sockets, and a tick.
    fn play(&mut self, ticks: u32, messages: u64, operation: u8) {
        for _ in 0..ticks {
            self.numbers += 1;
            for sender in 0..messages {
                let (player, number) = (PlayerId(sender % PLAYERS + 1), self.numbers + u32::from(sender >= PLAYERS));
                let bytes: Vec<u8> = [&[operation][..], &(sender + 1).to_le_bytes()].concat();
                self.step(Input::Message { player, number, bytes: bytes.into() });
                if sender % 10 == 9 {
                    self.release();
                }
            }
            self.now_us += TICK_US;
            self.step(Input::Tick);
            self.release();
        }
    }

    fn fill(&mut self) {
        for first in (0..ROWS).step_by(10_000) {
            self.numbers += 1;
            let numbers = (first..first + 10_000).flat_map(u64::to_le_bytes);
            let bytes: Vec<u8> = std::iter::once(operation::FILL).chain(numbers).collect();
            let (player, number) = (PlayerId(1), self.numbers);
            self.step(Input::Message { player, number, bytes: bytes.into() });
            self.release();
        }
    }

    fn tick_on_all(&mut self) {
        self.numbers += 1;
        let (player, number) = (PlayerId(1), self.numbers);
        self.step(Input::Message { player, number, bytes: [operation::PASS][..].into() });
        self.now_us += TICK_US;
        self.step(Input::Tick);
        self.release();
    }

    fn release(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.release(|| {});
            recorder.snapshot_if_due(&mut self.room, Instant::now());
        }
    }
}

fn keeper(data: &Path, durability: Durability, snapshot_period: Duration) -> Keeper {
    let options = KeepOptions { durability, snapshot_period, snapshot_bytes: u64::MAX };
    Keeper::start(data, options, |error| panic!("{error}")).expect("a keeper")
}

const NEVER: Duration = Duration::from_secs(86_400);

/// Messages of a hundred players as fast as they can be applied: without sockets, which cost many times as much. Beside it as many
/// bytes, written to a plain file in as many pieces.
fn measure_messages(report: &mut Report, logic: &Arc<LogicVersion>) {
    const TICKS: u32 = 400;
    const TURNS: usize = 5;
    let settings = [Durability::Off, Durability::Within(Duration::from_millis(100)), Durability::Tick];
    let mut figures = [const { Vec::new() }; 3];
    let mut plain = Vec::new();
    for _ in 0..TURNS {
        for (durability, figures) in settings.into_iter().zip(&mut figures) {
            let data = tempfile::tempdir().expect("a folder");
            let keeper = (durability != Durability::Off).then(|| keeper(data.path(), durability, NEVER));
            let mut kept = Kept::new(logic, keeper.as_ref());
            figures.push(seconds(|| {
                kept.play(TICKS, PLAYERS, operation::MOVE);
                keeper.iter().for_each(|keeper| assert!(keeper.journal().flushed()));
            }));
            if let (Some(keeper), Durability::Within(_)) = (&keeper, durability) {
                let bytes = files_in(&keeper.folder("main"), ".journal").iter().map(|(_, bytes)| bytes).sum();
                plain.push(write_plainly(data.path(), bytes, u64::from(TICKS) * PLAYERS.div_ceil(10)));
            }
            keeper.iter().for_each(Keeper::end);
        }
    }
    let messages = f64::from(TICKS) * PLAYERS as f64;
    let [off, within, tick] = figures.map(|figures| median(&figures) * 1e9 / messages);
    let plain = median(&plain) * 1e9 / messages;
    let detail = format!(
        "{off:.0} ns to apply it, {within:.0} to apply and keep it, {tick:.0} at \"tick\"; its bytes written to a plain file: {plain:.0}"
    );
    report.add("keeping a message, over applying it, \"100ms\"", (within - off) / 1e3, " µs", Bar::None, detail);
}

/// How long it takes to write so many bytes in so many pieces, and to sync them once, in seconds.
fn write_plainly(folder: &Path, bytes: u64, pieces: u64) -> f64 {
    let mut file = std::fs::File::create(folder.join("plain")).expect("a file");
    let piece = vec![1; usize::try_from(bytes.div_ceil(pieces)).expect("a few bytes")];
    seconds(|| {
        (0..pieces).for_each(|_| file.write_all(&piece).expect("written"));
        file.sync_data().expect("synced");
    })
}

/// The files of a folder whose names end so, and their lengths.
fn files_in(folder: &Path, ending: &str) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable"));
    let files = entries.map(|entry| (entry.path(), entry.metadata().expect("readable").len()));
    files.filter(|(path, _)| path.to_string_lossy().ends_with(ending)).collect()
}

/// How long it takes to read all that is kept of a room, in seconds.
fn read_plainly(folder: &Path) -> f64 {
    seconds(|| files_in(folder, "").iter().map(|(path, _)| std::fs::read(path).expect("read").len()).sum::<usize>())
}

/// A million rows in a snapshot, and ten seconds of a hundred players in the journal; then the ten seconds alone, once more.
fn measure_recovery(report: &mut Report, logic: &Arc<LogicVersion>) {
    let data = tempfile::tempdir().expect("a folder");
    {
        let keeper = keeper(data.path(), Durability::Within(Duration::from_millis(100)), NEVER);
        let mut kept = Kept::new(logic, Some(&keeper));
        kept.fill();
        if let Some(recorder) = &mut kept.recorder {
            recorder.end(&mut kept.room);
        }
        // The journal goes on after the snapshot.
        kept.play(200, PLAYERS, operation::MOVE);
        assert!(keeper.journal().flushed());
        keeper.end();
    }
    let mut find = |_: &VersionMark| Ok(logic.clone());
    let mut turns = Vec::new();
    let mut rows = 0;
    for _ in 0..3 {
        let keeper = keeper(data.path(), Durability::Tick, NEVER);
        turns.push(seconds(|| {
            let recovered =
                keeper.recover("main", (&Pool::new(), &Arc::default()), &mut find).expect("recovered").expect("a room");
            rows = recovered.room.world().size().rows;
        }));
        keeper.end();
    }
    assert_eq!(rows, ROWS + 1);
    let detail = format!(
        "{ROWS} rows in a snapshot, 200 ticks with {PLAYERS} messages each; median of 3; to read the files takes {:.2} s",
        read_plainly(&data.path().join("rooms/main"))
    );
    report.add("recovery of 1M rows + 10 s of journal", median(&turns), " s", Bar::AtMost(3.0), detail);
}

/// The same of an engine that is killed: from its start to the word that it listens.
fn measure_restart(report: &mut Report) {
    let logic = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/logic");
    let mut engine = Engine::start_with(&[&["--crate", logic, "1"]], "tick_hz = 20\n");
    let opened = engine.send("POST", "/api/v1/rooms", &format!("{{\"name\": \"large\", \"config\": \"{ROWS}\"}}"));
    assert!(opened.contains("\"large\""), "{opened}");
    // An orderly end leaves a snapshot; what comes after that is the journal's.
    engine.start_again(Signal::TERM);
    let run = swarm::run(
        &Options {
            room: "large".to_owned(),
            players: PLAYERS as u32,
            pace: Pace::PerSecond(20.0),
            duration: Duration::from_secs(10),
            script: Script::parse(&format!("hex {:02x}{{random:u64 0 {}}}", operation::MOVE, ROWS - 1))
                .expect("a script"),
            expect: Expect::Consumed,
            ..options(engine.server.address)
        },
        &Stop::default(),
        |_| {},
    );
    let run = run.unwrap_or_else(|error| panic!("{error}"));
    assert!(run.messages.lost == 0 && run.disconnects() == 0 && run.refused() == 0, "{run}");
    let start = Instant::now();
    engine.start_again(Signal::KILL);
    let took = start.elapsed().as_secs_f64();
    let room = engine.get("/api/v1/rooms/large").replace(" ", "");
    assert!(room.contains(&format!("\"rows\":{}", ROWS + 1)), "{room}");
    let detail = format!("killed, started, all rows there; {} messages since the snapshot", run.messages.sent);
    report.add("the same by a new process, until it listens", took, " s", Bar::AtMost(3.0), detail);
}

/// An hour, recorded as fast as it can be applied; then read, checked and applied once more, as a recovery would.
fn measure_replay(report: &mut Report, logic: &Arc<LogicVersion>) {
    const TICKS: u32 = 20 * 3600;
    let data = tempfile::tempdir().expect("a folder");
    let keeper = keeper(data.path(), Durability::Within(Duration::from_millis(100)), NEVER);
    let mut kept = Kept::new(logic, Some(&keeper));
    let recording = seconds(|| {
        kept.play(TICKS, PLAYERS, operation::MOVE);
        assert!(keeper.journal().flushed());
    });
    let folder = keeper.folder("main");
    let (mut records, mut bytes, mut hash) = (0, 0, 0);
    let took = seconds(|| {
        let files = keeper.files();
        let found = Found::read(&**files, &folder).expect("sound").expect("a journal");
        let mut replay = Replay::new("main", &Pool::new(), None, BTreeMap::new());
        for record in found.records(&**files, found.first()) {
            let record = record.expect("sound");
            replay.apply(&record, &mut |_| Ok(logic.clone()), None).expect("applied");
        }
        (records, bytes) = (replay.records, found.bytes());
        hash = replay.room().expect("a room").state_hash();
    });
    assert_eq!(hash, kept.room.state_hash(), "the replay came to the same world");
    let real = f64::from(TICKS) / 20.0;
    let detail = format!(
        "{records} records, {} MB, in {took:.1} s: an hour at 20 Hz, {PLAYERS} players with a message each tick; recorded in \
         {recording:.1} s; to read the files takes {:.2} s",
        bytes / 1_000_000,
        read_plainly(&folder)
    );
    report.add("replay, times real time", real / took, " ×", Bar::AtLeast(100.0), detail);
    keeper.end();
}

/// A tick that writes to every row, twenty times a second as fast as it goes, with and without snapshots on the way, in turn.
fn measure_snapshot(report: &mut Report, logic: &Arc<LogicVersion>) {
    const ROUNDS: usize = 8;
    const TICKS: u32 = 60;
    const PERIOD: Duration = Duration::from_millis(500);
    let data = [NEVER, PERIOD].map(|period| (tempfile::tempdir().expect("a folder"), period));
    let mut rooms = data.each_ref().map(|(data, period)| {
        let keeper = keeper(data.path(), Durability::Within(Duration::from_millis(100)), *period);
        let mut kept = Kept::new(logic, Some(&keeper));
        kept.fill();
        (keeper, kept, Vec::new(), BTreeSet::new())
    });
    for _ in 0..ROUNDS {
        for (keeper, kept, ticks, snapshots) in &mut rooms {
            let mut due = Instant::now();
            for _ in 0..TICKS {
                ticks.push(seconds(|| kept.tick_on_all()));
                due += Duration::from_micros(TICK_US);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            snapshots.extend(files_in(&keeper.folder("main"), ".snapshot").into_iter().map(|(path, _)| path));
        }
    }
    let [without, with] = rooms.map(|(keeper, _, ticks, snapshots)| {
        keeper.end();
        (quantile(&ticks, 0.99) * 1e3, snapshots.len())
    });
    assert!(without.1 == 0 && with.1 >= ROUNDS, "{} snapshots, and {} where there should be none", with.1, without.1);
    let detail = format!(
        "p99 {:.2} ms with a snapshot each 0.5 s, {:.2} ms without; {} ticks at 20 Hz of each, in turn; at least {} snapshots",
        with.0,
        without.0,
        ROUNDS * TICKS as usize,
        with.1
    );
    report.add(
        "tick with snapshots of 1M rows, p99, times without",
        with.0 / without.0,
        " ×",
        Bar::AtMost(1.3),
        detail,
    );
}
