//! A room as a stream of bytes, and back: the room that is read goes on bit for bit as the one that was written would have.
//! `docs/journal.md`, "Snapshot", gives the bytes. What they are written to is not known here.
//!
//! Every block has a checksum, the whole has a hash, and the state hash at the end is compared with that of the world that was
//! made from it. Indexes are not written: they are made anew from the rows.

mod blocks;

use crate::bytes::{Reader, length, put_bytes, put_text};
use crate::heap::Heap;
use crate::input::{LogicFault, Seq};
use crate::limits::PLAYERS_MAX;
use crate::raw::{Pool, RawTable, Tables};
use crate::record::{put_fault, put_version, read_fault, read_version};
use crate::timers::Timers;
use crate::world::World;
use crate::{BadLogic, LogicVersion, Malformed, Player, Spent, VersionMark};
use blocks::{BlockKind, Blocks, Sink};
use logic_api::schema::Schema;
use logic_api::{PlayerId, Tick};
use std::io;
use std::sync::Arc;

/// The version of this format. A stream of another one is not read.
pub const SNAPSHOT_FORMAT: u16 = 1;

/// A room as it was at one moment, to be written wherever and whenever there is time: it shares the room's pages.
#[derive(Debug)]
pub struct Image {
    pub(crate) name: Arc<str>,
    pub(crate) logic: Arc<LogicVersion>,
    pub(crate) world: World,
    pub(crate) tick: Tick,
    pub(crate) seq: Seq,
    pub(crate) now_us: u64,
    pub(crate) frozen: Option<LogicFault>,
    /// A fork that nobody goes back to any more. It goes with the image, because dropping it takes time.
    pub(crate) _spent: Spent,
}

/// What a stream was found to hold.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: Arc<str>,
    pub(crate) logic: Arc<LogicVersion>,
    pub(crate) world: World,
    pub(crate) tick: Tick,
    pub(crate) seq: Seq,
    pub(crate) now_us: u64,
    pub(crate) frozen: Option<LogicFault>,
}

/// Why a stream gives no room.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("this is no snapshot of a room")]
    NoSnapshot,
    #[error("the snapshot has format {found}, this engine reads {SNAPSHOT_FORMAT}")]
    Format { found: u16 },
    #[error("the snapshot is damaged in the block at byte {at}: {what}")]
    Damaged { at: u64, what: String },
    #[error("the tables of {version} are not those of the snapshot")]
    Schema { version: VersionMark },
    #[error("the tables that the snapshot tells of cannot be: {0}")]
    Tables(BadLogic),
}

impl Image {
    /// The room's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last input that is in it.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    pub fn tick(&self) -> Tick {
        self.tick
    }

    pub fn logic(&self) -> &Arc<LogicVersion> {
        &self.logic
    }

    /// A hash of all state; see [`World::state_hash`].
    pub fn state_hash(&mut self) -> u64 {
        self.world.state_hash()
    }

    /// Writes the room.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        let state_hash = self.world.state_hash();
        let mut sink = Sink::start(out)?;
        sink.block(BlockKind::ROOM, |bytes| self.put_room(bytes))?;
        for table in self.world.tables().iter() {
            sink.block(BlockKind::TABLE, |bytes| table.put_head(bytes))?;
            for page in 0..table.row_page_count() {
                sink.block(BlockKind::PAGE, |bytes| table.put_page(page, bytes))?;
            }
        }
        let heap = self.world.heap();
        let (pages, made) = heap.page_counts();
        sink.block(BlockKind::HEAP, |bytes| heap.put_head(bytes))?;
        for page in 0..pages {
            sink.block(BlockKind::HEAP_PAGE, |bytes| heap.put_page(page, bytes))?;
        }
        for page in 0..made {
            sink.block(BlockKind::MADE_HEAP_PAGE, |bytes| heap.put_made_page(page, bytes))?;
        }
        sink.end(state_hash)
    }

    fn put_room(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_version(out, &self.logic.mark());
        put_bytes(out, &schema_bytes(self.world.schema()));
        for number in [self.tick.0, self.seq.0, self.now_us] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(self.frozen.is_some()));
        if let Some(fault) = &self.frozen {
            put_fault(out, fault);
        }
        out.extend_from_slice(&length(self.world.players().len()));
        for Player { id, is_connected, consumed } in self.world.players().iter().filter_map(|id| self.world.player(*id))
        {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.push(u8::from(is_connected));
            out.extend_from_slice(&consumed.to_le_bytes());
        }
        self.world.timers().put(out);
    }
}

impl Parts {
    /// Reads what [`Image::write`] wrote. `find` gives the version that ran the room; one that is gone has what the snapshot says.
    pub(crate) fn read(
        from: &mut impl io::Read,
        pool: &Pool,
        find: impl FnOnce(&VersionMark) -> Result<Arc<LogicVersion>, String>,
    ) -> Result<Self, SnapshotError> {
        let mut blocks = Blocks::start(from)?;
        let head = blocks.read(BlockKind::ROOM, read_room)?;
        let logic = match find(&head.version) {
            Ok(logic) if **logic.schema() == head.schema => logic,
            Ok(_) => return Err(SnapshotError::Schema { version: head.version }),
            Err(reason) => {
                let (version, schema) = (head.version.clone(), head.schema.clone());
                LogicVersion::gone(version, schema, reason).map_err(SnapshotError::Tables)?
            }
        };
        let world = head.read_world(blocks, logic.schema().clone(), pool)?;
        let Head { name, tick, seq, now_us, frozen, .. } = head;
        Ok(Self { name, logic, world, tick, seq, now_us, frozen })
    }
}

impl Head {
    /// The rest of the stream.
    fn read_world<R: io::Read>(
        &self,
        mut blocks: Blocks<'_, R>,
        schema: Arc<Schema>,
        pool: &Pool,
    ) -> Result<World, SnapshotError> {
        let tables = Tables::read(&schema, pool, |layout| {
            let (mut table, pages) = blocks.read(BlockKind::TABLE, |from| RawTable::read_head(layout, pool, from))?;
            for _ in 0..pages {
                blocks.read(BlockKind::PAGE, |from| table.read_page(from))?;
            }
            table.read_end();
            Ok::<_, SnapshotError>(table)
        })?;
        let mut heap = Heap::default();
        let (pages, made) = blocks.read(BlockKind::HEAP, Heap::read_head)?;
        for _ in 0..pages {
            blocks.read(BlockKind::HEAP_PAGE, |from| heap.read_page(from))?;
        }
        for _ in 0..made {
            blocks.read(BlockKind::MADE_HEAP_PAGE, |from| heap.read_made_page(from))?;
        }
        let mut world = World::of_parts(schema, tables, heap, self.timers.clone(), &self.players);
        blocks.end(Some(world.state_hash()))?;
        Ok(world)
    }
}

/// A room that was read where there need not be the version that ran it.
#[derive(Debug)]
pub(crate) struct Bare {
    pub(crate) name: Arc<str>,
    pub(crate) version: VersionMark,
    pub(crate) world: World,
    pub(crate) tick: Tick,
    pub(crate) seq: Seq,
}

impl Bare {
    /// Reads what [`Image::write`] wrote, by the schema that is in it.
    pub(crate) fn read(from: &mut impl io::Read, pool: &Pool) -> Result<Self, SnapshotError> {
        let mut blocks = Blocks::start(from)?;
        let head = blocks.read(BlockKind::ROOM, read_room)?;
        crate::schema_check::check(&head.schema).map_err(|lines| SnapshotError::Tables(BadLogic::Schema(lines)))?;
        let world = head.read_world(blocks, Arc::new(head.schema.clone()), pool)?;
        Ok(Self { name: head.name, version: head.version, world, tick: head.tick, seq: head.seq })
    }
}

/// Reads a stream to its end and compares checksums and hash, without making a room of it.
///
/// # Errors
/// [`SnapshotError`] where it is damaged or ends early.
pub fn check_snapshot(from: &mut impl io::Read) -> Result<(), SnapshotError> {
    let mut blocks = Blocks::start(from)?;
    blocks.read(BlockKind::ROOM, read_room)?;
    while blocks.skip()? {}
    blocks.end(None)
}

/// The block of what is not in tables.
struct Head {
    name: Arc<str>,
    version: VersionMark,
    schema: Schema,
    tick: Tick,
    seq: Seq,
    now_us: u64,
    frozen: Option<LogicFault>,
    players: Vec<Player>,
    timers: Timers,
}

fn read_room(from: &mut Reader<'_>) -> Result<Head, Malformed> {
    Ok(Head {
        name: from.text("name of the room")?.into(),
        version: read_version(from)?,
        schema: read_schema(from)?,
        tick: Tick(from.u64("tick")?),
        seq: Seq(from.u64("inputs")?),
        now_us: from.u64("time")?,
        frozen: if from.flag("whether it is frozen")? { Some(read_fault(from)?) } else { None },
        players: read_players(from)?,
        timers: Timers::read(from)?,
    })
}

fn read_players(from: &mut Reader<'_>) -> Result<Vec<Player>, Malformed> {
    let count = from.u32("number of players")? as usize;
    let mut players: Vec<Player> = Vec::new();
    for _ in 0..count {
        let id = PlayerId(from.u64("player")?);
        if players.last().map_or(PlayerId(0), |last| last.id) >= id || count > PLAYERS_MAX {
            let expected = "players in ascending order, no more than a room takes";
            return Err(Malformed::Value { what: "player", found: id.0, expected });
        }
        let is_connected = from.flag("whether a player is connected")?;
        players.push(Player { id, is_connected, consumed: from.u32("last number of a player")? });
    }
    Ok(players)
}

fn read_schema(from: &mut Reader<'_>) -> Result<Schema, Malformed> {
    let bytes = from.bytes("schema")?;
    let expected = "a schema as this engine writes it";
    postcard::from_bytes(bytes).map_err(|_| Malformed::Value {
        what: "bytes of a schema",
        found: bytes.len() as u64,
        expected,
    })
}

fn schema_bytes(schema: &Schema) -> Vec<u8> {
    postcard::to_allocvec(schema).expect("a schema is plain data")
}
