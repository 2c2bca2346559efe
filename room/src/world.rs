//! The world of a room: all its state.

use crate::StepError;
use crate::heap::Heap;
use crate::raw::{Pool, RawTable, Tables};
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
    /// Ascending, apart from the rest because callbacks see just these. Shared with forks until someone joins or leaves.
    players: Arc<Vec<PlayerId>>,
    /// Of the players, in their order. Shared with forks until one of them sends something.
    presences: Arc<Vec<Presence>>,
    lineage: Lineage,
}

/// What a world and its forks have in common, and no other world has, one with the same name and the same rows included. Not part of
/// the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lineage(Arc<()>);

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A player in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Player {
    pub id: PlayerId,
    pub is_connected: bool,
    /// The number of the last message that was consumed; 0: none.
    pub consumed: u32,
}

#[derive(Debug, Clone, Copy)]
struct Presence {
    is_connected: bool,
    consumed: u32,
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
        Self::of_parts(schema, tables, Heap::default(), Timers::default(), &[])
    }

    /// A copy that shares every page until one side writes to it. Costs time in proportion to the pages, not the rows.
    pub fn fork(&mut self) -> Self {
        Self {
            schema: self.schema.clone(),
            tables: self.tables.fork(),
            heap: self.heap.clone(),
            timers: self.timers.clone(),
            players: self.players.clone(),
            presences: self.presences.clone(),
            lineage: self.lineage.clone(),
        }
    }

    /// Puts tables of another schema in the place of its own.
    pub(crate) fn put_tables(&mut self, schema: Arc<Schema>, tables: Tables) {
        (self.schema, self.tables) = (schema, tables);
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// What its tables look like.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The players in the room, ascending.
    pub fn players(&self) -> &[PlayerId] {
        &self.players
    }

    /// One of the players, `None` if they are not in.
    #[inline]
    pub fn player(&self, id: PlayerId) -> Option<Player> {
        let Presence { is_connected, consumed } = self.presences[self.players.binary_search(&id).ok()?];
        Some(Player { id, is_connected, consumed })
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
        for (player, presence) in self.players.iter().zip(self.presences.iter()) {
            hash.update(&player.0.to_le_bytes());
            hash.update(&presence.consumed.to_le_bytes());
            hash.update(&[presence.is_connected.into()]);
        }
        hash.digest()
    }

    /// The rows of a table in slot order, as bytes in the layout of its schema, padding as zeroes; none for a table that there is
    /// not.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let number = self.schema.tables.iter().position(|schema| schema.name == table);
        number.into_iter().flat_map(|number| self.tables.table(number).rows())
    }

    /// True if every row is found by its keys, and nothing else is: a check for tests, which looks at all rows. The state hash leaves
    /// the indexes out.
    pub fn has_sound_indexes(&self) -> bool {
        self.tables.iter().all(RawTable::has_sound_indexes)
    }

    /// How many pages of rows two worlds share: those that neither has written to since they were one.
    pub fn pages_shared_with(&self, other: &Self) -> usize {
        self.tables.iter().zip(other.tables.iter()).map(|(one, two)| one.pages_shared_with(two)).sum()
    }

    /// Puts a world together from parts that were read from a snapshot. The players are in ascending order.
    pub(crate) fn of_parts(
        schema: Arc<Schema>,
        tables: Tables,
        heap: Heap,
        timers: Timers,
        players: &[Player],
    ) -> Self {
        let presence = |player: &Player| Presence { is_connected: player.is_connected, consumed: player.consumed };
        let presences = Arc::new(players.iter().map(presence).collect());
        let players = Arc::new(players.iter().map(|player| player.id).collect());
        Self { schema, tables, heap, timers, players, presences, lineage: Lineage::default() }
    }

    /// With a connection. False if the player is in already.
    pub(crate) fn add_player(&mut self, player: PlayerId) -> bool {
        match self.players.binary_search(&player) {
            Ok(_) => false,
            Err(at) => {
                Arc::make_mut(&mut self.players).insert(at, player);
                Arc::make_mut(&mut self.presences).insert(at, Presence { is_connected: true, consumed: 0 });
                true
            }
        }
    }

    /// # Errors
    /// The player is not in, or is as they should become already.
    pub(crate) fn set_connected(&mut self, player: PlayerId, is_connected: bool) -> Result<(), StepError> {
        let at = self.players.binary_search(&player).map_err(|_| StepError::NotIn(player))?;
        if self.presences[at].is_connected == is_connected {
            return Err(if is_connected { StepError::Connected(player) } else { StepError::NotConnected(player) });
        }
        Arc::make_mut(&mut self.presences)[at].is_connected = is_connected;
        Ok(())
    }

    /// # Errors
    /// The player is not in, or this number or a later one is consumed already.
    #[inline]
    pub(crate) fn consume(&mut self, player: PlayerId, number: u32) -> Result<(), StepError> {
        let at = self.players.binary_search(&player).map_err(|_| StepError::NotIn(player))?;
        let consumed = self.presences[at].consumed;
        if number <= consumed {
            return Err(StepError::Consumed { player, number, consumed });
        }
        Arc::make_mut(&mut self.presences)[at].consumed = number;
        Ok(())
    }

    /// False if the player is not in.
    pub(crate) fn remove_player(&mut self, player: PlayerId) -> bool {
        match self.players.binary_search(&player) {
            Ok(at) => {
                Arc::make_mut(&mut self.players).remove(at);
                Arc::make_mut(&mut self.presences).remove(at);
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
