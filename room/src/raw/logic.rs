//! A version of a logic: its function table, copied out of the plugin once, and what it says of itself.

use super::host::{Arguments, Frame, HOST, HostCall};
use crate::VersionMark;
use crate::outbox::Outbox;
use crate::world::World;
use logic_api::abi::{
    Batch, CONTRACT, Call, ChangesTable, EXT_CHANGES, Globals, LogicTable, RawBytes, RawMigration, Sink, status,
};
use logic_api::changes::Changes;
use logic_api::schema::Schema;
use logic_api::{Logic, Manifest, Version};
use std::sync::{Arc, OnceLock};
use std::{fmt, slice};

/// What a fault may be said to have happened in beside a callback: going over a room's inputs again, the process itself,
/// a migration, and looking for the code.
const NO_CALLBACKS: [&str; 4] = ["replay", PROCESS, MIGRATE, LOAD];
/// What a migration is called in a fault.
pub(crate) const MIGRATE: &str = "migrate";
/// What a version that is not there failed in.
pub(crate) const LOAD: &str = "load";
/// What is said of an input that ends the process.
pub(crate) const PROCESS: &str = "process";

/// The callbacks, as [`LogicVersion`] calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    Init,
    Create,
    JoinAttempt,
    Join,
    Drop,
    Reconnect,
    Leave,
    Message,
    Tick,
    Timer,
    Query,
    Request,
    Signal,
    Upgraded,
    Terminate,
    Dispose,
}

/// The name as faults carry it; none if no fault has it.
pub(crate) fn fault_callback(name: &str) -> Option<&'static str> {
    Callback::ALL.into_iter().map(Callback::name).chain(NO_CALLBACKS).find(|known| *known == name)
}

impl Callback {
    const ALL: [Self; 16] = [
        Self::Init,
        Self::Create,
        Self::JoinAttempt,
        Self::Join,
        Self::Drop,
        Self::Reconnect,
        Self::Leave,
        Self::Message,
        Self::Tick,
        Self::Timer,
        Self::Query,
        Self::Request,
        Self::Signal,
        Self::Upgraded,
        Self::Terminate,
        Self::Dispose,
    ];

    /// Whether the host refuses what would change the world.
    pub(crate) fn is_read_only(self) -> bool {
        matches!(self, Self::JoinAttempt | Self::Query)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Create => "create",
            Self::JoinAttempt => "join_attempt",
            Self::Join => "join",
            Self::Drop => "drop",
            Self::Reconnect => "reconnect",
            Self::Leave => "leave",
            Self::Message => "message",
            Self::Tick => "tick",
            Self::Timer => "timer",
            Self::Query => "query",
            Self::Request => "request",
            Self::Signal => "signal",
            Self::Upgraded => "upgraded",
            Self::Terminate => "terminate",
            Self::Dispose => "dispose",
        }
    }
}

/// A version of a logic. Rooms hold it through an `Arc`; a swap exchanges that between two inputs.
pub struct LogicVersion {
    code: Code,
    manifest: Manifest,
    schema: Arc<Schema>,
    changes: Changes,
    /// By number, as the changes have them.
    migrations: Vec<RawMigration>,
    /// Of the plugin's file, once whoever mapped it has said so.
    sha256: OnceLock<[u8; 32]>,
}

/// What runs a version.
enum Code {
    There(LogicTable),
    /// All that is known of it is what a snapshot says.
    Gone {
        build_id: Vec<u8>,
        reason: String,
    },
}

/// The function table is not one that a room can work with.
#[derive(Debug, thiserror::Error)]
pub enum BadLogic {
    #[error("its manifest cannot be read: {0}")]
    Manifest(String),
    #[error("built against contract {found} of logic_api, this engine has {CONTRACT}: build it again")]
    Contract { found: u32 },
    #[error("its schema is beyond what a room can hold: {}", .0.join("; "))]
    Schema(Vec<String>),
    #[error("what it says of older tables cannot be believed: {0}")]
    Changes(String),
}

impl LogicVersion {
    /// Reads what the logic says of itself, after telling it where to log to.
    ///
    /// # Safety
    /// The functions of the table, and what `query_ext` gives, follow the contract (`docs/abi.md`) and stay where they are for the
    /// life of the process.
    ///
    /// # Errors
    /// It says nothing that can be read, was built against another contract, or its schema is beyond what a room can hold.
    pub unsafe fn new(table: LogicTable, query_ext: extern "C" fn(u64) -> *const ()) -> Result<Arc<Self>, BadLogic> {
        let globals = Globals { log: super::host::log, log_level_max: super::host::log_level_max() };
        // SAFETY: the caller's promise; the plugin copies the globals.
        unsafe { (table.start)(&raw const globals) };
        // SAFETY: the caller's promise.
        let bytes = unsafe { collect(table.manifest) };
        let manifest = Manifest::decode(&bytes).map_err(|error| BadLogic::Manifest(error.to_string()))?;
        if manifest.contract != CONTRACT {
            return Err(BadLogic::Contract { found: manifest.contract });
        }
        crate::schema_check::check(&manifest.schema).map_err(BadLogic::Schema)?;
        // SAFETY: what the number stands for, by the caller's promise.
        let ext = unsafe { query_ext(EXT_CHANGES).cast::<ChangesTable>().as_ref() };
        let (changes, migrations) = match ext {
            // SAFETY: the caller's promise.
            Some(ext) => unsafe { changes_of(ext) }.map_err(BadLogic::Changes)?,
            None => (Changes::default(), Vec::new()),
        };
        crate::schema_check::check_changes(&changes).map_err(BadLogic::Changes)?;
        let schema = Arc::new(manifest.schema.clone());
        let (code, sha256) = (Code::There(table), OnceLock::new());
        Ok(Arc::new(Self { code, manifest, schema, changes, migrations, sha256 }))
    }

    /// A version of which only the mark and the tables are known: it runs nothing, but another version can take its tables over.
    pub(crate) fn gone(mark: VersionMark, schema: Schema, reason: String) -> Result<Arc<Self>, BadLogic> {
        crate::schema_check::check(&schema).map_err(BadLogic::Schema)?;
        let VersionMark { version, name, build_id, sha256 } = mark;
        let manifest = Manifest { contract: CONTRACT, version, name, callbacks: Vec::new(), schema: schema.clone() };
        let (changes, migrations, schema) = (Changes::default(), Vec::new(), Arc::new(schema));
        let code = Code::Gone { build_id, reason };
        Ok(Arc::new(Self { code, manifest, schema, changes, migrations, sha256: sha256.into() }))
    }

    /// A logic that is linked into this program: for tests and benches, which need no plugin then.
    ///
    /// # Errors
    /// Its schema is beyond what a room can hold.
    pub fn linked<L: Logic>() -> Result<Arc<Self>, BadLogic> {
        // SAFETY: `#[logic]` follows the contract, and the program's code stays where it is.
        unsafe { Self::new(logic_api::raw::linked::<L>(), logic_api::raw::linked_ext::<L>()) }
    }

    pub fn version(&self) -> Version {
        self.manifest.version
    }

    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The function table, if its code is there. Whoever calls through it answers for what it passes.
    pub fn table(&self) -> Option<&LogicTable> {
        match &self.code {
            Code::There(table) => Some(table),
            Code::Gone { .. } => None,
        }
    }

    /// Why its code is not there; `None` if it is. Such a version comes out of a snapshot ([`Room::from_snapshot`]).
    ///
    /// [`Room::from_snapshot`]: crate::Room::from_snapshot
    pub fn gone_because(&self) -> Option<&str> {
        match &self.code {
            Code::There(_) => None,
            Code::Gone { reason, .. } => Some(reason),
        }
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What it says of the tables of other versions.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// True if the logic defines this callback: the others need not be called.
    pub fn defines(&self, callback: &str) -> bool {
        self.manifest.callbacks.iter().any(|defined| defined == callback)
    }

    /// Asks the code itself which build it is, if it is there; empty where the linker gave it no build id.
    pub fn build_id(&self) -> Vec<u8> {
        match &self.code {
            // SAFETY: the promise of `new`.
            Code::There(table) => unsafe { collect(table.build_id) },
            Code::Gone { build_id, .. } => build_id.clone(),
        }
    }

    /// Says which file the code came from: the hash of its bytes. Only the first time counts, for the code does not change.
    pub fn came_from(&self, sha256: [u8; 32]) {
        self.sha256.get_or_init(|| sha256);
    }

    /// The hash of the plugin's file; all zero for a logic that is linked in.
    #[inline]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256.get().copied().unwrap_or_default()
    }

    /// What names this version in a journal.
    pub fn mark(&self) -> VersionMark {
        VersionMark {
            version: self.version(),
            name: self.name().to_owned(),
            build_id: self.build_id(),
            sha256: self.sha256(),
        }
    }

    /// Runs a callback on the frame's world. Returns a status of the contract.
    pub(crate) fn call(&self, callback: Callback, frame: &mut Frame<'_>, arguments: &Arguments<'_>) -> u32 {
        let table = match &self.code {
            Code::There(table) => table,
            Code::Gone { reason, .. } => {
                frame.panic = Some((reason.clone(), String::new()));
                return status::FAULT;
            }
        };
        with_call(frame, arguments, callback.is_read_only(), |call| enter(table, callback, call))
    }

    /// Makes new values of old rows. The values before the row that it panicked at have been written.
    ///
    /// # Panics
    /// If the logic has no such migration, or rows and values are not of its sizes.
    pub(crate) fn migrate(
        &self,
        number: u32,
        frame: &mut Frame<'_>,
        arguments: &Arguments<'_>,
        old: &Aligned,
        new: &mut Aligned,
    ) -> Result<(), usize> {
        let schema = &self.changes.migrations[number as usize];
        let rows = old.len() / schema.old.size as usize;
        assert!(old.len() == rows * schema.old.size as usize && new.len() == rows * schema.size as usize);
        let migration = self.migrations[number as usize];
        let mut done = 0;
        // Of a migration's frame it says no more than whether texts can be made.
        let (read_only, function) = (frame.pending.is_none(), migration.function);
        let batch = Batch { function, rows, old: old.start(), new: new.start_mut(), done: &raw mut done };
        let status = with_call(frame, arguments, read_only, |call| {
            // SAFETY: `call` is valid for the call, and it has no tables.
            let call = unsafe { Call { tables: std::ptr::null(), table_count: 0, ..*call } };
            // SAFETY: the promise of `new`; as many rows and room for as many values as the batch says, aligned to 16 bytes.
            unsafe { (migration.entry)(&raw const call, &raw const batch) }
        });
        if status == status::DONE { Ok(()) } else { Err(done) }
    }
}

// SAFETY: the functions of migrations are code, and stay where they are (`new`).
unsafe impl Send for LogicVersion {}
// SAFETY: as above.
unsafe impl Sync for LogicVersion {}

impl fmt::Debug for LogicVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogicVersion")
            .field("version", &self.manifest.version)
            .field("name", &self.manifest.name)
            .finish_non_exhaustive()
    }
}

/// Calls the function of a callback.
fn enter(table: &LogicTable, callback: Callback, call: *const Call) -> u32 {
    let entries = &table.entries;
    let entry = match callback {
        Callback::Init => entries.init,
        Callback::Create => entries.create,
        Callback::JoinAttempt => entries.join_attempt,
        Callback::Join => entries.join,
        Callback::Drop => entries.drop,
        Callback::Reconnect => entries.reconnect,
        Callback::Leave => entries.leave,
        Callback::Message => entries.message,
        Callback::Tick => entries.tick,
        Callback::Timer => entries.timer,
        Callback::Query => entries.query,
        Callback::Request => entries.request,
        Callback::Signal => entries.signal,
        Callback::Upgraded => entries.upgraded,
        Callback::Terminate => entries.terminate,
        Callback::Dispose => entries.dispose,
    };
    // SAFETY: the promise of `LogicVersion::new`; the call and all that it points to live until it returns, and the tables have the
    // schema of this logic (the room swaps only to an equal one).
    let status = unsafe { entry(call) };
    assert!(status <= status::DECLINED, "the logic returned status {status}, which the contract does not know");
    status
}

/// Lends a world to `read`, typed, outside of a callback.
pub(crate) fn inspect<L: Logic, R>(world: &mut World, read: impl FnOnce(&L) -> R) -> R {
    assert!(**world.schema() == L::schema(), "the world has the tables of another logic");
    let (arguments, mut outbox) = (Arguments::default(), Outbox::new());
    let mut frame = Frame::new(world, &mut outbox, &arguments, true);
    // SAFETY: the tables have the schema of `L`, and the call is read-only.
    with_call(&mut frame, &arguments, true, |call| unsafe { logic_api::raw::inspect::<L, R>(call, read) })
}

/// Makes the call of a callback, alive while `run` runs.
#[inline]
fn with_call<R>(
    frame: &mut Frame<'_>,
    arguments: &Arguments<'_>,
    read_only: bool,
    run: impl FnOnce(*const Call) -> R,
) -> R {
    let host_call = HostCall::new(frame, arguments);
    let call = Call {
        host: &raw const HOST,
        context: host_call.context(),
        tables: host_call.tables(),
        table_count: host_call.table_count(),
        request: host_call.request(),
        room: bytes_of(arguments.room.as_bytes()),
        text: bytes_of(arguments.text.as_bytes()),
        bytes: bytes_of(arguments.bytes),
        tick: arguments.tick,
        now_us: arguments.now_us,
        seed: arguments.seed,
        player: arguments.player,
        number: arguments.number,
        timer: arguments.timer,
        read_only: u32::from(read_only),
    };
    run(&raw const call)
}

fn bytes_of(bytes: &[u8]) -> RawBytes {
    RawBytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// Bytes that rows may lie in, whatever their alignment.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    words: Vec<u128>,
    bytes: usize,
}

impl Aligned {
    /// As many bytes, all zero.
    pub(crate) fn reset(&mut self, bytes: usize) {
        self.words.clear();
        self.words.resize(bytes.div_ceil(size_of::<u128>()), 0);
        self.bytes = bytes;
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    fn start(&self) -> *const u8 {
        self.words.as_ptr().cast()
    }

    fn start_mut(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: as many words as the bytes need, zeroed; who wrote to them since wrote values, whose padding is not read.
        unsafe { slice::from_raw_parts(self.start(), self.bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { slice::from_raw_parts_mut(self.start_mut(), self.bytes) }
    }
}

/// What a logic says of older tables, and the functions that it says it with.
///
/// # Safety
/// The table follows the contract.
unsafe fn changes_of(ext: &ChangesTable) -> Result<(Changes, Vec<RawMigration>), String> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { collect(ext.describe) };
    let changes = Changes::decode(&bytes).map_err(|error| format!("they cannot be read: {error}"))??;
    let migration = |number| {
        let mut found = std::mem::MaybeUninit::uninit();
        let number = u32::try_from(number).map_err(|_| "too many migrations".to_owned())?;
        // SAFETY: the caller's promise; room for the answer.
        let status = unsafe { (ext.migration)(number, found.as_mut_ptr()) };
        if status != status::DONE {
            return Err(format!("migration {number} is not there"));
        }
        // SAFETY: written, as the status says.
        Ok(unsafe { found.assume_init() })
    };
    let migrations = (0..changes.migrations.len()).map(migration).collect::<Result<_, _>>()?;
    Ok((changes, migrations))
}

/// What a function of a plugin writes.
///
/// # Safety
/// `write_to` follows the contract.
unsafe fn collect(write_to: unsafe extern "C" fn(*const Sink)) -> Vec<u8> {
    unsafe extern "C" fn write(context: *mut (), bytes: RawBytes) {
        // SAFETY: the context is the vector below, the bytes are valid for the call.
        unsafe { (*context.cast::<Vec<u8>>()).extend_from_slice(slice::from_raw_parts(bytes.data, bytes.len)) };
    }
    let mut collected = Vec::<u8>::new();
    let sink = Sink { context: (&raw mut collected).cast(), write };
    // SAFETY: the caller's promise; the sink is valid for the call.
    unsafe { write_to(&raw const sink) };
    collected
}
