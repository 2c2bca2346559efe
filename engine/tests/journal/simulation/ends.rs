//! The ends of processes, and what is left after them.

use engine::journal::Durability;

use super::black_box::{BlackBox, head, last_word, say};
use super::process::{Process, Told, all};
use super::run::Run;
use super::verdicts::Decision;
use crate::disk::{Failure, MemoryDisk};

/// Calls on files that one thing that is done may take: an end is somewhere among them.
pub(super) const CALLS: u64 = 24;
/// Most of what is done takes few.
pub(super) const MOST: &[u64] = &[1, 2, 4, CALLS];

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Kill,
    PowerCut,
    /// Calls fail from one on; then the process goes, or the machine.
    Failure(Failure, bool),
    InOrder,
}

impl Run<'_> {
    pub(super) fn random_end(&mut self) -> End {
        let failure = *self.rng.pick(&[Failure::Io, Failure::NoSpace, Failure::Short]).unwrap();
        match self.rng.below(8) {
            0..3 => End::Kill,
            3..6 => End::PowerCut,
            6 => End::Failure(failure, self.rng.chance(0.5)),
            _ => End::InOrder,
        }
    }

    /// Has the disk end, or fail, at one of the next calls.
    pub(super) fn plan(&mut self, disk: &MemoryDisk, end: End, within: &[u64]) {
        let within = *self.rng.pick(within).unwrap();
        let call = disk.calls() + self.rng.below(within);
        match end {
            End::Failure(failure, _) => disk.fail_at(call, failure),
            _ => disk.end_at(call, self.rng.below(256)),
        }
    }

    /// A start that comes to an end before anybody hears of it, or just after.
    pub(super) fn fail_to_start(&mut self, disk: MemoryDisk) -> MemoryDisk {
        self.counts.failed_starts += 1;
        let disk = disk.after_kill();
        let end = match self.random_end() {
            // What is quarantined by it must come to be so again.
            End::InOrder | End::PowerCut if self.boxes.iter().any(BlackBox::is_busy) => End::Kill,
            End::Failure(failure, _) if self.boxes.iter().any(BlackBox::is_busy) => End::Failure(failure, false),
            End::InOrder => End::PowerCut,
            end => end,
        };
        self.plan(&disk, end, MOST);
        match self.start(&disk) {
            Some(process) => self.end(process, end),
            None => self.after(&disk, end, &[]).0,
        }
    }

    pub(super) fn end_in_order(&mut self, process: Process) -> MemoryDisk {
        // Whoever ends the process is to blame for it, not the version on trial.
        assert!(self.verdicts.decide(&process, Decision::Over));
        let disk = process.end();
        self.verdicts.ended(disk.calls());
        self.safe = all().map(|room| self.last(room)).collect();
        let after = disk.after_power_cut(&mut self.rng);
        self.check_boxes(&disk.after_kill(), &after);
        after
    }

    /// Cuts a process short.
    pub(super) fn end(&mut self, process: Process, end: End) -> MemoryDisk {
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
    pub(super) fn after(&mut self, disk: &MemoryDisk, end: End, acknowledged: &[Told]) -> (MemoryDisk, u64) {
        let (at_end, calls) = disk.at_end();
        let ended_in = self.ended_in.take();
        let is_power_cut = match end {
            _ if ended_in.is_some() => self.rng.chance(0.1),
            End::Kill => false,
            End::Failure(_, is_power_cut) => is_power_cut,
            End::PowerCut | End::InOrder => true,
        };
        match end {
            _ if ended_in.is_some() => {}
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
        self.check_boxes(&at_end, &disk);
        if let Some(at) = ended_in.filter(|_| !is_power_cut && !self.is_silent)
            && self.rng.chance(0.9)
        {
            // By a signal, by a call of exit, by the watchdog.
            say(&disk, at, *self.rng.pick(&[6, 11, 256, 257]).unwrap());
            self.word = Some(at);
        }
        // It was there before the next process makes its first call.
        self.safe.iter_mut().for_each(|told| told.calls = 0);
        (disk, calls)
    }

    /// That the black boxes say what they must, and what of that is left after the end.
    fn check_boxes(&mut self, at_end: &MemoryDisk, after: &MemoryDisk) {
        let mut is_heard = true;
        for (at, (head_before, before)) in std::mem::take(&mut self.at_start).into_iter().enumerate() {
            if before.is_busy() && head(at_end, at) == head_before {
                // The start did not get that far.
                self.boxes[at] = before;
                is_heard &= self.word != Some(at);
            }
            self.boxes[at].check(at, at_end, after);
        }
        if is_heard {
            self.word = None;
            after.take(&last_word());
        }
    }
}
