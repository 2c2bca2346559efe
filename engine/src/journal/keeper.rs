//! What keeps the rooms of an engine: their journals, and a thread that writes snapshots.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use logic_api::PlayerId;
use parking_lot::Mutex;
use room::{Image, Pool};

use super::black_box::BlackBox;
use super::checked::{self, CheckedError};
use super::commit::{Durability, Journal, LogId};
use super::failure::or_panicked;
use super::files::{Disk, Files};
use super::frame::Position;
use super::last_word::LastWord;
use super::log::{Log, LogError, Task};
use super::recorder::{Noting, Recorder, Stay};
use super::recovery::{Recovered, RecoveryError, recover};
use super::replay::FindVersion;
use super::segments::{Damage, SEGMENT_BYTES, Segments, failed, has_journal, place, remove_gone};
use super::snapshots;
use crate::beat::Beat;
use crate::points::{self, Point};
use crate::progress::Progress;

/// The folder of the rooms in the data folder.
pub const ROOMS_FOLDER: &str = "rooms";
const SNAPSHOTS_THREAD: &str = "snapshots";
/// What the engine, rather than the logic, has to know of a room.
pub(super) const ROOM_FILE: &str = "room.json";

/// How rooms are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepOptions {
    pub durability: Durability,
    /// A snapshot of a room that has changed is made after this time,
    pub snapshot_period: Duration,
    /// or after so many bytes of its records.
    pub snapshot_bytes: u64,
}

/// Keeps rooms. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Shared>);

struct Shared {
    files: Arc<dyn Files>,
    data: PathBuf,
    rooms: PathBuf,
    journal: Journal,
    options: KeepOptions,
    segment_bytes: u64,
    /// Of the start.
    progress: Arc<Progress>,
    /// Of the process before this one.
    last_word: Option<LastWord>,
    /// For what is under way in rooms that have no box of their own as yet, by the thread they are on.
    unborn: OnceLock<Vec<SharedBox>>,
    logs: AtomicU64,
    snapshots: Mutex<Sender<SnapshotTask>>,
    on_failure: OnFailure,
}

/// The lock is held to note, never while a logic runs.
pub type SharedBox = Arc<Mutex<BlackBox>>;

type OnFailure = Arc<dyn Fn(&LogError) + Send + Sync>;

impl Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("rooms", &self.rooms).field("options", &self.options).finish_non_exhaustive()
    }
}

/// What the thread of the snapshots is to do.
pub(super) enum SnapshotTask {
    /// Pages for the copies that a fork is going to cost.
    Reserve { pool: Pool, pages: usize, is_ready: Arc<AtomicBool> },
    /// Removes what is left of a room that is gone.
    Clear(Task),
    /// Says so when all before is done.
    End(Sender<()>),
    Write {
        id: LogId,
        folder: PathBuf,
        room: u64,
        position: Position,
        /// At that place.
        leaving: BTreeMap<PlayerId, Arc<str>>,
        image: Box<Image>,
        is_busy: Arc<AtomicBool>,
        stay: Arc<Stay>,
    },
}

/// Why rooms cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("a thread of the journal cannot be started: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(
        "{path} is damaged: {reason}; remove it, and the room comes back with all but this: not locked, without a label, with \
         seats and ticks of the config, and never closed for being empty"
    )]
    RoomFile { path: String, reason: String },
}

impl Keeper {
    /// Starts the threads. `on_failure` is called when a call on a file fails: from then on nothing is acknowledged, and the
    /// process should end.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn start(
        data: &Path,
        options: KeepOptions,
        on_failure: impl Fn(&LogError) + Send + Sync + 'static,
    ) -> Result<Keeper, KeepError> {
        Keeper::start_on((Arc::new(Disk), SEGMENT_BYTES), data, options, on_failure)
    }

    /// As [`Keeper::start`], on another file system than that of this machine, and with segments of another length.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn start_on(
        (files, segment_bytes): (Arc<dyn Files>, u64),
        data: &Path,
        options: KeepOptions,
        on_failure: impl Fn(&LogError) + Send + Sync + 'static,
    ) -> Result<Keeper, KeepError> {
        let rooms = data.join(ROOMS_FOLDER);
        files.make_folder(&rooms).map_err(failed("making", &rooms))?;
        files.sync_folder(data).map_err(failed("syncing", data))?;
        let last_word = LastWord::read(&*files, data)?;
        // Rooms that were on their way out.
        remove_gone(&*files, &rooms)?;
        let on_failure = told_once(on_failure);
        let journal = {
            let on_failure = Arc::clone(&on_failure);
            Journal::start(options.durability, move |error| on_failure(error)).map_err(KeepError::Thread)?
        };
        let (snapshots, tasks) = channel();
        let (on_files, on_journal, on_its_failure) = (Arc::clone(&files), journal.clone(), Arc::clone(&on_failure));
        let write = move || {
            let carry_out = |task| carry_out(&*on_files, &on_journal, task);
            if let Err(error) = or_panicked(SNAPSHOTS_THREAD, || tasks.iter().try_for_each(carry_out)) {
                on_journal.fail(error.again());
                on_its_failure(&error);
            }
        };
        std::thread::Builder::new().name(SNAPSHOTS_THREAD.to_owned()).spawn(write).map_err(KeepError::Thread)?;
        let (logs, snapshots, unborn) = (AtomicU64::new(0), Mutex::new(snapshots), OnceLock::new());
        let (data, progress) = (data.to_owned(), Progress::in_log());
        let shared = Shared {
            progress,
            files,
            data,
            rooms,
            journal,
            options,
            segment_bytes,
            last_word,
            unborn,
            logs,
            snapshots,
            on_failure,
        };
        Ok(Keeper(Arc::new(shared)))
    }

    /// A call on a file has failed that rooms depend on, though it was on none of theirs.
    pub fn fail(&self, error: &LogError) {
        // First: the process ends later than it says that it does.
        self.0.journal.fail(error.again());
        (self.0.on_failure)(error);
    }

    pub fn options(&self) -> KeepOptions {
        self.0.options
    }

    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub fn files(&self) -> &Arc<dyn Files> {
        &self.0.files
    }

    /// Has what new rooms do noted, too, on so many threads, from the first that their logic is called.
    ///
    /// # Errors
    /// The files cannot be made or read.
    pub fn note_unborn(&self, threads: usize) -> Result<(), LogError> {
        let Shared { files, data, last_word, unborn, .. } = &*self.0;
        let (boxes, quarantined) = BlackBox::open_unborn(&**files, data, threads, *last_word)?;
        for quarantined in quarantined {
            tracing::error!(file = %quarantined.file.display(), "quarantined: {}", quarantined.line);
        }
        unborn.get_or_init(|| boxes.into_iter().map(|black_box| Arc::new(Mutex::new(black_box))).collect());
        Ok(())
    }

    /// Where what the thread's new rooms do is noted; only that thread uses it, and no helper makes a room.
    pub fn unborn(&self, thread: usize) -> Option<SharedBox> {
        self.0.unborn.get()?.get(thread).cloned()
    }

    /// The names of the rooms that are kept, sorted.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, LogError> {
        room_names(&*self.0.files, &self.0.rooms)
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.rooms.join(name)
    }

    /// Brings a room back, and shows what it applies for that.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn recover(
        &self,
        name: &str,
        (pool, beat): (&Pool, &Arc<Beat>),
        find: &mut FindVersion<'_>,
    ) -> Result<Option<Recovered>, RecoveryError> {
        recover(&self.0.files, &self.folder(name), self.0.last_word, (pool, beat, &self.0.progress), find)
    }

    /// Whether there is a room, to be brought back or refused. One without a journal was never told of, and goes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn has_journal(&self, name: &str) -> Result<bool, Damage> {
        has_journal(&*self.0.files, &self.folder(name))
    }

    /// Who is told how far the start is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.0.progress
    }

    /// What `Keeper::record_new` was given, encoded by [`checked::encode`]; `None` if there is nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn settings<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, KeepError> {
        settings_of(&*self.0.files, &self.folder(name))
    }

    /// Keeps a room that has just been made. `settings` are for [`Keeper::settings`].
    /// `unborn` notes what it does until it has a box of its own.
    pub fn record_new(&self, name: &str, pool: &Pool, settings: Vec<u8>, unborn: Option<SharedBox>) -> Recorder {
        let (id, folder) = (self.next_log(), self.folder(name));
        let (room, salt) = (random(), random());
        let (files, name, segment_bytes) = (Arc::clone(&self.0.files), name.to_owned(), self.0.segment_bytes);
        let (of_room, (opened, black_box)) = (folder.clone(), channel());
        let writer = self.0.journal.add(
            id,
            Box::new(move || {
                // First, so that a room that has a journal has these.
                files.make_folder(&of_room).map_err(failed("making", &of_room))?;
                place_settings(&*files, &of_room, &settings)?;
                let log = Segments::create(Arc::clone(&files), &of_room, &name, [room, salt], segment_bytes)?;
                // After the first segment: where there is a black box and no journal, that was lost.
                let black_box = BlackBox::open(&*files, &of_room)?;
                // A room that is gone already needs none.
                let _ = opened.send(black_box);
                Ok(Box::new(log) as Box<dyn Log>)
            }),
        );
        let noting = unborn.map_or(Noting::Nowhere, Noting::Unborn);
        Recorder::new(self.clone(), (writer, folder, room), pool.clone(), (noting, black_box))
    }

    /// Goes on keeping a room that was brought back.
    pub fn record_on(&self, recovered: Recovered, pool: &Pool) -> (room::Room, Recorder) {
        let (id, files, segment_bytes) = (self.next_log(), Arc::clone(&self.0.files), self.0.segment_bytes);
        let Recovered { room, black_box, found, folder, id: room_id, skipped, leaving, .. } = recovered;
        let resume = move || Ok(Box::new(Segments::resume(files, &found, segment_bytes)?) as Box<dyn Log>);
        let writer = self.0.journal.add(id, Box::new(resume));
        let own = (Noting::Own(black_box), channel().1);
        let mut recorder = Recorder::new(self.clone(), (writer, folder, room_id), pool.clone(), own);
        recorder.resumed(&room, leaving);
        // Before anything that comes after: what is built on a room without them needs them gone for ever.
        recorder.skipped(room.tick().0, &skipped);
        (room, recorder)
    }

    /// Keeps other settings of a room from here on.
    pub fn change_settings(&self, name: &str, settings: Vec<u8>) {
        let (files, folder) = (Arc::clone(&self.0.files), self.folder(name));
        self.0.journal.run(Box::new(move || {
            let names = files.list(&folder).map_err(failed("listing", &folder))?;
            // It may have gone meanwhile.
            if names.is_empty() { Ok(()) } else { place_settings(&*files, &folder, &settings) }
        }));
    }

    fn next_log(&self) -> LogId {
        LogId(self.0.logs.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn snapshot(&self, task: SnapshotTask) {
        // The thread ends only after a failure, which has been told.
        let _ = self.0.snapshots.lock().send(task);
    }

    /// Ends the threads: the snapshots that were ordered are made, and all that was committed is safe. Blocks until then.
    pub fn end(&self) {
        // After the journal has handed over what it was to.
        self.0.journal.flushed();
        self.snapshots_made();
        self.0.journal.end();
    }

    /// Waits for the snapshots that were handed over so far: to be made, or given up.
    pub fn snapshots_made(&self) {
        let (done, is_done) = channel();
        self.snapshot(SnapshotTask::End(done));
        // Dropped by a thread that has failed, which has been told.
        let _ = is_done.recv();
    }
}

/// The first failure is the one to be told, and whoever has another one waits until it is.
fn told_once(on_failure: impl Fn(&LogError) + Send + Sync + 'static) -> OnFailure {
    let told = Once::new();
    Arc::new(move |error| told.call_once(|| on_failure(error)))
}

/// The folders of rooms in a folder, without what is half gone.
///
/// # Errors
/// The folder cannot be read.
pub fn room_names(files: &dyn Files, rooms: &Path) -> Result<Vec<String>, LogError> {
    let names = files.list(rooms).map_err(failed("listing", rooms))?;
    Ok(names.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// As [`Keeper::settings`], of the room in this folder.
///
/// # Errors
/// As there.
pub fn settings_of<T: serde::de::DeserializeOwned>(files: &dyn Files, folder: &Path) -> Result<Option<T>, KeepError> {
    let path = folder.join(ROOM_FILE);
    checked::read(files, &path).map_err(|error| match error {
        CheckedError::Read(source) => failed("reading", &path)(source).into(),
        CheckedError::Damaged(reason) => KeepError::RoomFile { path: path.display().to_string(), reason },
    })
}

fn place_settings(files: &dyn Files, folder: &Path, settings: &[u8]) -> Result<(), LogError> {
    place(files, &folder.join(ROOM_FILE), |file| file.append(settings), |_| Ok(()), None).map(drop)
}

fn carry_out(files: &dyn Files, journal: &Journal, task: SnapshotTask) -> Result<(), LogError> {
    match task {
        SnapshotTask::Reserve { pool, pages, is_ready } => {
            pool.reserve(pages);
            is_ready.store(true, Ordering::Release);
        }
        SnapshotTask::Clear(rest) => rest()?,
        SnapshotTask::End(done) => drop(done),
        SnapshotTask::Write { id, folder, room, position, leaving, mut image, is_busy, stay } => {
            let tick = image.tick();
            points::reached(Point::SnapshotBegun);
            let mut sound = stay.sound.lock();
            // Its folder may be gone then, or be that of the next room of its name, which has no snapshot while one is made here.
            let is_over = || stay.is_over.load(Ordering::Acquire);
            if is_over() {
                return Ok(());
            }
            let of = (room, position, leaving);
            let upto = match snapshots::write(files, &folder, of, &mut image, &is_over, &mut sound) {
                Err(_) if is_over() => return Ok(()),
                written => written?,
            };
            drop(sound);
            tracing::debug!(folder = %folder.display(), seq = position.seq, %tick, "snapshot");
            if let Some(upto) = upto {
                journal.forget(id, upto);
            }
            drop(image);
            is_busy.store(false, Ordering::Release);
        }
    }
    Ok(())
}

/// Told apart from all others, which is all that is asked of it.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
