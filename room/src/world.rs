//! The world of a room: all its state.

use crate::heap::Heap;
use crate::raw::{Pool, Tables};
use crate::timers::Timers;
use logic_api::PlayerId;
use logic_api::schema::Schema;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// All state of a room. Only inputs change it (`Room::step`); forks of it share pages until one side writes.
pub struct World {
    schema: Arc<Schema>,
    tables: Tables,
    heap: Heap,
    timers: Timers,
    /// Ascending. Shared with forks until someone joins or leaves.
    players: Arc<Vec<PlayerId>>,
}

/// What a world takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct WorldSize {
    /// Of all tables.
    pub rows: u64,
    /// Pages of rows and indexes, shared ones included.
    pub pages: u64,
    /// Bytes of live rows.
    pub row_bytes: u64,
    /// Bytes of texts and blobs.
    pub heap_bytes: u64,
}

impl World {
    /// An empty world. `seed` only places keys in the indexes.
    pub(crate) fn new(schema: Arc<Schema>, pool: &Pool, seed: u64) -> Self {
        let tables = Tables::new(&schema, pool, seed);
        Self { schema, tables, heap: Heap::default(), timers: Timers::default(), players: Arc::default() }
    }

    /// A copy that shares every page until one side writes to it. Costs time in proportion to the pages, not the rows.
    pub fn fork(&mut self) -> Self {
        Self {
            schema: self.schema.clone(),
            tables: self.tables.fork(),
            heap: self.heap.clone(),
            timers: self.timers.clone(),
            players: self.players.clone(),
        }
    }

    /// What its tables look like.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The players in the room, ascending.
    pub fn players(&self) -> &[PlayerId] {
        &self.players
    }

    /// What it takes.
    pub fn size(&self) -> WorldSize {
        let count = |number: usize| number as u64;
        let sizes = self.schema.tables.iter().map(|table| u64::from(table.row.size));
        let row_bytes = self.tables.iter().zip(sizes).map(|(table, size)| u64::from(table.row_count()) * size).sum();
        WorldSize {
            row_bytes,
            rows: self.tables.iter().map(|table| u64::from(table.row_count())).sum(),
            pages: self.tables.iter().map(|table| count(table.page_count())).sum::<u64>()
                + count(self.heap.page_count()),
            heap_bytes: count(self.heap.bytes()),
        }
    }

    /// A hash of all state: equal for worlds that went through the same inputs. Reads only pages written to since the last time.
    pub fn state_hash(&mut self) -> u64 {
        let mut hash = Xxh3::new();
        for table in self.tables.state_hashes() {
            hash.update(&table.to_le_bytes());
        }
        hash.update(&self.heap.state_hash().to_le_bytes());
        self.timers.hash_into(&mut hash);
        hash.update(&self.players.len().to_le_bytes());
        for player in self.players.iter() {
            hash.update(&player.0.to_le_bytes());
        }
        hash.digest()
    }

    /// The rows of a table in slot order, as bytes in the layout of its schema, padding as zeroes; none for a table that there is
    /// not.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let number = self.schema.tables.iter().position(|schema| schema.name == table);
        number.into_iter().flat_map(|number| self.tables.table(number).rows())
    }

    /// How many pages of rows two worlds share: those that neither has written to since they were one.
    pub fn pages_shared_with(&self, other: &Self) -> usize {
        self.tables.iter().zip(other.tables.iter()).map(|(one, two)| one.pages_shared_with(two)).sum()
    }

    /// False if the player is in already.
    pub(crate) fn add_player(&mut self, player: PlayerId) -> bool {
        match self.players.binary_search(&player) {
            Ok(_) => false,
            Err(at) => {
                Arc::make_mut(&mut self.players).insert(at, player);
                true
            }
        }
    }

    /// False if the player is not in.
    pub(crate) fn remove_player(&mut self, player: PlayerId) -> bool {
        match self.players.binary_search(&player) {
            Ok(at) => {
                Arc::make_mut(&mut self.players).remove(at);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    pub(crate) fn heap(&self) -> &Heap {
        &self.heap
    }

    pub(crate) fn heap_mut(&mut self) -> &mut Heap {
        &mut self.heap
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    pub(crate) fn timers_mut(&mut self) -> &mut Timers {
        &mut self.timers
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("size", &self.size())
            .field("players", &self.players.len())
            .finish_non_exhaustive()
    }
}
