//! A swap tried on what a room has written of itself, where the version that runs the room need not be: in a process that may
//! end by it.

use crate::outbox::Outbox;
use crate::plan::{Cancel, Plan, Rewrite, RewriteError};
use crate::raw::Pool;
use crate::room::Room;
use crate::snapshot::{Bare, Parts};
use crate::{LogicFault, LogicVersion, Seq, SnapshotError, Stamp};
use logic_api::changes::Changes;
use std::io;
use std::sync::Arc;

/// A room that was read to try a version on: first [`Rehearsal::migrate`], then [`Rehearsal::upgrade`].
#[derive(Debug)]
pub struct Rehearsal(Bare);

impl Rehearsal {
    /// Reads what [`Image::write`](crate::Image::write) wrote.
    ///
    /// # Errors
    /// [`SnapshotError`]: what was read is no room.
    pub fn read(from: &mut impl io::Read, pool: &Pool) -> Result<Self, SnapshotError> {
        Ok(Self(Bare::read(from, pool)?))
    }

    /// Whether a swap to this version changes tables.
    pub fn changes_tables(&self, to: &LogicVersion) -> bool {
        **self.0.world.schema() != **to.schema()
    }

    /// Makes the tables those of `to`, as its swap would. `changes` is what the version that runs the room says of older tables;
    /// `watch` is told of each table before it is rewritten.
    ///
    /// # Errors
    /// [`RewriteError`]: the swap would fail, and the rehearsal is of no use any more.
    pub fn migrate(
        &mut self,
        changes: &Changes,
        to: &Arc<LogicVersion>,
        drops: &Arc<[String]>,
        stamp: Stamp,
        bytes_max: usize,
        watch: &mut dyn FnMut(&str),
    ) -> Result<(), RewriteError> {
        let world = &mut self.0.world;
        let plan = Plan::new(world.schema(), changes, to.schema(), to.changes(), drops);
        if let Some(line) = plan.refusals().first() {
            return Err(RewriteError::Unfit(line.clone()));
        }
        let mut rewrite = Rewrite::new(Arc::new(plan), to.clone(), drops.clone(), stamp.seed, bytes_max);
        // In two steps as it is done to a room: in the background first, then in the pause.
        rewrite.update_watched(world, &Cancel::default(), watch)?;
        drop(rewrite.finish(world)?);
        Ok(())
    }

    /// Runs `init` and `upgraded` of `to`, and gives the room that they leave.
    ///
    /// # Errors
    /// One of them panicked.
    ///
    /// # Panics
    /// If the tables are not those of `to`.
    pub fn upgrade(self, to: &Arc<LogicVersion>, stamp: Stamp) -> Result<Room, LogicFault> {
        assert!(!self.changes_tables(to), "the tables are made those of the version first");
        let Bare { name, version, world, tick, seq } = self.0;
        // The swap is an input, and takes a room that was frozen out of that.
        let (seq, now_us, frozen) = (Seq(seq.0 + 1), stamp.now_us, None);
        let mut room = Room::of_parts(Parts { name, logic: to.clone(), world, tick, seq, now_us, frozen });
        room.upgrade(version.version, stamp, &mut Outbox::new())?;
        Ok(room)
    }
}
