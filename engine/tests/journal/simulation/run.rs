//! One seed: lives of a process, each with an end, and what is left after it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::journal::{Durability, snapshots};
use logic_api::{PlayerId, Rng};
use room::{Input, LogicVersion, Outbox, Pool, Reply, Request, Room, Stamp, StepError, TrialId};

use super::game::{Versions, message, order};
use super::model::{Not, State};
use super::process::{DATA, Process, ROOMS, Told, all};
use crate::disk::{Failure, MemoryDisk};

const LIVES: u64 = 9;
const PLAYERS: u64 = 5;
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

/// How often each kind of thing happened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    inputs: u64,
    faults: u64,
    freezes: u64,
    swaps: u64,
    swaps_refused: u64,
    confirms: u64,
    rewinds: u64,
    snapshots: u64,
    kills: u64,
    power_cuts: u64,
    failures: u64,
    /// Starts that were cut short themselves.
    failed_starts: u64,
    /// Ends that were in the middle of something.
    in_the_middle: u64,
    /// Inputs that nobody had been told of, and that were lost.
    lost: u64,
    unconfirmed: u64,
    confirmed_late: u64,
    damaged: u64,
}

impl Counts {
    fn all(&mut self) -> [(&'static str, &mut u64, u64); 17] {
        [
            ("inputs", &mut self.inputs, 20_000),
            ("faults", &mut self.faults, 1000),
            ("freezes", &mut self.freezes, 100),
            ("swaps", &mut self.swaps, 500),
            ("swaps refused", &mut self.swaps_refused, 300),
            ("confirms", &mut self.confirms, 200),
            ("rewinds", &mut self.rewinds, 200),
            ("snapshots", &mut self.snapshots, 500),
            ("kills", &mut self.kills, 200),
            ("power cuts", &mut self.power_cuts, 200),
            ("failures", &mut self.failures, 100),
            ("failed starts", &mut self.failed_starts, 50),
            ("ends in the middle", &mut self.in_the_middle, 200),
            ("inputs lost", &mut self.lost, 50),
            ("trials taken back at a start", &mut self.unconfirmed, 50),
            ("trials confirmed at a start", &mut self.confirmed_late, 5),
            ("snapshots damaged", &mut self.damaged, 20),
        ]
    }

    pub(super) fn add(&mut self, more: &Counts) {
        let mut more = Counts { ..*more };
        let more = more.all();
        self.all().into_iter().zip(more).for_each(|((_, sum, _), (_, count, _))| *sum += *count);
    }

    /// That what was meant to be tried was.
    pub(super) fn check(mut self) {
        for (name, count, least) in self.all() {
            assert!(*count >= least, "only {count} {name}; {least} were expected");
        }
    }
}

/// A room as it was after each of its records that was an input, and after it froze; the first is from before it was created.
type History = Vec<State>;

struct Run<'a> {
    rng: Rng,
    versions: &'a Versions,
    durability: Durability,
    histories: [History; ROOMS.len()],
    /// Up to where each room survives the machine.
    safe: Vec<Told>,
    /// Up to where each survives the process, and the machine only from the next flush on.
    written: Vec<Told>,
    /// What is on trial.
    trial: Option<TrialId>,
    /// Trials that were confirmed: on a disk of their own, written at once.
    verdicts: BTreeSet<TrialId>,
    trials: u64,
    /// The last process ended in the middle of something.
    was_cut_short: bool,
    /// There is one snapshot to fall back on, not two.
    has_damaged: bool,
    serials: u64,
    now_us: u64,
    hashes: Vec<u64>,
    counts: Counts,
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
        verdicts: BTreeSet::new(),
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
        if self.rng.chance(0.3) {
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
        let disk = process.end();
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

    /// A process on this disk, with all rooms as they must be; `None` if it ended before it had them.
    fn start(&mut self, disk: &MemoryDisk) -> Option<Process> {
        let may_fail = |error: String, disk: &MemoryDisk| {
            assert!(disk.failed().is_some(), "the start fails, and no call on the disk has: {error}");
            None
        };
        let mut process = match Process::start(disk.clone(), self.durability) {
            Ok(process) => process,
            Err(error) => return may_fail(error, disk),
        };
        self.trial = None;
        for at in all() {
            let recovered = match process.recover(at, self.versions) {
                Ok(recovered) => recovered,
                Err(error) => return may_fail(error, disk),
            };
            match recovered {
                Some(mut recovered) => {
                    self.check_recovered(&mut recovered.room, at);
                    process.go_on(at, recovered, self.last(at).place);
                }
                None => {
                    assert_eq!(self.least(at), 0, "{} is gone", ROOMS[at]);
                    self.histories[at].truncate(1);
                    self.create(&mut process, at);
                }
            }
        }
        // As the engine does: what was on trial is ended before anything else comes.
        for at in all() {
            self.end_lost_trial(&mut process, at);
            self.release(&mut process, at);
        }
        let versions: BTreeSet<u32> = all().map(|at| process.room(at).logic().version().0).collect();
        assert_eq!(versions.len(), 1, "all rooms run one version");
        Some(process)
    }

    /// That the room is where its history says that it can be.
    fn check_recovered(&mut self, room: &mut Room, at: usize) {
        let (least, history) = (self.least(at), &self.histories[at]);
        let (seq, is_frozen) = (room.seq().0, room.frozen().is_some());
        let place = history.iter().rposition(|state| state.seq == seq && state.is_frozen == is_frozen);
        let place = place.unwrap_or_else(|| panic!("{} has never been where it is now, at {seq}", ROOMS[at]));
        let last = history.len() - 1;
        assert!(place >= least, "{} is at {place} of {last}, and {least} was acknowledged", ROOMS[at]);
        self.counts.lost += (last - place) as u64;
        self.histories[at].truncate(place + 1);
        self.compare(room, at);
        self.hashes.push(room.state_hash());
    }

    /// The earliest place where a room may be.
    fn least(&self, at: usize) -> usize {
        self.safe.iter().chain(&self.written).filter(|told| told.room == at).map(|told| told.place).max().unwrap_or(0)
    }

    fn last(&self, at: usize) -> Told {
        Told { room: at, place: self.histories[at].len() - 1, calls: 0 }
    }

    fn end_lost_trial(&mut self, process: &mut Process, at: usize) {
        let Some(trial) = process.room(at).trial() else { return };
        let is_confirmed = self.verdicts.contains(&trial);
        *(if is_confirmed { &mut self.counts.confirmed_late } else { &mut self.counts.unconfirmed }) += 1;
        self.step(process, at, if is_confirmed { Input::Confirm } else { Input::rewind() }).unwrap();
    }

    fn compare(&self, room: &mut Room, at: usize) {
        let state = self.histories[at].last().unwrap();
        assert_eq!((room.seq().0, room.frozen().is_some()), (state.seq, state.is_frozen));
        assert_eq!(room.logic().version().0, state.world.version);
        assert_eq!(room.trial(), state.trial.as_ref().map(|trial| trial.id));
        let players: Vec<u64> = room.world().players().iter().map(|player| player.0).collect();
        assert!(players.iter().eq(state.world.players.keys()), "{players:?}");
        for (player, expected) in &state.world.players {
            let player = room.world().player(PlayerId(*player)).unwrap();
            assert_eq!((player.is_connected, player.consumed), (expected.is_connected, expected.consumed));
        }
        let dump = Request { method: "GET".into(), path: "/dump".into(), ..Request::default() };
        let answer = room.query(&dump).unwrap().unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), state.world.dump());
    }

    /// With rooms that were given only what was accepted, by a process that nothing ever happened to.
    fn compare_with_twins(&mut self, process: &mut Process) {
        for at in all() {
            let (pool, mut outbox) = (Pool::new(), Outbox::new());
            let past = self.histories[at].last().unwrap().past();
            let Some(((stamp, Input::Create { config }), rest)) = past.split_first() else {
                panic!("a room's first input is its creation")
            };
            let logic = self.versions.all()[0].clone();
            let mut twin = Room::create(ROOMS[at], logic, &pool, *stamp, config, &mut outbox).unwrap();
            for (stamp, input) in rest {
                outbox.drain().for_each(drop);
                twin.step(*stamp, input.clone(), &mut outbox).unwrap();
                if let Input::Swap { .. } = input {
                    twin.step(*stamp, Input::Confirm, &mut outbox).unwrap();
                }
            }
            let hash = process.room(at).state_hash();
            assert_eq!(twin.state_hash(), hash, "{} is not what its twin is", ROOMS[at]);
            self.hashes.push(hash);
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.now_us += [0, 1000, 50_000, 2_000_000][usize::try_from(self.rng.below(4)).unwrap()];
        Stamp { now_us: self.now_us, seed: self.rng.next_u64() }
    }

    fn create(&mut self, process: &mut Process, at: usize) {
        let (stamp, input) = (self.stamp(), Input::Create { config: [].into() });
        process.create(at, self.versions, stamp, &input);
        let state = self.histories[at][0].apply(stamp, &input).unwrap();
        self.histories[at].push(state);
    }

    /// Applies an input to a room and to its model.
    fn step(&mut self, process: &mut Process, at: usize, input: Input) -> Result<Reply, StepError> {
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
    fn flush(&mut self, process: &Process) -> bool {
        let is_safe = process.flush();
        if is_safe {
            let calls = process.disk.calls();
            self.safe.extend(all().map(|room| Told { calls, ..self.last(room) }).collect::<Vec<_>>());
        }
        is_safe
    }

    fn do_something(&mut self, process: &mut Process) {
        let at = self.rng.below(ROOMS.len() as u64) as usize;
        match self.rng.below(24) {
            0..4 => {
                // There is no way back from other tables: they are to come late.
                let numbers: &[usize] = if self.rng.chance(0.1) { &[2] } else { &[0, 0, 1, 1, 3, 4] };
                let to = self.versions.all()[*self.rng.pick(numbers).unwrap()].clone();
                self.load(process, &to);
            }
            4..6 => self.confirm(process),
            6..8 => self.rewind(process),
            8..11 => self.snapshot(process),
            11 => drop(self.flush(process)),
            _ => {
                for _ in 0..1 + self.rng.below(6) {
                    let input = self.random_input(at);
                    self.do_input(process, at, input);
                }
                process.release(at, self.last(at).place);
                self.compare(process.room(at), at);
            }
        }
    }

    fn snapshot(&mut self, process: &mut Process) {
        self.counts.snapshots += 1;
        process.snapshot(self.rng.below(ROOMS.len() as u64) as usize);
    }

    fn do_input(&mut self, process: &mut Process, at: usize, input: Input) {
        let (player, number) = (input.player(), input.number());
        if let Err(StepError::Fault(_)) = self.step(process, at, input)
            && number > 0
        {
            // As the engine does: its sender is told, and does not send it again.
            self.step(process, at, Input::Skip { player, number }).unwrap();
        }
    }

    fn random_input(&mut self, at: usize) -> Input {
        let rng = &mut self.rng;
        let player = PlayerId(1 + rng.below(PLAYERS));
        match rng.below(50) {
            0..14 => Input::Tick,
            14..16 => Input::Drop { player },
            16..18 => Input::Reconnect { player },
            18..26 => {
                let hello = *rng.pick(&[&b"ann"[..], b"bob", b"no", b"panic"]).unwrap();
                Input::Join { player, hello: hello.into(), claims: "".into() }
            }
            26..28 => Input::Leave { player, reason: "left".into() },
            28..31 => {
                let path = (*rng.pick(&["/count", "/panic"]).unwrap()).to_owned();
                Input::Request(Arc::new(Request { method: "GET".into(), path, ..Request::default() }))
            }
            _ => {
                let what = match rng.below(40) {
                    0..3 => order::BOMB,
                    3..5 => order::CHANGE_ALL_THEN_PANIC,
                    5..7 => order::NEW,
                    7..12 => order::TIMER,
                    12..18 => order::NOTE,
                    _ => order::ADD,
                };
                self.serials += 1;
                let number = rng.below(14) as u8;
                let consumed =
                    self.histories[at].last().unwrap().world.players.get(&player.0).map_or(0, |it| it.consumed);
                let bytes = message(what, number, self.serials).into();
                Input::Message { player, number: consumed + 1 + rng.below(2) as u32, bytes }
            }
        }
    }

    /// One version for all rooms, or for none.
    fn load(&mut self, process: &mut Process, to: &Arc<LogicVersion>) {
        self.trials += 1;
        let trial = TrialId(self.trials);
        let swap = Input::Swap { to: to.clone(), drops: [].into(), trial };
        for at in all() {
            if self.step(process, at, swap.clone()).is_err() {
                self.counts.swaps_refused += 1;
                if self.trial.is_none() {
                    (0..at).for_each(|before| self.step_and_release(process, before, Input::rewind()));
                }
                return;
            }
            self.release(process, at);
        }
        self.counts.swaps += 1;
        self.trial = Some(trial);
    }

    fn step_and_release(&mut self, process: &mut Process, at: usize, input: Input) {
        self.step(process, at, input).unwrap();
        self.release(process, at);
        self.compare(process.room(at), at);
    }

    /// What is about the room itself is synced at once, beside all else: the next calls are to come after that.
    fn release(&mut self, process: &mut Process, at: usize) {
        process.release(at, self.last(at).place);
        self.flush(process);
    }

    fn confirm(&mut self, process: &mut Process) {
        let Some(trial) = self.trial else { return };
        // No verdict is ahead of what it is on, and no room ahead of the verdict.
        if !self.flush(process) || process.disk.has_ended() {
            return;
        }
        self.counts.confirms += 1;
        self.verdicts.insert(trial);
        self.trial = None;
        all().for_each(|at| self.step_and_release(process, at, Input::Confirm));
    }

    fn rewind(&mut self, process: &mut Process) {
        if self.trial.take().is_some() {
            self.counts.rewinds += 1;
            all().for_each(|at| self.step_and_release(process, at, Input::rewind()));
        }
    }
}
