//! What crosses the boundary between the engine and a plugin: plain structs and function pointers, nothing else.
//!
//! Every type here is part of the contract and is frozen: a changed field makes older plugins unloadable, which the layout
//! check at load time finds and reports. New entries come through [`LogicModule::query_ext`]. `docs/abi.md` describes each.
//! This module, the entries in `raw` that export it, and the engine's loader are the only ones that name `abi_stable`.

use abi_stable::{
    StableAbi, declare_root_module_statics, library::RootModule, package_version_strings, sabi_types::VersionStrings,
};

#[doc(hidden)]
pub use abi_stable::library::LibHeader;

/// The version of this contract. A plugin built against another one is refused before its layout is looked at.
pub const CONTRACT: u32 = 1;

/// The environment variables that a build reads its version and its name from.
pub const VERSION_ENV: &str = "HOTSEAT_LOGIC_VERSION";
/// See [`VERSION_ENV`].
pub const NAME_ENV: &str = "HOTSEAT_LOGIC_NAME";

/// Bytes that somebody else owns, for the length of a call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawBytes {
    /// Never null; dangling where `len` is 0.
    pub data: *const u8,
    pub len: usize,
}

/// An entry of the engine's heap. `{0, 0}` is the empty text.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawHeapId {
    pub slot: u32,
    pub generation: u32,
}

/// An index over a key or unique column, read and written in place. `docs/abi.md`, "Index".
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct IndexView {
    /// Pages of buckets. Several entries may name the same page.
    pub directory: *const *const Bucket,
    /// The same where the page may be written, null where the host must be asked first.
    pub writable: *const *mut Bucket,
    /// What keys are multiplied with. Odd; each world has its own.
    pub multiplier: u64,
    /// How many bits of a hash's `page` are left out, so that the others are an entry of the directory: less than 64.
    pub directory_shift: u64,
    /// Bytes of a page, a power of two, less those of a bucket.
    pub bucket_mask: u64,
    /// How many rows a page may have before an insert must ask the host.
    pub page_rows_max: u64,
}

/// A table, read and written in place. `docs/abi.md`, "Table".
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TableView {
    /// Where each page's rows start: a page holds nothing else.
    pub pages: *const *mut u8,
    /// The same where the page may be written, null where the host must be asked first.
    pub writable: *const *mut u8,
    /// The generations of each page's slots.
    pub generations: *const *const u32,
    /// The same where they may be written, null where the host must be asked first.
    pub writable_generations: *const *mut u32,
    /// A bit for each slot that has a row, `live_words` words for each page.
    pub live: *mut u64,
    /// How many rows each page has: one that is full is walked without a look at its bits.
    pub page_rows: *mut u32,
    /// No slot of the page before this one is free.
    pub page_free_from: *mut u32,
    /// A bit for each page that has a free slot.
    pub free: *mut u64,
    /// A bit for each word of `free` that is not 0.
    pub free_groups: *mut u64,
    pub indexes: *const IndexView,
    /// Live rows.
    pub rows: u32,
    /// Words of `free_groups`.
    pub free_groups_len: u32,
    pub page_count: u32,
    pub slots_per_page: u32,
    pub live_words: u32,
    pub row_size: u32,
    /// The table's place in the schema.
    pub number: u32,
    pub index_count: u32,
}

/// One header of a request.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawHeader {
    pub name: RawBytes,
    pub value: RawBytes,
}

/// An HTTP request, for `query` and `request`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawRequest {
    pub method: RawBytes,
    pub path: RawBytes,
    pub query: RawBytes,
    pub body: RawBytes,
    pub headers: *const RawHeader,
    pub header_count: usize,
}

/// What an entry is called with. Fields that a callback does not use are zero or empty.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Call {
    pub host: *const Host,
    /// What every function of the host is given first.
    pub context: *mut (),
    /// `table_count` tables, in the order of the schema.
    pub tables: *const *mut TableView,
    pub request: *const RawRequest,
    /// The room's name.
    pub room: RawBytes,
    /// The name of a signal, the reason why a player leaves, or the claims of one who joins.
    pub text: RawBytes,
    /// A message, a join's hello, a signal's payload, the room's config.
    pub bytes: RawBytes,
    pub tick: u64,
    /// Microseconds since the Unix epoch, as the input says.
    pub now_us: u64,
    pub seed: u64,
    pub player: u64,
    /// A timer's tag, the number of the version before, or a grace in milliseconds.
    pub number: u64,
    pub timer: u64,
    pub table_count: u32,
    /// 1 in `query`: the host refuses whatever would change the world or be an output.
    pub read_only: u32,
}

/// What an entry returns.
pub mod status {
    pub const DONE: u32 = 0;
    /// The callback panicked; `Host::fault` was told.
    pub const FAULT: u32 = 1;
    /// `query` leaves the request to `request`; `join_attempt` refuses the player.
    pub const DECLINED: u32 = 2;
}

/// What `Host::make_room`, `Host::make_writable` and `Host::rekey` return: 0, [`FULL`](insert::FULL), or the index that has the value already.
pub mod insert {
    pub const DONE: u32 = 0;
    /// The table or the world has reached its limit.
    pub const FULL: u32 = 1;
    /// The world is read-only in this callback.
    pub const READ_ONLY: u32 = 2;
    /// `DUPLICATE + n`: index `n` has a row with this value.
    pub const DUPLICATE: u32 = 16;
}

/// The kinds of `Host::emit`.
pub mod emit {
    pub const SEND: u32 = 1;
    /// To everyone but the player given (0: to everyone).
    pub const BROADCAST: u32 = 2;
    pub const KICK: u32 = 3;
    /// The reason why `join_attempt` refuses.
    pub const REFUSE: u32 = 4;
}

/// What the engine offers to a running callback. No function may be called after the callback has returned, from another
/// thread, or with another context.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Host {
    /// Makes a page writable and gives where its rows start. Never fails; null in a read-only callback.
    pub unshare: unsafe extern "C" fn(context: *mut (), table: u32, page: u32) -> *mut u8,
    /// Makes room for a row, of which it reads the indexed columns, so that the plugin can put it in.
    pub make_room: unsafe extern "C" fn(context: *mut (), table: u32, row: *const u8) -> u32,
    /// Makes all that taking a live row out writes to writable.
    pub make_writable: unsafe extern "C" fn(context: *mut (), table: u32, slot: u32) -> u32,
    /// Tells that the value of an indexed column of a live row has changed; `old` is what it was.
    pub rekey: unsafe extern "C" fn(context: *mut (), table: u32, slot: u32, index: u32, old: *const u8) -> u32,
    /// Keeps bytes in the heap; `{0, 0}` for no bytes or where the limit is reached.
    pub heap_put: unsafe extern "C" fn(context: *mut (), bytes: RawBytes) -> RawHeapId,
    pub heap_get: unsafe extern "C" fn(context: *mut (), id: RawHeapId) -> RawBytes,
    pub heap_free: unsafe extern "C" fn(context: *mut (), id: RawHeapId),
    pub emit: unsafe extern "C" fn(context: *mut (), kind: u32, player: u64, bytes: RawBytes),
    /// Answers the request under way.
    pub respond: unsafe extern "C" fn(
        context: *mut (),
        status: u32,
        content_type: RawBytes,
        headers: *const RawHeader,
        header_count: usize,
        body: RawBytes,
    ),
    /// The players in the room, ascending. Valid until the callback returns.
    pub players: unsafe extern "C" fn(context: *mut (), len: *mut usize) -> *const u64,
    /// 1 if the player is in the room and has a connection, else 0.
    pub is_connected: unsafe extern "C" fn(context: *mut (), player: u64) -> u32,
    /// 0 where the limit is reached.
    pub timer_set: unsafe extern "C" fn(context: *mut (), delay_us: u64, tag: u64) -> u64,
    pub timer_cancel: unsafe extern "C" fn(context: *mut (), timer: u64) -> u32,
    pub fault: unsafe extern "C" fn(context: *mut (), message: RawBytes, location: RawBytes),
}

/// What the engine offers to a plugin at large, for as long as the process lives.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Globals {
    /// `level`: 1 error to 5 trace. Callable from any thread.
    pub log: unsafe extern "C" fn(level: u32, target: RawBytes, message: RawBytes),
    /// The most verbose level that the engine wants.
    pub log_level_max: u32,
}

/// Where a plugin writes bytes for the engine to keep.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Sink {
    pub context: *mut (),
    pub write: unsafe extern "C" fn(context: *mut (), bytes: RawBytes),
}

/// A callback's entry. Never unwinds.
pub type Entry = unsafe extern "C" fn(call: *const Call) -> u32;

macro_rules! entries {
    ($($(#[$doc:meta])* $name:ident),+) => {
        /// The callbacks, one entry each. An entry never unwinds.
        #[repr(C)]
        #[derive(StableAbi, Clone, Copy, Debug)]
        pub struct Entries {
            // The type is written out: the layout check sees through no alias.
            $($(#[$doc])* pub $name: unsafe extern "C" fn(call: *const Call) -> u32,)+
        }
    };
}

entries! {
    /// Gives every `One<T>` that has no row its default. Not a callback of the trait.
    init,
    create, join_attempt, join, drop, reconnect, leave, message, tick,
    timer, query, request, signal, upgraded, terminate, dispose
}

/// The function table of a logic, as the engine copies it out of the module.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LogicTable {
    /// Called once per mapping, before anything else: sets the panic hook and the log.
    pub start: unsafe extern "C" fn(globals: *const Globals),
    /// Writes the [`Manifest`](crate::Manifest) in postcard's format.
    pub manifest: unsafe extern "C" fn(sink: *const Sink),
    /// Writes the build id that the linker gave to the very object this code is mapped from; nothing where it has none.
    pub build_id: unsafe extern "C" fn(sink: *const Sink),
    pub entries: Entries,
}

/// `query_ext` of this number gives a [`ChangesTable`]: what the logic says of the tables of other versions.
pub const EXT_CHANGES: u64 = 1;

/// Describes changes of tables, and finds the functions that carry them out. `docs/abi.md`, "Changes".
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ChangesTable {
    /// Writes a `Result<Changes, String>` in postcard's format: [`Changes`](crate::changes::Changes).
    pub describe: unsafe extern "C" fn(sink: *const Sink),
    /// Gives the migration of that number, with status `DONE`; `DECLINED` where there is none.
    pub migration: unsafe extern "C" fn(number: u32, out: *mut RawMigration) -> u32,
}

/// A function of the logic that makes new values of old rows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawMigration {
    pub entry: MigrateEntry,
    /// For [`Batch::function`], and nobody else's business.
    pub function: *const (),
}

/// Runs a migration over a batch of rows: `DONE`, or `FAULT` after a panic, which `Host::fault` was told of. The call has no tables.
pub type MigrateEntry = unsafe extern "C" fn(call: *const Call, batch: *const Batch) -> u32;

/// Old rows, and where their new values go.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Of the migration.
    pub function: *const (),
    pub rows: usize,
    /// As many rows of the type that the migration reads, one after the other, aligned to 16 bytes.
    pub old: *const u8,
    /// Room for as many values of the type that it gives, aligned to 16 bytes.
    pub new: *mut u8,
    /// How many values have been written: which row a panic was about.
    pub done: *mut usize,
}

/// The root module of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LogicModuleRef)))]
#[sabi(missing_field(panic))]
pub struct LogicModule {
    pub table: LogicTable,
    /// Entries that came after this contract was frozen, by number; null for an unknown one.
    #[sabi(last_prefix_field)]
    pub query_ext: extern "C" fn(id: u64) -> *const (),
}

impl std::fmt::Debug for LogicModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogicModule").field("table", &self.table).finish_non_exhaustive()
    }
}

impl RootModule for LogicModuleRef {
    const BASE_NAME: &'static str = "logic";
    const NAME: &'static str = "logic";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
    declare_root_module_statics! {LogicModuleRef}
}

/// A cache line of an index: up to twelve rows, each with eight bits of the hash of its key.
///
/// What finds its bucket full goes to the next one of the page, cyclically, and is counted in each bucket that it passes.
#[repr(C, align(64))]
#[derive(StableAbi, Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// 0 where an entry is free.
    pub tags: [u8; Bucket::ENTRIES],
    /// How many rows had to pass. Where it is 0 a search ends.
    pub passed: Count,
    /// In the first bucket of a page: how many rows the page has.
    pub page_rows: Count,
    pub slots: [Slot; Bucket::ENTRIES],
}

/// A slot of a table, in two: a search takes it apart by reading it apart.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    pub index: u16,
    pub page: u16,
}

impl Slot {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    pub const fn new(number: u32) -> Self {
        Self { index: number as u16, page: (number >> 16) as u16 }
    }

    /// As rows are named.
    #[inline]
    pub const fn number(self) -> u32 {
        (self.page as u32) << 16 | self.index as u32
    }
}

/// A number of six bits to the byte, so that no byte of it is equal to a tag: a search compares tags sixteen at a time.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(pub [u8; 2]);

impl Count {
    pub const MAX: u16 = (1 << 12) - 1;

    #[inline]
    pub const fn get(self) -> u16 {
        self.0[0] as u16 | (self.0[1] as u16) << 6
    }

    /// The number as its bytes have it, two bits unused in each.
    #[inline]
    const fn spread(self) -> u16 {
        u16::from_le_bytes(self.0)
    }

    /// One more. At most as often as up to [`Count::MAX`].
    #[inline]
    pub const fn up(self) -> Self {
        // The unused bits carry on what the lower byte gives to the upper one.
        Self((((self.spread() | 0xC0) + 1) & 0x3F3F).to_le_bytes())
    }

    /// One less, from a number that is not 0.
    #[inline]
    pub const fn down(self) -> Self {
        Self(((self.spread() - 1) & 0x3F3F).to_le_bytes())
    }
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// What the indexes use of a key: [`hash_key`] makes it.
///
/// Each step of a search is as few instructions as can be: it waits for memory twice, and the fewer instructions it has, the more
/// searches the processor has under way at once. So the two halves of the product are joined for `entry` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// Its upper bits choose the page.
    pub page: u64,
    /// From the bottom up: 4 bits unused, 8 of tag, then those that choose the bucket.
    pub entry: u32,
}

impl Bucket {
    pub const ENTRIES: usize = 12;
    /// Tags are not less. So is no byte of a [`Count`].
    pub const TAG_MIN: u8 = 1 << 6;

    /// What an entry keeps of a hash.
    #[inline]
    pub const fn tag(hash: Hash) -> u8 {
        let bits = (hash.entry >> 4 & 0xFF) as u8;
        if bits < Self::TAG_MIN { bits + Self::TAG_MIN } else { bits }
    }

    /// Bytes from the start of a page to the bucket that a hash belongs to.
    #[inline]
    pub const fn home(hash: Hash, bucket_mask: u64) -> u64 {
        (hash.entry >> 6) as u64 & bucket_mask
    }

    /// Bytes from the start of a page to the bucket after this one, cyclically.
    #[inline]
    pub const fn next(at: u64, bucket_mask: u64) -> u64 {
        (at + size_of::<Self>() as u64) & bucket_mask
    }

    /// Which entry of the directory a hash belongs to.
    #[inline]
    pub const fn directory_entry(hash: Hash, directory_shift: u64) -> u64 {
        hash.page >> directory_shift
    }
}

/// The most key and unique columns of a table.
pub const INDEXES_PER_TABLE_MAX: usize = 8;

/// The size of a page of rows in bytes.
pub const PAGE_BYTES: usize = 64 << 10;

/// Hashes a key for the indexes: eight bytes at a time, a folded multiply each. A world stores no hash, so the function may
/// change with the contract; it must be the same in engine and plugin.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "halves of a product")]
pub fn hash_key(multiplier: u64, bytes: &[u8]) -> Hash {
    let halves = |product: u128| (product as u64, (product >> 64) as u64);
    let add = |product: u128, word: u64| {
        let (low, high) = halves(product);
        u128::from(low ^ high ^ word) * u128::from(multiplier)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut product = words.iter().fold(0, |product, word| add(product, u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        product = add(product, u64::from_le_bytes(word));
    }
    let (low, high) = halves(product);
    Hash { page: low, entry: low as u32 ^ high as u32 }
}
