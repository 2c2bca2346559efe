//! `engine snapshot`: what a snapshot's file holds, and how it opens under another version. The version that wrote it is not needed:
//! a snapshot tells of its tables.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use room::{Input, LogicVersion, Outbox, Pool, Room, SnapshotError, Stamp, StepError, TrialId};

use crate::cli::check::{CheckError, map};
use crate::cli::dump::{DumpError, dump};
use crate::journal::files::Disk;
use crate::journal::snapshots;

#[derive(Debug, Clone, Args)]
pub struct SnapshotFlags {
    /// The snapshot's file.
    pub file: PathBuf,
    /// Open it under this plugin: what its tables become, with migrations and `upgraded`, as in a load.
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
    /// A field (Avatar.hp) or a table (orbs) that may be lost by that; may be given more than once.
    #[arg(long, value_name = "NAME", requires = "with")]
    pub drop: Vec<String>,
    /// Write the room as JSON; to standard output without a FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub dump: Option<PathBuf>,
    /// Config file whose plugin_bytes_max and probe_timeout_ms hold [default: engine.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why a snapshot is not shown, or does not open. Each text is one line but for that of a refused plan.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotCommandError {
    #[error("{file} cannot be read: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file}: {error}")]
    Snapshot { file: String, error: Box<SnapshotError> },
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{file} does not open under {logic} {version}: {}", told(.error))]
    Refused { file: String, logic: String, version: u32, error: Box<StepError> },
    #[error("nothing called {0:?} is lost; leave --drop {0} out")]
    UnusedDrop(String),
    #[error(transparent)]
    Dump(#[from] DumpError),
}

/// A line for each reason.
fn told(error: &StepError) -> String {
    match error {
        StepError::SchemaDiffers(lines) => format!("its tables cannot be carried over\n{}", lines.join("\n")),
        error => error.to_string(),
    }
}

/// Shows what the file holds, and with a plugin what becomes of it. Nothing is changed.
///
/// # Errors
/// [`SnapshotCommandError`].
pub fn snapshot(flags: SnapshotFlags) -> Result<String, SnapshotCommandError> {
    let SnapshotFlags { file, with, drop: drops, dump: to, config } = flags;
    let shown = file.display().to_string();
    let failed = |source| SnapshotCommandError::Read { file: shown.clone(), source };
    let (_, mut reader) = snapshots::open(&Disk, &file).map_err(failed)?;
    // Its own version would only be in the way.
    let opened = Room::from_snapshot(&mut reader, &Pool::new(), |_| Err("only its tables are looked at".to_owned()));
    let mut room =
        opened.map_err(|error| SnapshotCommandError::Snapshot { file: shown.clone(), error: error.into() })?;
    let mut text = summary(&mut room);
    if let Some(with) = with {
        let to = map(&with, config)?;
        text += &open_under(&mut room, &to, drops, &shown)?;
    }
    match to {
        Some(path) => Ok(dump(&room, &path, text)?),
        None => Ok(text),
    }
}

fn summary(room: &mut Room) -> String {
    let state_hash = room.state_hash();
    let (mark, world) = (room.logic().mark(), room.world());
    let (tick, players) = (room.tick(), world.players().len());
    let mut text =
        format!("{} at tick {tick}, by {mark}: {players} players, state hash {state_hash:016x}\n", room.name());
    for table in &world.schema().tables {
        let rows = world.rows(&table.name).count();
        let _ = writeln!(text, "  {}: {rows} rows of {} bytes", table.name, table.row.size);
    }
    text
}

/// Swaps the room to the version for good.
fn open_under(
    room: &mut Room,
    to: &Arc<LogicVersion>,
    drops: Vec<String>,
    file: &str,
) -> Result<String, SnapshotCommandError> {
    let (logic, version) = (to.name().to_owned(), to.version().0);
    let plan = room.plan_swap(to, &drops);
    if let (true, Some(unused)) = (plan.refusals().is_empty(), plan.unused_drops().first()) {
        return Err(SnapshotCommandError::UnusedDrop(unused.clone()));
    }
    let mut text = format!("under {logic} {version}:\n");
    match plan.is_nothing() {
        true => text += "the tables stay as they are\n",
        false => text += &plan.report(Some(room.world())).to_string(),
    }
    let (stamp, mut unheard) = (Stamp { now_us: room.now_us(), seed: 0 }, Outbox::new());
    let swap = Input::Swap { to: Arc::clone(to), drops: drops.into(), trial: TrialId::default() };
    let stepped = room.step(stamp, swap, &mut unheard).and_then(|_| room.step(stamp, Input::Confirm, &mut unheard));
    stepped.map_err(|error| SnapshotCommandError::Refused {
        file: file.to_owned(),
        logic,
        version,
        error: error.into(),
    })?;
    drop(room.take_spent());
    let _ = writeln!(text, "opened: state hash {:016x}", room.state_hash());
    Ok(text)
}
