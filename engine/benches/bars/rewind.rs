//! What a version that failed costs: ten seconds of a thousand players, applied once more; and the same with the players on sockets.

use crate::measure::{Bar, Report, median, quantile, seconds};
use crate::server::Engine;
use crate::sockets::options;
use bench_logic::operation;
use engine::journal::black_box::BlackBox;
use engine::journal::files::Disk;
use logic_api::PlayerId;
use room::{Input, Outbox, Pool, Reply, Room, Stamp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use swarm::{Options, Pace, Stop};

const PLAYERS: u64 = 1_000;
const TICKS: u32 = 20 * 10;
/// Ten a second of each player.
const MESSAGES_PER_TICK: u64 = PLAYERS / 2;

pub(crate) fn measure(report: &mut Report) {
    measure_in_process(report);
    measure_on_sockets(report);
}

fn measure_in_process(report: &mut Report) {
    let logic = crate::loads::bench_logic();
    let mut outbox = Outbox::new();
    let stamp = Stamp { now_us: 1, seed: 7 };
    let mut room = Room::create("main", logic.clone(), &Pool::new(), stamp, b"", &mut outbox).expect("a room");
    let mut step = |room: &mut Room, input| {
        let reply = room.step(stamp, input, &mut outbox).expect("applied");
        outbox.drain().for_each(drop);
        reply
    };
    let message = |player: u64, number: u32, operation: u8, unit: u64| {
        let bytes: Vec<u8> = [&[operation][..], &unit.to_le_bytes()].concat();
        Input::Message { player: PlayerId(player), number, bytes: bytes.into() }
    };
    // As in an engine that keeps a journal: each input is noted before it is applied once more.
    let folder = tempfile::tempdir().expect("a folder");
    let mut black_box = BlackBox::open(&Disk, folder.path()).expect("a black box");
    let mut unheard = Outbox::new();
    let mut numbers = vec![0; PLAYERS as usize + 1];
    let mut from = |player: u64, operation| {
        let number = &mut numbers[player as usize];
        *number += 1;
        message(player, *number, operation, player)
    };
    for player in 1..=PLAYERS {
        step(&mut room, Input::Join { player: PlayerId(player), hello: Arc::from([]), claims: "".into() });
        step(&mut room, from(player, operation::FILL));
    }
    let (mut rewinds, mut firsts) = (Vec::new(), Vec::new());
    for turn in 0..11 {
        step(&mut room, Input::swap(logic.clone()));
        let mut sender = 0;
        let mut inputs = Vec::new();
        for _ in 0..TICKS {
            for _ in 0..MESSAGES_PER_TICK {
                sender = sender % PLAYERS + 1;
                inputs.push(from(sender, operation::MOVE));
            }
            inputs.push(Input::Tick);
        }
        let count = inputs.len();
        let first = seconds(|| inputs.into_iter().for_each(|input| drop(step(&mut room, input))));
        assert_eq!(room.trial_inputs(), Some(count));
        let hash = room.state_hash();
        let mut rewound = Reply::Done;
        let rewind = seconds(|| {
            let mut watch = black_box.rewinding(0);
            rewound = room.step_watched(stamp, Input::rewind(), &mut unheard, &mut watch).expect("applied");
        });
        assert_eq!(rewound, Reply::Rewound(Vec::new()), "no input is lost");
        assert_eq!((room.state_hash(), room.world().players().len()), (hash, PLAYERS as usize), "turn {turn}");
        drop(room.take_spent());
        rewinds.push(rewind * 1e3);
        firsts.push(first * 1e3);
    }
    let inputs = TICKS as u64 * (MESSAGES_PER_TICK + 1);
    let detail = format!(
        "worst {:.1} ms; {inputs} inputs, which took {:.1} ms when they were new; nobody is out, nothing is lost",
        quantile(&rewinds, 1.0),
        median(&firsts)
    );
    report.add("rewind of 10 s of 1000 players at 20 Hz, median", median(&rewinds), " ms", Bar::AtMost(500.0), detail);
}

/// A version is loaded, and taken back ten seconds later, by who operates a running engine.
fn measure_on_sockets(report: &mut Report) {
    const TRIAL: Duration = Duration::from_secs(10);
    let logic = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/logic");
    let engine =
        Engine::start_on_probation(&[&["--crate", logic, "1"], &["--crate", logic, "2"]], "tick_hz = 20\n", "60s");
    let options = Options {
        players: PLAYERS as u32,
        pace: Pace::PerSecond(10.0),
        duration: TRIAL + Duration::from_secs(6),
        ..options(engine.server.address)
    };
    let (mut loaded, mut answer) = (None, None);
    let run = swarm::run(&options, &Stop::default(), |progress| match loaded {
        None if progress.joined == PLAYERS => {
            assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
            loaded = Some(Instant::now());
        }
        Some(at) if answer.is_none() && at.elapsed() >= TRIAL => {
            answer = Some(engine.send("POST", "/api/v1/rollback", ""));
        }
        _ => {}
    });
    let run = run.unwrap_or_else(|error| panic!("{error}"));
    let answer = answer.expect("the run is longer than that");
    let rewound: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let room = &rewound["rooms"][0];
    let figure = |name: &str| room[name].as_u64().unwrap_or_else(|| panic!("no {name} in {answer}"));
    let (pause_ms, inputs, lost) = (figure("pause_us") as f64 / 1e3, figure("inputs"), figure("lost"));
    assert!(inputs > 90_000, "{inputs} inputs: the trial was shorter than it should have been");
    let messages = &run.messages;
    let wrong = messages.lost + messages.duplicated + messages.out_of_order + messages.damaged + messages.failed + lost;
    assert!(wrong == 0 && run.refused() == 0, "{run}");
    let detail = format!(
        "{inputs} inputs on trial; {} disconnects, {wrong} lost, duplicated or out of order of {} messages; longest silence of a player \
         {:.0} ms",
        run.disconnects(),
        messages.sent,
        run.longest_silence_ms
    );
    report.add("the same with the players on sockets: pause", pause_ms, " ms", Bar::AtMost(500.0), detail);
    report.add("disconnects by it", run.disconnects() as f64, "", Bar::AtMost(0.0), format!("{PLAYERS} players"));
}
