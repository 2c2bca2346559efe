//! What the last engine on this data folder has left: the rooms that are brought back, before new ones are made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use room::{LogicVersion, Pool};

use crate::beat::Beat;
use crate::config::Config;
use crate::journal::Durability;
use crate::journal::files::{Disk, Files};
use crate::journal::keeper::{KeepError, KeepOptions, Keeper, ROOMS_FOLDER, room_names};
use crate::journal::last_word;
use crate::journal::log::LogError;
use crate::journal::recovery::{Recovered, RecoveryError, versions_of};
use crate::journal::segments::{Found, failed, has_journal};
use crate::loader::digest::Sha256;
use crate::loader::load::Loader;
use crate::logs;
use crate::probation::{Verdict, Verdicts};
use crate::progress::Progress;
use crate::rooms::{RoomName, RoomSettings};

/// Rooms that were brought back, and what keeps them and all others from here on.
#[derive(Debug, Default)]
pub struct KeptRooms {
    /// `None` where nothing is kept.
    pub keeper: Option<Keeper>,
    pub rooms: Vec<KeptRoom>,
    /// Rooms that are kept and cannot be brought back. Their names are not given to others.
    pub refused: Vec<RoomName>,
}

#[derive(Debug)]
pub struct KeptRoom {
    pub name: RoomName,
    pub settings: RoomSettings,
    pub recovered: Recovered,
}

/// Why the engine cannot start on what is kept. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error(transparent)]
    Keep(#[from] KeepError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("no room can be brought back; {0}; or start anew with --fresh, which moves what is kept aside")]
    NoRoom(String),
    #[error("{path} cannot be moved aside: {source}")]
    Aside { path: String, source: std::io::Error },
}

impl KeptRooms {
    /// Brings all rooms back that are kept in the data folder, on the versions that ran them. A room that cannot be is told in
    /// the log, and left as it is.
    ///
    /// # Errors
    /// [`KeptError`], also if none of several can be.
    pub fn recover(
        config: &Config,
        data: &Path,
        loader: &Loader,
        (pools, beat): (&[Pool], &Arc<Beat>),
        verdicts: &Verdicts,
    ) -> Result<KeptRooms, KeptError> {
        let Config { durability, snapshot_interval, snapshot_journal_bytes, .. } = *config;
        if durability == Durability::Off {
            tell_left(data);
            return Ok(KeptRooms::default());
        }
        let options =
            KeepOptions { durability, snapshot_period: snapshot_interval, snapshot_bytes: snapshot_journal_bytes };
        let keeper = Keeper::start(data, options, stop_the_process)?;
        last_word::arm(&**keeper.files(), data)?;
        keeper.note_unborn(pools.len())?;
        let mut kept = KeptRooms { keeper: Some(keeper.clone()), ..KeptRooms::default() };
        let mut reasons = Vec::new();
        for (name, pool) in keeper.names()?.iter().zip(pools.iter().cycle()) {
            let Some(room_name) = RoomName::parse(name) else {
                tracing::warn!(folder = %keeper.folder(name).display(), "passed over: this is no room's name");
                continue;
            };
            match bring_back(&keeper, name, (pool, beat), loader) {
                Ok(Some((settings, mut recovered))) => {
                    let trial = recovered.room.trial();
                    recovered.is_confirmed = trial.is_some_and(|trial| verdicts.of(trial) == Verdict::Confirm);
                    kept.rooms.push(KeptRoom { name: room_name, settings, recovered });
                }
                Ok(None) => {}
                Err(reason) => {
                    tracing::error!(room = name, "the room is not started: {reason}");
                    kept.refused.push(room_name);
                    reasons.push(reason);
                }
            }
        }
        last_word::forget();
        if kept.rooms.is_empty() && !reasons.is_empty() {
            return Err(KeptError::NoRoom(reasons.join("; ")));
        }
        if kept.refused.is_empty() {
            kept.forget_versions(data, loader);
        }
        Ok(kept)
    }

    /// The version that new rooms are made on: that of the room `main`, or of the first whose code is there.
    #[must_use]
    pub fn current(&self) -> Option<Arc<LogicVersion>> {
        let is_there = |room: &&KeptRoom| room.recovered.logic().gone_because().is_none();
        let main = self.rooms.iter().filter(is_there).find(|room| room.name.as_str() == "main");
        main.or(self.rooms.iter().find(is_there)).map(|room| Arc::clone(room.recovered.logic()))
    }

    /// Removes the copies of versions that nothing needs any more: no room, and none that was moved aside, for whoever moves it back
    /// needs its own. Where that cannot be found out, all are left.
    fn forget_versions(&self, data: &Path, loader: &Loader) {
        let Some(keeper) = &self.keeper else { return };
        let files = &**keeper.files();
        let mut needed: BTreeSet<Sha256> = loader.versions.list().iter().map(|mapped| mapped.sha256).collect();
        for room in &self.rooms {
            match room.recovered.versions(files) {
                Ok(versions) => needed.extend(versions.into_iter().map(Sha256::from)),
                Err(error) => {
                    tracing::warn!(room = %room.name, "versions are not looked through: {error}");
                    return;
                }
            }
        }
        match versions_aside(files, data, keeper.progress()) {
            Ok(versions) => needed.extend(versions),
            Err(error) => {
                tracing::warn!("no version is removed, for what was moved aside cannot be read: {error}");
                return;
            }
        }
        match loader.intake.stage.keep_only(&needed) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed versions that no journal needs any more"),
            Err(error) => tracing::warn!(%error, "versions that no journal needs are not removed"),
        }
    }
}

/// Rooms of the same names are made anew beside those that an engine kept here, and whoever looks for these should not take them for lost.
fn tell_left(data: &Path) {
    let folder = data.join(ROOMS_FOLDER);
    // What cannot be looked into is left, too, and no reason not to start.
    let is_kept = |name: &String| {
        let room = folder.join(name);
        RoomName::parse(name).is_some() && room.is_dir() && has_journal(&Disk, &room).unwrap_or(true)
    };
    let rooms = match room_names(&Disk, &folder) {
        Ok(names) => names.into_iter().filter(is_kept).count(),
        Err(error) => {
            tracing::warn!(%error, "with durability = \"off\" rooms that may be kept are left as they are");
            return;
        }
    };
    if rooms > 0 {
        tracing::warn!(
            rooms,
            folder = %folder.display(),
            "with durability = \"off\" the rooms that are kept are left as they are and not brought back; to have them, set \
             durability = \"100ms\" or \"tick\""
        );
    }
}

/// What the rooms need that were moved aside.
fn versions_aside(files: &dyn Files, data: &Path, progress: &Arc<Progress>) -> Result<BTreeSet<Sha256>, RecoveryError> {
    let mut needed = BTreeSet::new();
    for name in files.list(data).map_err(failed("listing", data))? {
        if !name.starts_with(ASIDE_PREFIX) {
            continue;
        }
        let rooms = data.join(name);
        for room in room_names(files, &rooms)? {
            let folder = rooms.join(room);
            if let Some(found) = Found::read_told(files, &folder, progress)? {
                needed.extend(versions_of(files, &folder, &found, progress)?.into_iter().map(Sha256::from));
            }
        }
    }
    Ok(needed)
}

fn bring_back(
    keeper: &Keeper,
    name: &str,
    (pool, beat): (&Pool, &Arc<Beat>),
    loader: &Loader,
) -> Result<Option<(RoomSettings, Recovered)>, String> {
    let mut find = |mark: &room::VersionMark| loader.load_kept(mark).map(|mapped| Arc::clone(&mapped.logic));
    let started = std::time::Instant::now();
    let settings = keeper.settings(name).map_err(|error| error.to_string());
    // Before anything is changed: a room that is refused is left as it is.
    if keeper.has_journal(name).map_err(|error| error.to_string())? {
        settings.as_ref().map_err(String::clone)?;
    }
    let recovered = keeper.recover(name, (pool, beat), &mut find).map_err(|error| error.to_string())?;
    let Some(recovered) = recovered else { return Ok(None) };
    let settings = settings?.unwrap_or_default();
    let room = &recovered.room;
    tracing::info!(
        room = name,
        tick = room.tick().0,
        version = room.logic().version().0,
        logic = room.logic().name(),
        players = room.world().players().len(),
        took_ms = started.elapsed().as_millis(),
        "room brought back"
    );
    if let Some(reason) = room.logic().gone_because() {
        tracing::error!(
            room = name,
            "the room stands still: {}: {reason}; or load a version that takes its tables over",
            room.logic().mark()
        );
    }
    Ok(Some((settings, recovered)))
}

/// After a call on a file has failed nothing may be acknowledged, so there is nothing left to do.
fn stop_the_process(error: &LogError) {
    tracing::error!("{error}; nothing is acknowledged any more, and the engine stops");
    logs::tell(format_args!("{error}; the engine stops: see to the disk, then start it again"));
    std::process::exit(FAILED_DISK);
}

/// What the process ends with when a call on a file has failed (EX_IOERR of sysexits).
const FAILED_DISK: i32 = 74;

/// What the folder of rooms that were moved aside is called, before the time.
const ASIDE_PREFIX: &str = "rooms-";

/// Moves the rooms that are kept aside, so that a start begins anew; where they are then.
///
/// # Errors
/// [`KeptError::Aside`].
pub fn move_aside(data: &Path) -> Result<Option<PathBuf>, KeptError> {
    let rooms = data.join(ROOMS_FOLDER);
    if !rooms.exists() {
        return Ok(None);
    }
    let aside = data.join(format!("{ASIDE_PREFIX}{}", Timestamp::now().strftime("%Y%m%d-%H%M%S%.f")));
    let failed = |source| KeptError::Aside { path: rooms.display().to_string(), source };
    std::fs::rename(&rooms, &aside).map_err(failed)?;
    std::fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(Some(aside))
}
