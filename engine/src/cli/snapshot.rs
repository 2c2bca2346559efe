//! `engine snapshot`: what a snapshot's file holds, and how it opens under another version. The version that wrote it is not needed:
//! a snapshot tells of its tables. Nor does anything of the other one get into this process: the room is handed to the probe's child,
//! which does to it what a rehearsal does, and what it has become is read back.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use room::plan::Plan;
use room::{Pool, Room, SnapshotError, Stamp};

use crate::cli::check::{CheckError, with_loader};
use crate::cli::dump::{DumpError, dump};
use crate::journal::files::Disk;
use crate::journal::snapshots;
use crate::loader::error::printed_lines;
use crate::loader::load::{Mappable, Summary};
use crate::loader::probe::{ProbeFault, RoomToTry};

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
    /// Config file whose plugin_bytes_max, probe_timeout_ms, rewrite_timeout_ms and rewrite_bytes_max hold [default: engine.toml
    /// if it is there].
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
    #[error("{file} does not open under {version}: {reason}")]
    Refused { file: String, version: String, reason: String },
    #[error("{file} cannot be tried under {version}: {fault}; a copy of the room has to fit into {} (TMPDIR)", temporary.display())]
    Untried { file: String, version: String, fault: Box<ProbeFault>, temporary: PathBuf },
    #[error("nothing called {0:?} is lost; leave --drop {0} out")]
    UnusedDrop(String),
    #[error(transparent)]
    Dump(#[from] DumpError),
}

/// Shows what the file holds, and with a plugin what becomes of it. Nothing is changed.
///
/// # Errors
/// [`SnapshotCommandError`].
pub fn snapshot(flags: SnapshotFlags) -> Result<String, SnapshotCommandError> {
    let SnapshotFlags { file, with, drop: drops, dump: to, config } = flags;
    let failed = |source| SnapshotCommandError::Read { file: file.display().to_string(), source };
    let (_, mut reader) = snapshots::open(&Disk, &file).map_err(failed)?;
    let mut room = read(&mut reader, &file)?;
    let mut text = summary(&mut room);
    if let Some(with) = with {
        let opening = Opening { file: &file, room: &mut room, drops };
        room = with_loader(&with, config, |loader, config, name| {
            let candidate = loader.intake.read(&name)?;
            let staged = loader.intake.stage(&candidate)?;
            let mappable = loader.intake.look(&candidate, &staged)?;
            Ok(opening.under(mappable, config.rewrite_bytes_max, staged.with_extension("room"), &mut text))
        })??;
    }
    match to {
        Some(path) => Ok(dump(&room, &path, text)?),
        None => Ok(text),
    }
}

fn read(mut from: &mut dyn io::Read, file: &Path) -> Result<Room, SnapshotCommandError> {
    // Its own version would only be in the way.
    let read = Room::from_snapshot(&mut from, &Pool::new(), |_| Err("only its tables are looked at".to_owned()));
    read.map_err(|error| SnapshotCommandError::Snapshot { file: file.display().to_string(), error: error.into() })
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

/// A room on its way to another version.
struct Opening<'a> {
    file: &'a Path,
    room: &'a mut Room,
    drops: Vec<String>,
}

impl Opening<'_> {
    /// Has the child take the room over, and reads what it has become. `becomes` is for the child to write to.
    fn under(
        self,
        mappable: Mappable,
        rewrite_bytes_max: usize,
        becomes: PathBuf,
        text: &mut String,
    ) -> Result<Room, SnapshotCommandError> {
        let Self { file, room, drops } = self;
        let Summary { manifest, changes: new_changes, .. } = mappable.summary().clone();
        let version = format!("{} {}", manifest.name, manifest.version);
        let refused = |reason| {
            let (file, version) = (file.display().to_string(), version.clone());
            SnapshotCommandError::Refused { file, version, reason }
        };
        let (world, changes) = (room.world(), room.logic().changes().clone());
        let plan = Plan::new(world.schema(), &changes, &Arc::new(manifest.schema), &new_changes, &drops);
        if !plan.refusals().is_empty() {
            return Err(refused(format!("its tables cannot be carried over\n{}", plan.refusals().join("\n"))));
        }
        if let Some(unused) = plan.unused_drops().first() {
            return Err(SnapshotCommandError::UnusedDrop(unused.clone()));
        }
        let _ = writeln!(text, "under {version}:");
        match plan.is_nothing() {
            true => *text += "the tables stay as they are\n",
            false => *text += &plan.report(Some(world)).to_string(),
        }
        let stamp = Stamp { now_us: room.now_us(), seed: 0 };
        let image = room.image().expect("what was read is not on trial");
        let to_try = RoomToTry { image, changes, drops, stamp, rewrite_bytes_max, becomes: Some(becomes.clone()) };
        let (_, printed) = mappable.rehearse(std::iter::once(to_try)).map_err(|fault| match fault.is_ours() {
            true => {
                let (file, version, temporary) = (file.display().to_string(), version.clone(), std::env::temp_dir());
                SnapshotCommandError::Untried { file, version, fault: fault.into(), temporary }
            }
            false => {
                let printed = printed_lines(fault.printed().unwrap_or_default());
                refused([vec![fault.to_string()], printed].concat().join("\n"))
            }
        })?;
        printed_lines(&printed).iter().for_each(|line| *text += &format!("{line}\n"));
        let failed = |source| SnapshotCommandError::Read { file: becomes.display().to_string(), source };
        let became = File::open(&becomes).map_err(failed)?;
        // However this process ends, nothing of the room stays there.
        std::fs::remove_file(&becomes).map_err(failed)?;
        let mut room = read(&mut BufReader::new(became), &becomes)?;
        let _ = writeln!(text, "opened: state hash {:016x}", room.state_hash());
        Ok(room)
    }
}
