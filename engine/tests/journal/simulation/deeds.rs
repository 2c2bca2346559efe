//! What is done to the rooms of a process.

use std::sync::Arc;

use logic_api::{PlayerId, Rng};
use room::{Input, LogicVersion, Request, StepError, TrialId};

use super::ends::{CALLS, End};
use super::game::{STUCK, message, order};
use super::history::Cause;
use super::process::{Process, ROOMS, Slow};
use super::run::{PLAYERS, Run};
use super::verdicts::Decision;

impl Run<'_> {
    pub(super) fn do_something(&mut self, process: &mut Process) {
        let at = self.rng.below(ROOMS.len() as u64) as usize;
        match self.rng.below(30) {
            0..4 => {
                // There is no way back from other tables: they are to come late.
                let numbers: &[usize] = if self.rng.chance(0.1) { &[2] } else { &[0, 0, 1, 1, 3, 4, 5] };
                let to = self.versions.all()[*self.rng.pick(numbers).unwrap()].clone();
                self.load(process, &to);
            }
            // A fix.
            _ if self.rng.chance(0.2) && self.histories.iter().any(|history| history.last().is_frozen) => {
                let to = self.versions.numbered(1002);
                self.load(process, &to);
            }
            4..8 => self.end_trial(process),
            8..11 => self.snapshot(process),
            11 => drop(self.flush(process)),
            _ if !process.rooms().contains(&at) => {
                self.create(process, at);
                self.release(process, at);
            }
            12 => self.close(process, at),
            13..16 => self.work_in_flight(process, None),
            16..18 => {
                // After the grace.
                self.grant_leaves(process, at);
                process.release(at, self.last(at).place);
                self.compare(process.room(at), at);
            }
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

    pub(super) fn snapshot(&mut self, process: &mut Process) {
        if let Some(at) = self.rng.pick(&process.rooms()) {
            self.counts.snapshots += 1;
            if let Some(leaving) = process.snapshot(*at) {
                assert_eq!(leaving, self.histories[*at].last().is_leaving());
                self.counts.snapshots_leaving += u64::from(!leaving.is_empty());
            }
        }
    }

    /// A room goes for good, and all that is kept of it. Another one of its name may come at once.
    fn close(&mut self, process: &mut Process, at: usize) {
        let is_last_on_trial = self.trial.is_some() && process.rooms().len() == 1;
        if !self.boxes[at].is_clean() || is_last_on_trial {
            return;
        }
        self.counts.closed += 1;
        self.deadly.clear();
        self.step(process, at, Input::Dispose).unwrap();
        self.release(process, at);
        process.remove(at);
        process.settle();
        if self.rng.chance(0.5) {
            self.create(process, at);
            self.release(process, at);
        }
    }

    pub(super) fn do_input(&mut self, process: &mut Process, at: usize, input: Input) {
        let state = self.histories[at].last();
        if let (Input::Leave { player, reason }, true) = (&input, state.is_frozen)
            && state.world.players.contains_key(&player.0)
        {
            self.counts.leaving += 1;
            return self.note_leave(process, at, *player, reason);
        }
        let stepped = self.step(process, at, input.clone());
        match input {
            _ if !matches!(stepped, Err(StepError::Fault(_))) => {}
            Input::Message { player, number, .. } => {
                // As the engine does: its sender is told, and does not send it again. What is quarantined is refused before all else.
                let _unless_gone = self.step(process, at, Input::Skip { player, number });
            }
            Input::Leave { player, reason } => {
                self.counts.leaves_failed += 1;
                self.note_leave(process, at, player, &reason);
            }
            _ => {}
        }
    }

    /// They are told that they are out; the room is when it takes inputs again, or when the logic does not fail any more.
    fn note_leave(&mut self, process: &mut Process, at: usize, player: PlayerId, reason: &Arc<str>) {
        let state = self.histories[at].last();
        if !state.leaving.contains_key(&player.0) {
            let left = state.left(player, reason);
            self.histories[at].push(Cause::Leaving(player, reason.clone()), left);
        }
        process.leaves(at, player, reason);
    }

    /// What had to wait in a room that took no inputs, and what has failed.
    pub(super) fn grant_leaves(&mut self, process: &mut Process, at: usize) {
        let state = self.histories[at].last();
        if state.is_frozen {
            return;
        }
        for (player, reason) in state.is_leaving() {
            match self.step(process, at, Input::Leave { player, reason: reason.clone() }) {
                Ok(_) => self.counts.left_late += 1,
                Err(_) => {
                    self.counts.leaves_failed_again += 1;
                    self.note_leave(process, at, player, &reason);
                }
            }
        }
    }

    /// What ended the process before this one comes again.
    pub(super) fn do_again(&mut self, process: &mut Process, at: usize, input: Input) {
        match input {
            _ if !process.rooms().contains(&at) => return,
            Input::Message { player, bytes, .. } => {
                let number = self.consumed(at, player) + 1;
                self.do_input(process, at, Input::Message { player, number, bytes });
            }
            Input::Tick => self.do_input(process, at, Input::Tick),
            _ => {}
        }
        process.release(at, self.last(at).place);
    }

    fn consumed(&self, at: usize, player: PlayerId) -> u32 {
        self.histories[at].last().world.players.get(&player.0).map_or(0, |player| player.consumed)
    }

    pub(super) fn random_input(&mut self, at: usize) -> Input {
        let rng = &mut self.rng;
        let player = PlayerId(1 + rng.below(PLAYERS));
        let is_frozen = self.histories[at].last().is_frozen;
        match rng.below(50) {
            // Of little else is more to be had then.
            _ if is_frozen && rng.chance(0.3) => Input::Leave { player, reason: reason(rng) },
            0..14 => Input::Tick,
            14..16 => Input::Drop { player },
            16..18 => Input::Reconnect { player },
            18..26 => {
                // Whoever has left does not come back.
                let leaving = &self.histories[at].last().leaving;
                if leaving.contains_key(&player.0) {
                    return Input::Tick;
                }
                let hello = *rng.pick(&[&b"ann"[..], b"bob", b"no", b"panic"]).unwrap();
                Input::Join { player, hello: hello.into(), claims: "".into() }
            }
            26..28 => Input::Leave { player, reason: reason(rng) },
            28..31 => {
                let path = (*rng.pick(&["/count", "/panic"]).unwrap()).to_owned();
                Input::Request(Arc::new(Request { method: "GET".into(), path, ..Request::default() }))
            }
            _ => {
                let what = match rng.below(45) {
                    0..3 => order::BOMB,
                    3..5 => order::CHANGE_ALL_THEN_PANIC,
                    5..7 => order::NEW,
                    7..12 => order::TIMER,
                    12..18 => order::NOTE,
                    18..20 => order::END,
                    20..22 => order::MINE,
                    _ => order::ADD,
                };
                self.serials += 1;
                let number = rng.below(14) as u8;
                let gap = rng.below(2) as u32;
                let bytes = message(what, number, self.serials).into();
                Input::Message { player, number: self.consumed(at, player) + 1 + gap, bytes }
            }
        }
    }

    /// One version for all rooms, or for none.
    fn load(&mut self, process: &mut Process, to: &Arc<LogicVersion>) {
        if process.rooms().is_empty() {
            return;
        }
        if self.trial.is_some() {
            // Nothing has begun then, and nothing is taken back.
            self.swap(process, to, TrialId(self.trials + 1)).unwrap_err();
            return;
        }
        self.trials += 1;
        let trial = TrialId(self.trials);
        if !self.verdicts.decide(process, Decision::Begins(trial)) {
            return;
        }
        match self.swap(process, to, trial) {
            Ok(()) => {
                self.counts.swaps += 1;
                self.trial = Some(trial);
                process.rooms().into_iter().for_each(|at| {
                    self.grant_leaves(process, at);
                    self.release(process, at);
                });
            }
            Err(rooms) => {
                self.step_all(process, &rooms, &Input::rewind());
                self.verdicts.decide(process, Decision::Over);
            }
        }
    }

    /// The rooms that were swapped before the one that was not.
    fn swap(&mut self, process: &mut Process, to: &Arc<LogicVersion>, trial: TrialId) -> Result<(), Vec<usize>> {
        let swap = Input::Swap { to: to.clone(), drops: [].into(), trial };
        let mut swapped = Vec::new();
        self.stall(process);
        for at in process.rooms() {
            if self.step(process, at, swap.clone()).is_err() {
                self.counts.swaps_refused += 1;
                self.settle(process);
                return Err(swapped);
            }
            self.release(process, at);
            swapped.push(at);
        }
        self.settle(process);
        Ok(())
    }

    /// In these rooms; their records may be in flight together.
    fn step_all(&mut self, process: &mut Process, rooms: &[usize], input: &Input) {
        self.stall(process);
        for at in rooms.iter().copied() {
            self.step(process, at, input.clone()).unwrap();
            self.grant_leaves(process, at);
            self.release(process, at);
            self.compare(process.room(at), at);
        }
        self.settle(process);
    }

    /// As often as not.
    fn stall(&mut self, process: &mut Process) {
        if self.rng.chance(0.5) {
            process.stall(Slow::Records);
        }
    }

    fn settle(&mut self, process: &mut Process) {
        process.go_on_all();
        self.flush(process);
    }

    /// What is about the room itself is synced at once, beside all else: the next calls are to come after that.
    pub(super) fn release(&mut self, process: &mut Process, at: usize) {
        process.release(at, self.last(at).place);
        if !process.is_stalled() {
            self.flush(process);
        }
    }

    /// Inputs and snapshots of all rooms while the disk takes its time; the process may end meanwhile, or when it goes on.
    pub(super) fn work_in_flight(&mut self, process: &mut Process, end: Option<End>) {
        process.stall(*self.rng.pick(&[Slow::Records, Slow::Snapshots]).unwrap());
        self.counts.in_flight += u64::from(process.is_stalled());
        for _ in 0..2 + self.rng.below(5) {
            let Some(at) = self.rng.pick(&process.rooms()).copied() else { break };
            for _ in 0..1 + self.rng.below(3) {
                let input = self.random_input(at);
                self.do_input(process, at, input);
            }
            process.release(at, self.last(at).place);
            self.compare(process.room(at), at);
            if self.rng.chance(0.3) {
                process.begin_snapshots();
            }
        }
        if let Some(end) = end {
            self.plan(&process.disk, end, &[1, 2, 8, CALLS]);
            if self.rng.chance(0.2) {
                return;
            }
        }
        process.go_on_all();
    }

    pub(super) fn end_trial(&mut self, process: &mut Process) {
        if self.rng.chance(0.5) { self.confirm(process) } else { self.rewind(process) }
    }

    fn confirm(&mut self, process: &mut Process) {
        let Some(trial) = self.trial else { return };
        // No verdict is ahead of what it is on, and no room ahead of the verdict.
        if !self.flush(process) || !self.verdicts.decide(process, Decision::Stays(trial)) {
            return;
        }
        self.counts.confirms += 1;
        self.trial = None;
        self.step_all(process, &process.rooms(), &Input::Confirm);
    }

    fn rewind(&mut self, process: &mut Process) {
        if self.trial.take().is_some() {
            self.counts.rewinds += 1;
            self.step_all(process, &process.rooms(), &Input::rewind());
            self.verdicts.decide(process, Decision::Over);
        }
    }
}

fn reason(rng: &mut Rng) -> Arc<str> {
    (*rng.pick(&["left", "kicked", STUCK, STUCK]).unwrap()).into()
}
