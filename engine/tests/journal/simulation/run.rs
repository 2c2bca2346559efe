//! One seed: lives of a process, each with an end, and what is left after it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Duration;

use engine::journal::{Durability, snapshots};
use logic_api::Rng;
use room::{Input, Lost, Reply, Stamp, StepError, TrialId};

use super::black_box::{BlackBox, Key, Quarantine};
use super::counts::Counts;
use super::deadly::Ended;
use super::ends::{CALLS, End, MOST};
use super::game::Versions;
use super::history::{Cause, History, key_of};
use super::model::Not;
use super::process::{DATA, Process, ROOMS, Told, all};
use super::verdicts::Verdicts;
use crate::disk::MemoryDisk;

const LIVES: u64 = 10;
/// The last one may take: each of a few inputs may end it as often as the black box allows.
const STARTS: usize = 30;
pub(super) const PLAYERS: u64 = 5;
/// Takes whoever does something out of it: there is no process any more.
struct ItEnds;

/// `None` if the process ends within an input meanwhile.
pub(super) fn until_it_ends<R>(live: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(live))
        .map_err(|end| end.downcast::<ItEnds>().unwrap_or_else(|it| resume_unwind(it)))
        .ok()
}

pub(super) struct Run<'a> {
    pub(super) rng: Rng,
    pub(super) versions: &'a Versions,
    pub(super) durability: Durability,
    pub(super) histories: [History; ROOMS.len()],
    pub(super) boxes: [BlackBox; ROOMS.len()],
    /// What the last start found of those.
    pub(super) at_start: Vec<(Option<Vec<u8>>, BlackBox)>,
    /// Inputs in journals that end every process that comes to them, by their first random numbers.
    pub(super) deadly: BTreeSet<u64>,
    /// The room within whose input the process has ended,
    pub(super) ended_in: Option<usize>,
    /// and that of which it has said so.
    pub(super) word: Option<usize>,
    /// Whoever ends processes here lets them say nothing, as a lack of memory does.
    pub(super) is_silent: bool,
    /// What that was: whoever sent it sends it again.
    again: Option<(usize, Input)>,
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
    let is_silent = rng.chance(0.2);
    let mut run = Run {
        rng,
        versions,
        durability,
        histories: all().map(|_| History::new()).collect::<Vec<_>>().try_into().unwrap(),
        boxes: Default::default(),
        at_start: Vec::new(),
        deadly: BTreeSet::new(),
        ended_in: None,
        word: None,
        is_silent,
        again: None,
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
    let mut process = run.start_at_last(disk);
    run.compare_with_twins(&mut process);
    (run.hashes, run.counts)
}

impl Run<'_> {
    /// From a start to an end; the disk that it leaves.
    fn live(&mut self, disk: MemoryDisk) -> MemoryDisk {
        // What was left half done matters most when the next process does not last either.
        let was_cut_short = std::mem::take(&mut self.was_cut_short);
        self.make_deadly();
        if self.rng.chance(if was_cut_short { 0.4 } else { 0.1 }) {
            return self.fail_to_start(disk);
        }
        let disk = self.damage_a_snapshot(disk);
        let Some(mut process) = self.start(&disk) else {
            return self
                .after(&disk, self.ended_in.map(|_| End::Kill).expect("nothing else stands against a start"), &[])
                .0;
        };
        let end = self.random_end();
        let lived = until_it_ends(|| self.live_on(&mut process, end, was_cut_short));
        match end {
            End::InOrder if lived.is_some() => self.end_in_order(process),
            _ => self.end(process, end),
        }
    }

    fn live_on(&mut self, process: &mut Process, end: End, was_cut_short: bool) {
        if let Some((at, input)) = self.again.take()
            && self.rng.chance(0.9)
        {
            self.do_again(process, at, input);
        }
        for _ in 0..self.rng.below(if was_cut_short { 4 } else { 30 }) {
            self.do_something(process);
        }
        if end == End::InOrder {
            for at in process.rooms() {
                let input = self.random_input(at);
                self.do_input(process, at, input);
            }
            return;
        }
        if self.trial.is_some() && self.rng.chance(0.5) {
            self.plan(&process.disk, end, &[12, CALLS]);
            return self.end_trial(process);
        }
        if self.rng.chance(0.3) {
            return self.work_in_flight(process, Some(end));
        }
        self.plan(&process.disk, end, MOST);
        if self.rng.chance(0.3) {
            self.snapshot(process);
        } else {
            self.do_something(process);
        }
    }

    /// Nothing stands against it but inputs that end it, each a few times.
    fn start_at_last(&mut self, mut disk: MemoryDisk) -> Process {
        for _ in 0..STARTS {
            match self.start(&disk) {
                Some(process) => return process,
                None => disk = self.after(&disk, End::Kill, &[]).0,
            }
        }
        panic!("{STARTS} starts, and none comes through")
    }

    /// Once in a while an input that is in a journal ends every process from here on.
    fn make_deadly(&mut self) {
        // One at a time: the word of one end is not to be lost by another's.
        let is_one = !self.deadly.is_empty() || self.boxes.iter().any(BlackBox::is_busy);
        if !is_one && self.rng.chance(0.15) {
            let at = self.rng.below(ROOMS.len() as u64) as usize;
            let last = self.histories[at].last_inputs(12);
            self.deadly.extend(self.rng.pick(&last));
        }
    }

    /// The process ends within this input.
    pub(super) fn ended_in(&mut self, at: usize, key: Key, ended: Ended) -> ! {
        if ended.was_there {
            self.counts.ended_in_inputs += 1;
            self.boxes[at].ends_in(key);
            self.ended_in = Some(at);
        }
        resume_unwind(Box::new(ItEnds))
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

    pub(super) fn stamp(&mut self) -> Stamp {
        self.now_us += [0, 1000, 50_000, 2_000_000][usize::try_from(self.rng.below(4)).unwrap()];
        Stamp { now_us: self.now_us, seed: self.rng.next_u64() }
    }

    pub(super) fn create(&mut self, process: &mut Process, at: usize) {
        let other = process.rooms().first().map(|other| {
            let room = process.room(*other);
            let before = room.logic_before_trial().unwrap_or(room.logic());
            (before.version().0, room.trial().map(|trial| (trial, room.logic().clone())))
        });
        let (version, trial) = other.unwrap_or((1001, None));
        let (stamp, input) = (self.stamp(), Input::Create { config: version.to_le_bytes().into() });
        self.boxes[at] = BlackBox::default();
        process.create(at, self.versions, stamp, &input);
        let state = self.histories[at].last().apply(stamp, &input, &Quarantine::new()).unwrap();
        self.histories[at].push(Cause::Input(stamp, input), state);
        if let Some((trial, to)) = trial {
            // It goes back like the others.
            self.step(process, at, Input::Swap { to, drops: [].into(), trial }).unwrap();
        }
    }

    /// Applies an input to a room and to its model.
    pub(super) fn step(&mut self, process: &mut Process, at: usize, input: Input) -> Result<Reply, StepError> {
        let (stamp, key, is_over) = (self.stamp(), key_of(&input, process.room(at).tick().0), process.disk.has_ended());
        let trial = process.room(at).trial();
        let stepped = process.step(at, stamp, input.clone());
        let (before, quarantine) = (self.histories[at].last(), &self.boxes[at].quarantine);
        let is_quarantined = quarantine.contains(&key);
        let expected =
            if is_quarantined { Err(Not::Fault("process")) } else { before.apply(stamp, &input, quarantine) };
        if let Some(ended) = process.ended.take() {
            let key = match expected {
                Err(Not::Ends) => key,
                Err(Not::EndsAgain(trial, number)) => Key::Again(trial, number),
                other => panic!("{input:?} ends the process: {other:?}"),
            };
            self.again = Some((at, input));
            self.ended_in(at, key, ended);
        }
        let found = match &stepped {
            Ok(_) => Ok(()),
            Err(StepError::Fault(fault)) => Err(Not::Fault(fault.callback)),
            Err(_) => Err(Not::Applied),
        };
        assert_eq!(found, expected.as_ref().map(drop).map_err(|not| *not), "{input:?} gives {stepped:?}");
        self.counts.inputs += 1;
        if !is_quarantined && !is_over {
            self.boxes[at].passed(&key);
            if let (Input::Rewind { .. }, Some(trial)) = (&input, trial) {
                let numbers = self.histories[at].last().numbers_on_trial();
                self.boxes[at].passed_again(trial, &numbers);
            }
        }
        match expected {
            Ok(state) => self.histories[at].push(Cause::Input(stamp, input), state),
            Err(Not::Fault(callback)) => {
                self.counts.faults += 1;
                self.counts.refused += u64::from(is_quarantined);
                if (callback == "tick" || is_quarantined && matches!(input, Input::Tick)) && !before.is_frozen {
                    self.counts.freezes += 1;
                    let frozen = before.frozen();
                    self.histories[at].push(Cause::Freeze, frozen);
                }
            }
            Err(_) => {}
        }
        if let Ok(Reply::Rewound(lost)) = &stepped {
            self.leave_once_more(process, at, lost);
        }
        stepped
    }

    /// Those whom a rewind has brought in again have left all the same.
    fn leave_once_more(&mut self, process: &mut Process, at: usize, lost: &[Lost]) {
        for (player, reason) in lost.iter().filter_map(|lost| Some((lost.player, lost.leave.as_ref()?))) {
            if process.room(at).world().player(player).is_some() {
                self.counts.leaves_lost += 1;
                process.leaves(at, player, reason);
                let left = self.histories[at].last().left(player, reason);
                self.histories[at].push(Cause::Leaving(player, reason.clone()), left);
            }
        }
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
