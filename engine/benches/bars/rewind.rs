//! What a version that failed costs: ten seconds of a thousand players, applied once more.

use crate::measure::{Bar, Report, median, quantile, seconds};
use bench_logic::operation;
use engine::journal::black_box::BlackBox;
use engine::journal::files::Disk;
use logic_api::PlayerId;
use room::{Input, Outbox, Pool, Reply, Room, Stamp};
use std::sync::Arc;

const PLAYERS: u64 = 1_000;
const TICKS: u32 = 20 * 10;
/// Ten a second of each player.
const MESSAGES_PER_TICK: u64 = PLAYERS / 2;

pub(crate) fn measure(report: &mut Report) {
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
