//! What the proofs share: seeds, quiet panics, and rooms that run any closure as an input.

use logic_api::Rng;
use room::testing::TestRoom;
use room::{BadLogic, Input, LogicFault, LogicVersion, Outbox, Output, Pool, Reply, Room, Stamp, StepError};
use std::cell::Cell;
use std::sync::{Arc, Once};

/// What panics that a test means to happen start with: they are not worth a line on the terminal.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// Before a logic is first linked in, whoever does it: both put a hook of theirs before the one that is there, and of two that
/// do so at once one would get lost.
pub(crate) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or_default();
            let expected = [ON_PURPOSE, "a query cannot change", "the room's heap is full", "Avatar", "Pair"];
            if !expected.iter().any(|text| message.starts_with(text)) {
                previous(info);
            }
        }));
    });
}

/// Runs a simulation once per seed, and names the seed that fails.
pub(crate) fn for_seeds(seeds: u64, mut run: impl FnMut(u64)) {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {0} failed: HOTSEAT_SEED={0} runs it alone", self.0);
            }
        }
    }
    hush();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("HOTSEAT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HOTSEAT_SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let _named = Named(seed);
        run(seed);
    }
}

/// A stamp whose time and seed follow from a number.
pub(crate) fn stamp(number: u64) -> Stamp {
    Stamp { now_us: 1_000_000 + number * 50_000, seed: Rng::new(number).next_u64() }
}

/// A room, its inputs numbered from 0.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) room: Room,
    pub(crate) outbox: Outbox,
    pub(crate) inputs: u64,
}

impl Driver {
    pub(crate) fn new<L: logic_api::Logic>() -> Self {
        Self::with(&linked::<L>(), &Pool::new(), b"")
    }

    pub(crate) fn with(logic: &Arc<LogicVersion>, pool: &Pool, config: &[u8]) -> Self {
        hush();
        let mut outbox = Outbox::new();
        let room = Room::create("proof", logic.clone(), pool, stamp(0), config, &mut outbox).unwrap();
        Self { room, outbox, inputs: 1 }
    }

    pub(crate) fn step(&mut self, input: Input) -> Result<Reply, StepError> {
        let input = self.numbered(input);
        self.outbox.drain().for_each(drop);
        self.inputs += 1;
        self.room.step(stamp(self.inputs), input, &mut self.outbox)
    }

    /// A message of number 0 gets the next one of its player.
    pub(crate) fn numbered(&self, mut input: Input) -> Input {
        if let Input::Message { player, number, .. } | Input::Skip { player, number } = &mut input
            && *number == 0
        {
            *number = self.room.world().player(*player).map_or(0, |player| player.consumed) + 1;
        }
        input
    }

    #[track_caller]
    pub(crate) fn must(&mut self, input: Input) -> Reply {
        self.step(input).unwrap()
    }

    #[track_caller]
    pub(crate) fn fault(&mut self, input: Input) -> LogicFault {
        match self.step(input) {
            Err(StepError::Fault(fault)) => fault,
            other => panic!("a fault was expected, found {other:?}"),
        }
    }

    pub(crate) fn tick(&mut self) {
        self.must(Input::Tick);
    }

    pub(crate) fn outputs(&self) -> &[Output] {
        self.outbox.outputs()
    }

    pub(crate) fn hash(&mut self) -> u64 {
        self.room.state_hash()
    }
}

pub(crate) fn linked<L: logic_api::Logic>() -> Arc<LogicVersion> {
    try_linked::<L>().unwrap()
}

pub(crate) fn try_linked<L: logic_api::Logic>() -> Result<Arc<LogicVersion>, BadLogic> {
    hush();
    LogicVersion::linked::<L>()
}

pub(crate) fn test_room<L: logic_api::Logic>(config: &[u8]) -> TestRoom<L> {
    hush();
    TestRoom::with(config, 1)
}

pub(crate) fn signal(name: &str) -> Input {
    Input::Signal { name: name.into(), bytes: [].into() }
}

pub(crate) fn signal_bytes(name: &str, bytes: &[u8]) -> Input {
    Input::Signal { name: name.into(), bytes: bytes.into() }
}

pub(crate) fn join(player: u64) -> Input {
    join_saying(player, b"")
}

pub(crate) fn join_saying(player: u64, hello: &[u8]) -> Input {
    Input::Join { player: logic_api::PlayerId(player), hello: hello.into(), claims: "".into() }
}

/// With the player's next number.
pub(crate) fn message(player: u64, bytes: &[u8]) -> Input {
    Input::Message { player: logic_api::PlayerId(player), number: 0, bytes: bytes.into() }
}

pub(crate) fn get(path: &str) -> room::Request {
    room::Request { method: "GET".into(), path: path.into(), ..room::Request::default() }
}

/// Counts what comes by: a state that a logic must not have.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(0))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

/// A version whose world is a table of such rows, with what callbacks a test needs of it.
macro_rules! version {
    ($name:ident, $version:literal, $(#[$world:meta])* $table:ident: $row:ident, { $($rows:tt)* } $($callbacks:tt)*) => {
        #[allow(dead_code, reason = "what counts is what the engine does with the tables")]
        mod $name {
            use super::*;

            $($rows)*

            #[derive(Debug, World)]
            pub(super) struct New {
                $(#[$world])*
                pub(super) $table: Table<$row>,
            }

            #[logic(linked, version = $version)]
            impl Logic for New {
                $($callbacks)*
            }
        }
    };
}

pub(crate) use version;
