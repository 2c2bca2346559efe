//! What the tests share: batches of made-up records, and what a journal was found to hold.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use engine::journal::batch::Batch;
use engine::journal::frame::Position;
use engine::journal::log::{Log, LogError};
use engine::journal::segments::{Damage, Found, Segments};
use logic_api::Rng;
use room::{LogicVersion, RecordKind};

use crate::disk::MemoryDisk;

/// What panics that are meant to happen start with: they are not worth a line on the terminal.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// A version that is part of this program.
pub(crate) fn linked<L: logic_api::Logic>() -> Arc<LogicVersion> {
    static HUSH: Once = Once::new();
    // Before a logic is first linked in, whoever does it: both put a hook of theirs before the one that is there, and of two that
    // do so at once one would get lost.
    HUSH.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().unwrap_or_default().starts_with(ON_PURPOSE) {
                previous(info);
            }
        }));
    });
    LogicVersion::linked::<L>().unwrap()
}

/// A record as tests compare it.
pub(crate) type Plain = (u16, u64, Vec<u8>);

pub(crate) fn folder() -> PathBuf {
    PathBuf::from("/data/rooms/main")
}

pub(crate) fn create(disk: &MemoryDisk, segment_bytes: u64) -> Segments {
    Segments::create(Arc::new(disk.clone()), &folder(), "main", [7, 8], segment_bytes).unwrap()
}

/// Some records, which may well be all zero: a player may send anything.
pub(crate) fn records(rng: &mut Rng, count: u64, bytes_max: u64) -> Vec<Plain> {
    let record = |rng: &mut Rng| {
        let byte = if rng.chance(0.5) { 0 } else { rng.next_u64() as u8 };
        // Kinds that make a batch weighty are for other tests.
        (2 + rng.below(5) as u16, rng.below(1 << 40), vec![byte; rng.below(bytes_max + 1) as usize])
    };
    (0..count).map(|_| record(rng)).collect()
}

pub(crate) fn batch(records: &[Plain]) -> Batch {
    let mut batch = Batch::default();
    for (kind, tick, payload) in records {
        batch.push(*tick, |out| {
            out.extend_from_slice(payload);
            RecordKind(*kind)
        });
    }
    batch
}

/// Adds records as one batch, and writes them.
pub(crate) fn append(log: &mut Segments, records: &[Plain]) -> Result<(), LogError> {
    log.append(&mut batch(records));
    log.write()?;
    if log.is_full() { log.divide() } else { Ok(()) }
}

pub(crate) fn found(disk: &MemoryDisk) -> Result<Option<Found>, Damage> {
    Found::read(disk, &folder())
}

/// All records that are there, through the way that recovery reads them.
pub(crate) fn read_all(disk: &MemoryDisk, found: &Found) -> Vec<Plain> {
    read_after(disk, found, found.first())
}

pub(crate) fn read_after(disk: &MemoryDisk, found: &Found, after: Position) -> Vec<Plain> {
    let records = found.records(disk, after).map(Result::unwrap);
    records.map(|record| (record.kind.0, record.tick, record.payload)).collect()
}

/// The only segment.
pub(crate) fn segment(disk: &MemoryDisk) -> PathBuf {
    let paths: Vec<PathBuf> = disk.paths().into_iter().filter(|path| is_segment(path)).collect();
    assert_eq!(paths.len(), 1);
    paths[0].clone()
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "journal")
}
