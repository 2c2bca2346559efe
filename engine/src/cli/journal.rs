//! `engine journal`: what is kept of rooms, for people. Reads only, so an engine may be running.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use room::Record;

use crate::cli::folder::{FolderError, RoomsFolder};
use crate::journal::files::Disk;
use crate::journal::frame::{Position, StoredRecord};
use crate::journal::recovery::check_unborn;
use crate::journal::segments::{Damage, Found};
use crate::journal::snapshots;

/// Records that `tail` shows where nothing else is said.
pub const TAIL_RECORDS: usize = 20;

/// Why a journal cannot be shown, or is not sound.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("{0}")]
    NotSound(String),
}

/// A line for each room: its records, files and bytes.
///
/// # Errors
/// [`JournalError`] if there is none. Damage is told in the room's line.
pub fn list(data: Option<PathBuf>, config: Option<PathBuf>) -> Result<String, JournalError> {
    let rooms = RoomsFolder::open(data, config, None)?;
    let mut rows = vec![["ROOM", "RECORDS", "FROM", "SEGMENTS", "BYTES", "SNAPSHOTS", "STATE"].map(str::to_owned)];
    for name in rooms.names.clone() {
        let room = rooms.of(&name);
        let count = snapshots::list(&Disk, &room).map_or(0, |found| found.len()).to_string();
        rows.push(match Found::read(&Disk, &room) {
            Ok(Some(found)) => {
                let (first, segments, bytes) = (found.first().seq + 1, found.segment_count(), found.bytes());
                let state =
                    found.torn.as_ref().map_or("sound".to_owned(), |torn| format!("torn: {} bytes", torn.bytes));
                let [last, first] = [found.last.seq, first].map(|number| number.to_string());
                [name, last, first, segments.to_string(), bytes.to_string(), count, state]
            }
            Ok(None) => [name, "0".into(), "-".into(), "0".into(), "0".into(), count, "no journal".into()],
            Err(damage) => [name, "?".into(), "?".into(), "?".into(), "?".into(), count, format!("damaged: {damage}")],
        });
    }
    Ok(columns(&rows))
}

/// The last records of a room, a line for each.
///
/// # Errors
/// [`JournalError`].
pub fn tail(room: &str, count: usize, data: Option<PathBuf>, config: Option<PathBuf>) -> Result<String, JournalError> {
    let rooms = RoomsFolder::open(data, config, Some(room))?;
    let Some(found) = Found::read(&Disk, &rooms.of(room))? else { return Ok(String::new()) };
    let first = found.last.seq.saturating_sub(count as u64).max(found.first().seq);
    let mut text = String::new();
    for record in found.records(&Disk, Position { seq: first, hash: 0 }) {
        let _ = writeln!(text, "{}", line(&record?));
    }
    Ok(text)
}

/// Reads everything that is kept, to the last byte.
///
/// # Errors
/// [`JournalError::NotSound`] with a line for each thing that is wrong.
pub fn check(room: Option<&str>, data: Option<PathBuf>, config: Option<PathBuf>) -> Result<String, JournalError> {
    let rooms = RoomsFolder::open(data, config, room)?;
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for name in &rooms.names {
        match check_room(&rooms.of(name)) {
            Ok(line) => {
                let _ = writeln!(text, "{name}: {line}");
            }
            Err(reasons) => wrong.extend(reasons.into_iter().map(|reason| format!("{name}: {reason}"))),
        }
    }
    if wrong.is_empty() { Ok(text) } else { Err(JournalError::NotSound(format!("{text}{}", wrong.join("\n")))) }
}

fn check_room(folder: &Path) -> Result<String, Vec<String>> {
    let failed = |error: &dyn ToString| vec![error.to_string()];
    let listed = snapshots::list(&Disk, folder).map_err(|error| failed(&error))?;
    let (mut wrong, mut found) = (Vec::new(), None);
    match Found::read(&Disk, folder) {
        Ok(None) => match check_unborn(&Disk, folder) {
            Ok(()) => return Ok("never whole, and goes at the next start".to_owned()),
            // As the next start is going to say.
            Err(error) => wrong.push(error.to_string()),
        },
        Ok(Some(journal)) => found = Some(journal),
        Err(damage) => wrong.push(damage.to_string()),
    }
    let records = found.as_ref().map_or(0, |found| check_records(found, &mut wrong));
    let mut sound = 0;
    for snapshot in &listed {
        match check_snapshot_of(found.as_ref(), &snapshot.path) {
            Ok(()) => sound += 1,
            Err(reason) => wrong.push(format!("{}: {reason}", snapshot.path.display())),
        }
    }
    let first = found.as_ref().map_or(0, |found| found.first().seq);
    if first > 0 && sound == 0 {
        let first = first + 1;
        wrong
            .push(format!("the journal starts with record {first}, and no snapshot is sound: the room does not start"));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let is_torn = found.is_some_and(|found| found.torn.is_some());
    let end = if is_torn { ", with a torn end that the next start cuts off" } else { "" };
    Ok(format!("{records} records and {sound} snapshots are sound{end}"))
}

/// How many there are; what is wrong with them is added to `wrong`.
fn check_records(found: &Found, wrong: &mut Vec<String>) -> u64 {
    let mut records = 0;
    for record in found.records(&Disk, found.first()) {
        let decoded = record.map_err(|damage| damage.to_string()).and_then(|record| {
            let decoded = Record::decode(record.kind, &record.payload);
            decoded.map_err(|fault| format!("record {} cannot be read: {fault}", record.seq))
        });
        records += 1;
        wrong.extend(decoded.err());
    }
    records
}

fn check_snapshot_of(found: Option<&Found>, path: &Path) -> Result<(), String> {
    let head = snapshots::check(&Disk, path).map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(()) };
    let (place, last) = (head.position.seq, found.last.seq);
    if head.room == found.head().room && place > last {
        return Err(format!(
            "it was made after record {place}, and the journal ends with record {last}: records are lost"
        ));
    }
    let position = found.position_of(&Disk, head.position.seq).map_err(|damage| damage.to_string())?;
    let is_of_it = head.room == found.head().room && position == Some(head.position);
    if is_of_it { Ok(()) } else { Err("it does not belong to this journal".to_owned()) }
}

/// A record for a person: number, tick, time and what it says.
fn line(stored: &StoredRecord) -> String {
    let record = match Record::decode(stored.kind, &stored.payload) {
        Ok(record) => record,
        Err(fault) => return format!("{:>8} tick {:<8} kind {}: {fault}", stored.seq, stored.tick, stored.kind.0),
    };
    let time = record.stamp().and_then(|stamp| Timestamp::from_microsecond(i64::try_from(stamp.now_us).ok()?).ok());
    let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.6}"));
    format!("{:>8} tick {:<8} {time:<27} {record}", stored.seq, stored.tick)
}

fn columns(rows: &[[String; 7]]) -> String {
    let widths: Vec<usize> = (0..6).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}  {}", cells.join("  "), row[6]);
    }
    text
}
