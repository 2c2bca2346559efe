//! Inputs that end the process while they are under way, as a native crash does.

use std::cell::RefCell;
use std::collections::BTreeSet;

use logic_api::Rng;
use logic_api::prelude::Ctx;

use crate::disk::MemoryDisk;
use crate::support::ON_PURPOSE;

thread_local! {
    /// The process whose rooms this thread runs; none for rooms that no process has.
    static PROCESS: RefCell<Option<Process>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Process {
    disk: MemoryDisk,
    /// The first random numbers of inputs that end it, whatever they do: each input has others.
    deadly: BTreeSet<u64>,
    end: Option<Ended>,
}

/// An end within an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// It had not ended before, by a call on a file.
    pub(super) was_there: bool,
    /// The first random number of the input, if it was that.
    pub(super) number: Option<u64>,
}

/// By which [`Ended`] inputs are told from each other.
pub(super) fn first_number(seed: u64) -> u64 {
    Rng::new(seed).next_u64()
}

/// Runs something of the process with this disk; how it ended, if it did.
pub(super) fn within<R>(disk: &MemoryDisk, deadly: &BTreeSet<u64>, run: impl FnOnce() -> R) -> (R, Option<Ended>) {
    let process = Process { disk: disk.clone(), deadly: deadly.clone(), end: None };
    PROCESS.set(Some(process));
    let result = run();
    (result, PROCESS.take().and_then(|process| process.end))
}

/// To be called by a logic: the process ends here if this input is deadly.
pub(super) fn may_end(ctx: &mut Ctx) -> u64 {
    let number = ctx.rng().next_u64();
    if PROCESS.with_borrow(|process| process.as_ref().is_some_and(|process| process.deadly.contains(&number))) {
        end(Some(number));
    }
    number
}

/// The process ends here.
pub(super) fn ends() -> ! {
    end(None)
}

/// What is there of it goes on, to the end of the callback, and can do no more harm: its disk is kept as it was.
fn end(number: Option<u64>) -> ! {
    PROCESS.with_borrow_mut(|process| {
        let process = process.as_mut().expect("a room without a process is given nothing that ends one");
        if process.end.is_none() {
            process.end = Some(Ended { was_there: process.disk.end_here(), number });
        }
    });
    panic!("{ON_PURPOSE}: the process ends")
}
