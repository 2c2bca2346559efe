//! Who loads the other version now and then, and says what becomes of it; and what may come of that when the engine is killed.

use std::net::SocketAddr;

use crate::client::begin;
use crate::kills::{Life, ROOMS};
use crate::support::Engine;

/// The versions of the logic that play; one runs, the other one is loaded.
const VERSIONS: [u32; 2] = [1001, 1002];

/// What an operator says of a version on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    Confirm,
    Rollback,
    /// Loads the version from before, which confirms this one.
    Next,
}

impl Verdict {
    pub(super) const ALL: [Verdict; 4] = [Verdict::Nothing, Verdict::Confirm, Verdict::Rollback, Verdict::Next];
}

#[derive(Default)]
pub(super) struct Operator {
    /// Those that may be confirmed now: both, if the engine was killed before it said whether one is.
    may_run: Vec<u32>,
    /// In this life of the engine.
    pub(super) loads: Vec<Load>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) version: u32,
    pub(super) is_done: bool,
    /// What was asked for, whether that arrived or not.
    pub(super) verdict: Verdict,
    pub(super) is_carried_out: bool,
}

impl Load {
    fn new(version: u32) -> Load {
        Load { version, is_done: false, verdict: Verdict::Nothing, is_carried_out: false }
    }

    pub(super) fn may_stay(&self) -> bool {
        matches!(self.verdict, Verdict::Confirm | Verdict::Next)
    }
}

impl Operator {
    /// The engine has come back: either with the old or with the new, and that in every room.
    pub(super) fn come(&mut self, engine: &Engine) {
        self.loads.clear();
        let peeks = ROOMS.map(|room| engine.get(&format!("/peek?room={room}")));
        let runs = peeks.map(|peek| peek.trim_end().rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        assert!(runs.iter().all(|version| *version == runs[0]), "the rooms run {runs:?}");
        assert!(self.may_run.is_empty() || self.may_run.contains(&runs[0]), "{runs:?}, not {:?}", self.may_run);
        self.may_run = vec![runs[0]];
    }

    /// Loads the other version and says what is to become of it. `None` when the engine is gone.
    pub(super) fn live(&mut self, verdict: Verdict, life: &Life<'_>) -> Option<()> {
        let before = self.may_run[0];
        let other = VERSIONS.into_iter().find(|version| *version != before).unwrap();
        let load = |version: u32| format!("/load?name=plugin{}.so&force=1", version - 1000);
        self.loads.push(Load::new(other));
        (life.stepped)();
        ask(life.address, &load(other), "done\n")?;
        self.loads[0].is_done = true;
        let (target, answer) = match verdict {
            Verdict::Nothing => return Some(()),
            Verdict::Confirm => ("/api/v1/confirm".to_owned(), "confirmed\n"),
            Verdict::Rollback => ("/api/v1/rollback".to_owned(), "rewound\n"),
            Verdict::Next => {
                self.loads.push(Load::new(before));
                (load(before) + "&confirm=1", "done\n")
            }
        };
        self.loads[0].verdict = verdict;
        if self.loads[0].may_stay() {
            self.may_run.push(other);
        }
        (life.stepped)();
        ask(life.address, &target, answer)?;
        if self.loads[0].may_stay() {
            self.may_run = vec![other];
        }
        self.loads.iter_mut().for_each(|load| load.is_done = true);
        self.loads[0].is_carried_out = true;
        (life.stepped)();
        Some(())
    }
}

/// `None` when the engine is gone.
fn ask(address: SocketAddr, target: &str, expected: &str) -> Option<()> {
    let reply =
        begin(address, "GET", target, &[&format!("Host: {address}"), "Accept: */*"], "").ok()?.try_end().ok()?;
    // Half an answer is none.
    if reply.status == 200 && expected.starts_with(&reply.body) && reply.body.len() < expected.len() {
        return None;
    }
    assert_eq!((reply.status, &*reply.body), (200, expected), "{target}");
    Some(())
}
