//! The version tried on copies of rooms, in the probe's child.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread,
};

use room::{LogicVersion, Pool, Rehearsal, Room, Stamp};

use super::{
    WRITE_BYTES,
    child::{Verdict, left_behind, shortened},
    footing::Footing,
    words::{ChunkReader, Message, RehearsalFault, RoomHead, Step},
};
use crate::panics::panic_text;

/// Nothing of this child's loader is said any more.
type Word = Message<()>;

/// The thread that is joined, and the one that joins it.
const THREADS: usize = 2;

/// Tries the version on each room that comes in, until one would not take it or there are no more.
///
/// On a thread with the stack that a thread of rooms has: what overflows it would do so there.
pub(super) fn rehearse(logic: &Arc<LogicVersion>, rooms: File, verdict: &Verdict) -> io::Result<()> {
    let mut rooms = BufReader::with_capacity(WRITE_BYTES, rooms);
    if rooms.fill_buf()?.is_empty() {
        return Ok(());
    }
    thread::scope(|scope| {
        let all = || all(logic, &mut rooms, verdict);
        let thread = thread::Builder::new().name("rehearsal".to_owned()).spawn_scoped(scope, all)?;
        thread.join().map_err(|_| io::Error::other("the rehearsal panicked"))?
    })
}

fn all(logic: &Arc<LogicVersion>, rooms: &mut BufReader<File>, verdict: &Verdict) -> io::Result<()> {
    let (footing, pool) = (Footing::now()?, Pool::new());
    while !rooms.fill_buf()?.is_empty() {
        let mut step = Step::Read;
        // A plugin that lies may have the engine's own code panic.
        let tried = catch_unwind(AssertUnwindSafe(|| one(logic, rooms, &pool, verdict, &mut step)));
        let fault = tried.unwrap_or_else(|panic| Err(panicked(step, panic_text(&*panic))));
        if let Err(fault) = fault {
            return verdict.say(Word::Failed(fault));
        }
        verdict.say(Word::Doing(Step::Wait))?;
    }
    verdict.say(left_behind(&footing, THREADS)?.unwrap_or(Word::Rehearsed))
}

fn one(
    logic: &Arc<LogicVersion>,
    rooms: &mut BufReader<File>,
    pool: &Pool,
    verdict: &Verdict,
    step: &mut Step,
) -> Result<(), RehearsalFault> {
    let mut next = |now: Step| {
        *step = now;
        verdict.say(Word::Doing(now)).map_err(unreadable)
    };
    next(Step::Read)?;
    let mut head = Vec::new();
    ChunkReader::new(rooms).read_to_end(&mut head).map_err(unreadable)?;
    let RoomHead { changes, drops, now_us, seed, rewrite_bytes_max, becomes } =
        serde_json::from_slice(&head).map_err(unreadable)?;
    let mut room = Rehearsal::read(&mut ChunkReader::new(rooms), pool).map_err(unreadable)?;
    let stamp = Stamp { now_us, seed };
    if room.changes_tables(logic) {
        next(Step::Migrate)?;
        // Whoever cannot be told has gone, and this process goes with it.
        let mut watch = |table: &str| drop(verdict.say(Word::Migrating(table.to_owned())));
        let migrated = room.migrate(&changes, logic, &drops.into(), stamp, rewrite_bytes_max, &mut watch);
        migrated.map_err(RehearsalFault::Rewrite)?;
    }
    next(Step::Upgrade)?;
    let upgraded = room.upgrade(logic, stamp);
    let mut room = upgraded.map_err(|fault| RehearsalFault::Upgrade(shortened(fault.to_string())))?;
    if let Some(path) = becomes {
        next(Step::Write)?;
        write(&mut room, &path).map_err(unwritten)?;
    }
    Ok(())
}

fn write(room: &mut Room, path: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(path)?);
    room.image().expect("it is not on trial").write(&mut out)?;
    out.flush()
}

fn unreadable(error: impl ToString) -> RehearsalFault {
    RehearsalFault::Unreadable(error.to_string())
}

fn unwritten(error: impl ToString) -> RehearsalFault {
    RehearsalFault::Unwritten(error.to_string())
}

fn panicked(step: Step, message: &str) -> RehearsalFault {
    let what = match step {
        Step::Read | Step::Wait => return unreadable(message),
        Step::Migrate => "a migration",
        Step::Upgrade => "upgraded",
        Step::Write => return unwritten(message),
    };
    RehearsalFault::Upgrade(shortened(format!("the engine panicked because of {what}: {message}")))
}
