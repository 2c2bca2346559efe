//! What a process finds, and that it is what must be there.

use std::collections::BTreeSet;

use engine::journal::recovery::Recovered;
use engine::probation::Verdict;
use logic_api::PlayerId;
use room::{Input, Outbox, Pool, Request, Room};

use super::black_box::{BlackBox, Key, head};
use super::game::created_on;
use super::model::State;
use super::process::{Process, ROOMS, Told, all};
use super::run::{Run, until_it_ends};
use super::verdicts::Decision;
use crate::disk::MemoryDisk;

impl Run<'_> {
    /// A process on this disk, with all rooms as they must be; `None` if it ended before it had them.
    pub(super) fn start(&mut self, disk: &MemoryDisk) -> Option<Process> {
        self.at_start = all().map(|at| (head(disk, at), self.boxes[at].clone())).collect();
        until_it_ends(|| self.start_through(disk)).flatten()
    }

    fn start_through(&mut self, disk: &MemoryDisk) -> Option<Process> {
        let may_fail = |error: String, disk: &MemoryDisk| {
            assert!(disk.failed().is_some(), "the start fails, and no call on the disk has: {error}");
            None
        };
        let mut process = match Process::start(disk.clone(), self.durability) {
            Ok(process) => process,
            Err(error) => return may_fail(error, disk),
        };
        self.trial = None;
        self.verdicts.check(&process, self.trials);
        if process.interrupted.is_some() && !self.verdicts.decide(&process, Decision::Over) {
            return None;
        }
        process.deadly.clone_from(&self.deadly);
        for at in all() {
            let recovered = match self.recover(&process, at) {
                Ok(recovered) => recovered,
                Err(error) => return may_fail(error, disk),
            };
            match recovered {
                Some(mut recovered) => {
                    self.check_recovered(&mut recovered, at);
                    process.go_on(at, recovered, self.last(at).place);
                }
                None => self.check_gone(at),
            }
        }
        // As the engine does: what was on trial is ended before anything else comes.
        for at in process.rooms() {
            self.end_lost_trial(&mut process, at);
            self.grant_leaves(&mut process, at);
            self.release(&mut process, at);
        }
        let versions: BTreeSet<u32> = process.rooms().iter().map(|at| process.room(*at).logic().version().0).collect();
        assert!(versions.len() <= 1, "all rooms run one version");
        let there = process.rooms();
        for at in all().filter(|at| !there.contains(at)) {
            if self.histories[at].last_place() == 0 || self.rng.chance(0.5) {
                self.create(&mut process, at);
                self.release(&mut process, at);
            }
        }
        Some(process)
    }

    /// Has a room brought back, without what ended the process as often as it may.
    fn recover(&mut self, process: &Process, at: usize) -> Result<Option<Recovered>, String> {
        let quarantined = self.boxes[at].blame(self.word == Some(at));
        self.counts.quarantined += u64::from(quarantined.is_some());
        self.counts.quarantined_silently += u64::from(quarantined.is_some() && self.is_silent);
        if let Some(Key::Record(number)) = quarantined {
            self.counts.passed_over += 1;
            self.deadly.remove(&number);
            self.histories[at].pass_over(number, &self.boxes[at].quarantine);
        }
        let recovered = process.recover(at, self.versions);
        if let Some(ended) = process.ended.take() {
            let number = ended.number.expect("what is in a journal has gone well");
            self.ended_in(at, Key::Record(number), ended);
        }
        recovered
    }

    /// That the room is where its history says that it can be.
    fn check_recovered(&mut self, recovered: &mut Recovered, at: usize) {
        let Recovered { room, leaving, .. } = recovered;
        let mut in_world = leaving.clone();
        in_world.retain(|player, _| room.world().player(*player).is_some());
        self.counts.found_leaving += u64::from(!in_world.is_empty());
        let (seq, is_frozen, born) = (room.seq().0, room.frozen().is_some(), born(room));
        let is_so = |state: &State| {
            let is_there = (state.seq, state.is_frozen, state.world.born) == (seq, is_frozen, born);
            is_there && state.is_leaving() == in_world
        };
        let place = self.histories[at].place(is_so);
        let place = place.unwrap_or_else(|| panic!("{} has never been where it is now, at {seq}", ROOMS[at]));
        self.found_at(at, place);
        self.compare(room, at);
        self.hashes.push(room.state_hash());
    }

    fn check_gone(&mut self, at: usize) {
        let place = self.histories[at].place(State::is_gone).expect("it was not there at first");
        self.found_at(at, place);
        self.boxes[at] = BlackBox::default();
    }

    fn found_at(&mut self, at: usize, place: usize) {
        let (least, history) = (self.least(at), &self.histories[at]);
        let last = history.last_place();
        assert!(place >= least, "{} is at {place} of {last}, and {least} was acknowledged", ROOMS[at]);
        self.counts.lost += (last - place) as u64;
        self.histories[at].truncate(place);
    }

    /// The earliest place where a room may be.
    fn least(&self, at: usize) -> usize {
        self.safe.iter().chain(&self.written).filter(|told| told.room == at).map(|told| told.place).max().unwrap_or(0)
    }

    pub(super) fn last(&self, at: usize) -> Told {
        Told { room: at, place: self.histories[at].last_place(), calls: 0 }
    }

    fn end_lost_trial(&mut self, process: &mut Process, at: usize) {
        let Some(trial) = process.room(at).trial() else { return };
        let is_confirmed = process.verdicts.of(trial) == Verdict::Confirm;
        *(if is_confirmed { &mut self.counts.confirmed_late } else { &mut self.counts.unconfirmed }) += 1;
        self.step(process, at, if is_confirmed { Input::Confirm } else { Input::rewind() }).unwrap();
    }

    pub(super) fn compare(&self, room: &mut Room, at: usize) {
        let state = self.histories[at].last();
        assert_eq!((room.seq().0, room.frozen().is_some()), (state.seq, state.is_frozen));
        assert_eq!(room.logic().version().0, state.world.version);
        assert_eq!(room.trial(), state.trial.as_ref().map(|trial| trial.id));
        let players: Vec<u64> = room.world().players().iter().map(|player| player.0).collect();
        assert!(players.iter().eq(state.world.players.keys()), "{players:?}");
        for (player, expected) in &state.world.players {
            let player = room.world().player(PlayerId(*player)).unwrap();
            assert_eq!((player.is_connected, player.consumed), (expected.is_connected, expected.consumed));
        }
        assert_eq!(dump(room), state.world.dump());
    }

    /// With rooms that were given only what was accepted, by a process that nothing ever happened to.
    pub(super) fn compare_with_twins(&mut self, process: &mut Process) {
        for at in process.rooms() {
            let (pool, mut outbox) = (Pool::new(), Outbox::new());
            let past = self.histories[at].last().past();
            let Some(((stamp, Input::Create { config }), rest)) = past.split_first() else {
                panic!("a room's first input is its creation")
            };
            let logic = self.versions.numbered(created_on(config));
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
}

fn dump(room: &mut Room) -> String {
    let dump = Request { method: "GET".into(), path: "/dump".into(), ..Request::default() };
    String::from_utf8(room.query(&dump).unwrap().unwrap().body).unwrap()
}

fn born(room: &mut Room) -> u64 {
    dump(room).split(' ').next().and_then(|first| first.parse().ok()).expect("a dump starts with it")
}
