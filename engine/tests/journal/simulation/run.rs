//! One seed: lives of a process, each with an end, and what is left after it.

use std::path::Path;
use std::time::Duration;

use engine::journal::{Durability, snapshots};
use logic_api::Rng;
use room::{Input, Reply, Stamp, StepError, TrialId};

use super::counts::Counts;
use super::game::Versions;
use super::model::{Not, State};
use super::process::{DATA, Process, ROOMS, Told, all};
use super::verdicts::{Decision, Verdicts};
use crate::disk::{Failure, MemoryDisk};

const LIVES: u64 = 9;
pub(super) const PLAYERS: u64 = 5;
/// Calls on files that one thing that is done may take: an end is somewhere among them.
const CALLS: u64 = 24;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    PowerCut,
    /// Calls fail from one on; then the process goes, or the machine.
    Failure(Failure, bool),
    InOrder,
}

/// A room as it was after each of its records that was an input, and after it froze; the first is from before it was created.
pub(super) type History = Vec<State>;

pub(super) struct Run<'a> {
    pub(super) rng: Rng,
    pub(super) versions: &'a Versions,
    pub(super) durability: Durability,
    pub(super) histories: [History; ROOMS.len()],
    /// Up to where each room survives the machine.
    pub(super) safe: Vec<Told>,
    /// Up to where each survives the process, and the machine only from the next flush on.
    pub(super) written: Vec<Told>,
    /// What is on trial.
    pub(super) trial: Option<TrialId>,
    pub(super) verdicts: Verdicts,
    pub(super) trials: u64,
    /// The last process ended in the middle of something.
    pub(super) was_cut_short: bool,
    /// There is one snapshot to fall back on, not two.
    pub(super) has_damaged: bool,
    pub(super) serials: u64,
    pub(super) now_us: u64,
    pub(super) hashes: Vec<u64>,
    pub(super) counts: Counts,
}

/// The hashes of all rooms after each start, and how often what happened.
pub(super) fn simulate(seed: u64, versions: &Versions) -> (Vec<u64>, Counts) {
    let mut rng = Rng::new(seed);
    let durability =
        if rng.chance(0.5) { Durability::Tick } else { Durability::Within(Duration::from_secs(24 * 3600)) };
    let mut run = Run {
        rng,
        versions,
        durability,
        histories: [const { Vec::new() }; ROOMS.len()].map(|_: History| vec![State::default()]),
        safe: Vec::new(),
        written: Vec::new(),
        trial: None,
        verdicts: Verdicts::default(),
        trials: 0,
        was_cut_short: false,
        has_damaged: false,
        serials: 0,
        now_us: 1_000_000,
        hashes: Vec::new(),
        counts: Counts::default(),
    };
    let mut disk = MemoryDisk::default();
    for _ in 0..LIVES {
        disk = run.live(disk);
    }
    let Some(mut process) = run.start(&disk) else { panic!("nothing stands against the last start") };
    run.compare_with_twins(&mut process);
    (run.hashes, run.counts)
}

impl Run<'_> {
    /// From a start to an end; the disk that it leaves.
    fn live(&mut self, disk: MemoryDisk) -> MemoryDisk {
        // What was left half done matters most when the next process does not last either.
        let was_cut_short = std::mem::take(&mut self.was_cut_short);
        if self.rng.chance(if was_cut_short { 0.4 } else { 0.1 }) {
            return self.fail_to_start(disk);
        }
        let disk = self.damage_a_snapshot(disk);
        let mut process = self.start(&disk).expect("nothing stands against a start");
        for _ in 0..self.rng.below(if was_cut_short { 4 } else { 30 }) {
            self.do_something(&mut process);
        }
        let end = self.random_end();
        if end == End::InOrder {
            return self.end_in_order(process);
        }
        self.plan(&process.disk, end);
        if self.trial.is_some() && self.rng.chance(0.4) {
            self.end_trial(&mut process);
        } else if self.rng.chance(0.3) {
            self.snapshot(&mut process);
        } else {
            self.do_something(&mut process);
        }
        self.end(process, end)
    }

    /// Once in a while, the newest of two.
    fn damage_a_snapshot(&mut self, disk: MemoryDisk) -> MemoryDisk {
        let disk = disk.after_kill();
        let room = Path::new(DATA).join("rooms").join(ROOMS[self.rng.below(ROOMS.len() as u64) as usize]);
        let snapshots = snapshots::list(&disk, &room).unwrap();
        if snapshots.len() == snapshots::SNAPSHOTS_KEPT && !self.has_damaged && self.rng.chance(0.2) {
            self.has_damaged = true;
            self.counts.damaged += 1;
            let mut bytes = disk.bytes(&snapshots[0].path);
            let byte = self.rng.below(bytes.len() as u64) as usize;
            bytes[byte] ^= 1 << self.rng.below(8);
            disk.put(&snapshots[0].path, bytes);
        }
        disk
    }

    fn random_end(&mut self) -> End {
        let failure = *self.rng.pick(&[Failure::Io, Failure::NoSpace, Failure::Short]).unwrap();
        match self.rng.below(8) {
            0..3 => End::Kill,
            3..6 => End::PowerCut,
            6 => End::Failure(failure, self.rng.chance(0.5)),
            _ => End::InOrder,
        }
    }

    /// Has the disk end, or fail, at one of the next calls.
    fn plan(&mut self, disk: &MemoryDisk, end: End) {
        // Most of what is done takes few calls.
        let within = *self.rng.pick(&[1, 2, 4, CALLS]).unwrap();
        let call = disk.calls() + self.rng.below(within);
        match end {
            End::Failure(failure, _) => disk.fail_at(call, failure),
            _ => disk.end_at(call, self.rng.below(256)),
        }
    }

    /// A start that comes to an end before anybody hears of it, or just after.
    fn fail_to_start(&mut self, disk: MemoryDisk) -> MemoryDisk {
        self.counts.failed_starts += 1;
        let disk = disk.after_kill();
        let end = match self.random_end() {
            End::InOrder => End::PowerCut,
            end => end,
        };
        self.plan(&disk, end);
        match self.start(&disk) {
            Some(process) => self.end(process, end),
            None => self.after(&disk, end, &[]).0,
        }
    }

    fn end_in_order(&mut self, mut process: Process) -> MemoryDisk {
        for at in all() {
            let input = self.random_input(at);
            self.do_input(&mut process, at, input);
        }
        // Whoever ends the process is to blame for it, not the version on trial.
        assert!(self.verdicts.decide(&process, Decision::Over));
        let disk = process.end();
        self.verdicts.ended(disk.calls());
        self.safe = all().map(|room| self.last(room)).collect();
        disk.after_power_cut(&mut self.rng)
    }

    /// Cuts a process short.
    fn end(&mut self, process: Process, end: End) -> MemoryDisk {
        let acknowledged = process.acknowledged.lock().clone();
        if let End::Failure(..) = end
            && let Some(failure) = process.failure()
        {
            assert!(failure.contains(" failed: "), "{failure}");
        }
        let (disk, calls) = self.after(&process.disk, end, &acknowledged);
        if calls < process.disk.calls() {
            self.counts.in_the_middle += 1;
            self.was_cut_short = true;
        }
        disk
    }

    /// What the next process finds, at which call that ended; notes what must be there.
    fn after(&mut self, disk: &MemoryDisk, end: End, acknowledged: &[Told]) -> (MemoryDisk, u64) {
        let (at_end, calls) = disk.at_end();
        let is_power_cut = match end {
            End::Kill => false,
            End::Failure(_, is_power_cut) => is_power_cut,
            End::PowerCut | End::InOrder => true,
        };
        match end {
            End::Failure(..) => self.counts.failures += 1,
            _ if is_power_cut => self.counts.power_cuts += 1,
            _ => self.counts.kills += 1,
        }
        self.counts.verdicts_in_doubt += u64::from(self.verdicts.ended(calls));
        // What was let go before the end, that is.
        self.safe.retain(|told| told.calls <= calls);
        let acknowledged = acknowledged.iter().filter(|told| told.calls <= calls);
        match self.durability {
            Durability::Tick => self.safe.extend(acknowledged),
            _ if is_power_cut => self.written.clear(),
            _ => self.written.extend(acknowledged),
        }
        let disk = if is_power_cut { at_end.after_power_cut(&mut self.rng) } else { at_end.after_kill() };
        // It was there before the next process makes its first call.
        self.safe.iter_mut().for_each(|told| told.calls = 0);
        (disk, calls)
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        self.now_us += [0, 1000, 50_000, 2_000_000][usize::try_from(self.rng.below(4)).unwrap()];
        Stamp { now_us: self.now_us, seed: self.rng.next_u64() }
    }

    pub(super) fn create(&mut self, process: &mut Process, at: usize) {
        let (stamp, input) = (self.stamp(), Input::Create { config: [].into() });
        process.create(at, self.versions, stamp, &input);
        let state = self.histories[at][0].apply(stamp, &input).unwrap();
        self.histories[at].push(state);
    }

    /// Applies an input to a room and to its model.
    pub(super) fn step(&mut self, process: &mut Process, at: usize, input: Input) -> Result<Reply, StepError> {
        let stamp = self.stamp();
        let stepped = process.step(at, stamp, input.clone());
        let before = self.histories[at].last().unwrap();
        let expected = before.apply(stamp, &input);
        let found = match &stepped {
            Ok(_) => Ok(()),
            Err(StepError::Fault(fault)) => Err(Not::Fault(fault.callback)),
            Err(_) => Err(Not::Applied),
        };
        assert_eq!(found, expected.as_ref().map(drop).map_err(|not| *not), "{input:?} gives {stepped:?}");
        self.counts.inputs += 1;
        match expected {
            Ok(state) => self.histories[at].push(state),
            Err(Not::Fault(callback)) => {
                self.counts.faults += 1;
                if callback == "tick" {
                    self.counts.freezes += 1;
                    let mut frozen = before.clone();
                    frozen.is_frozen = true;
                    self.histories[at].push(frozen);
                }
            }
            Err(Not::Applied) => {}
        }
        stepped
    }

    /// Waits until all rooms survive the machine, and notes that they do.
    pub(super) fn flush(&mut self, process: &Process) -> bool {
        let is_safe = process.flush();
        if is_safe {
            let calls = process.disk.calls();
            self.safe.extend(all().map(|room| Told { calls, ..self.last(room) }).collect::<Vec<_>>());
        }
        is_safe
    }
}
