//! `engine journal`: what is kept of rooms, for people. Reads only, so an engine may be running.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use room::{Record, check_snapshot};

use crate::config::{Config, ConfigError, Flags};
use crate::journal::files::Disk;
use crate::journal::frame::{Position, StoredRecord};
use crate::journal::keeper::{ROOMS_FOLDER, room_names};
use crate::journal::log::LogError;
use crate::journal::segments::{Damage, Found};
use crate::journal::snapshots;

/// Records that `tail` shows where nothing else is said.
pub const TAIL_RECORDS: usize = 20;

/// Why a journal cannot be shown, or is not sound.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("{folder} keeps no room{}; it has {known}", .room.as_ref().map_or(String::new(), |room| format!(" {room:?}")))]
    NoRoom { folder: String, room: Option<String>, known: String },
    #[error("{0}")]
    NotSound(String),
}

/// The folder of the rooms, and which of them are meant.
fn rooms(
    data: Option<PathBuf>,
    config: Option<PathBuf>,
    room: Option<&str>,
) -> Result<(PathBuf, Vec<String>), JournalError> {
    let config = Config::load(Flags { config, data, ..Flags::default() })?;
    let folder = config.data.join(ROOMS_FOLDER);
    let known = room_names(&Disk, &folder)?;
    let is_meant = |name: &&String| room.is_none_or(|room| room == name.as_str());
    let meant: Vec<String> = known.iter().filter(is_meant).cloned().collect();
    if meant.is_empty() {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(JournalError::NoRoom {
            folder: folder.display().to_string(),
            room: room.map(str::to_owned),
            known,
        });
    }
    Ok((folder, meant))
}

/// A line for each room: its records, files and bytes.
///
/// # Errors
/// [`JournalError`] if there is none. Damage is told in the room's line.
pub fn list(data: Option<PathBuf>, config: Option<PathBuf>) -> Result<String, JournalError> {
    let (folder, names) = rooms(data, config, None)?;
    let mut rows = vec![["ROOM", "RECORDS", "FROM", "SEGMENTS", "BYTES", "SNAPSHOTS", "STATE"].map(str::to_owned)];
    for name in names {
        let room = folder.join(&name);
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
    let (folder, _) = rooms(data, config, Some(room))?;
    let Some(found) = Found::read(&Disk, &folder.join(room))? else { return Ok(String::new()) };
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
    let (folder, names) = rooms(data, config, room)?;
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for name in names {
        match check_room(&folder.join(&name)) {
            Ok(line) => {
                let _ = writeln!(text, "{name}: {line}");
            }
            Err(reasons) => wrong.extend(reasons.into_iter().map(|reason| format!("{name}: {reason}"))),
        }
    }
    if wrong.is_empty() { Ok(text) } else { Err(JournalError::NotSound(format!("{text}{}", wrong.join("\n")))) }
}

fn check_room(folder: &Path) -> Result<String, Vec<String>> {
    let mut wrong = Vec::new();
    let (mut records, mut end) = (0_u64, "");
    match Found::read(&Disk, folder) {
        Ok(None) => {}
        Ok(Some(found)) => {
            end = if found.torn.is_some() { ", with a torn end that the next start cuts off" } else { "" };
            for record in found.records(&Disk, found.first()) {
                let decoded = record.map_err(|damage| damage.to_string()).and_then(|record| {
                    let decoded = Record::decode(record.kind, &record.payload);
                    decoded.map_err(|fault| format!("record {} cannot be read: {fault}", record.seq))
                });
                records += 1;
                wrong.extend(decoded.err());
            }
        }
        Err(damage) => wrong.push(damage.to_string()),
    }
    let mut count = 0;
    for snapshot in snapshots::list(&Disk, folder).map_err(|error| vec![error.to_string()])? {
        count += 1;
        let path = snapshot.path.display().to_string();
        let checked = snapshots::open(&Disk, &snapshot.path).map_err(|error| error.to_string());
        let checked =
            checked.and_then(|(_, mut reader)| check_snapshot(&mut reader).map_err(|error| error.to_string()));
        wrong.extend(checked.err().map(|reason| format!("{path}: {reason}")));
    }
    if wrong.is_empty() { Ok(format!("{records} records and {count} snapshots are sound{end}")) } else { Err(wrong) }
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
