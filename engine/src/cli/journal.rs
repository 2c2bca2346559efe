//! `engine journal`: what is kept of rooms, for people. Reads only, so an engine may be running.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use room::Record;

use crate::cli::folder::{FolderError, RoomsFolder};
use crate::journal::files::Disk;
use crate::journal::frame::{Position, StoredRecord};
use crate::journal::keeper::settings_of;
use crate::journal::recovery::{RecoveryError, check_unborn, versions_of};
use crate::journal::segments::{Damage, Found, look};
use crate::journal::snapshots;
use crate::loader::digest::Sha256;
use crate::loader::stage::Stage;
use crate::probation::{FailedVersions, Verdicts};
use crate::progress::Progress;
use crate::rooms::{RoomName, RoomSettings};

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
    let folder = RoomsFolder::open(data, config, Some(room))?.of(room);
    Ok(look(|| tail_of(&folder, count), Damage::is_gone)?)
}

fn tail_of(folder: &Path, count: usize) -> Result<String, Damage> {
    let mut text = String::new();
    let Some(found) = Found::read(&Disk, folder)? else { return Ok(text) };
    let first = found.last.seq.saturating_sub(count as u64).max(found.first().seq);
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
    let data = &rooms.config.data;
    let (mut text, mut wrong, stage) = (String::new(), check_verdicts(data), Stage::new(data));
    for name in &rooms.names {
        if RoomName::parse(name).is_none() {
            let _ = writeln!(text, "{name}: no room's name, and passed over by a start");
            continue;
        }
        match look(|| check_room(&rooms.of(name), &stage), |wrong| wrong.is_any_gone) {
            Ok(line) => {
                let _ = writeln!(text, "{name}: {line}");
            }
            Err(found) => wrong.extend(found.reasons.into_iter().map(|reason| format!("{name}: {reason}"))),
        }
    }
    if wrong.is_empty() { Ok(text) } else { Err(JournalError::NotSound(format!("{text}{}", wrong.join("\n")))) }
}

/// What is wrong with that which rooms share, and without which the engine does not start.
fn check_verdicts(data: &Path) -> Vec<String> {
    let verdicts = Verdicts::open(Arc::new(Disk), data).err().map(|error| error.to_string());
    let failed = FailedVersions::open(Arc::new(Disk), data).err().map(|error| error.to_string());
    verdicts.into_iter().chain(failed).collect()
}

/// What is wrong with a room.
#[derive(Default)]
struct Wrong {
    reasons: Vec<String>,
    /// A file has gone between its being listed and being read.
    is_any_gone: bool,
}

impl Wrong {
    fn add(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    fn add_damage(&mut self, damage: &Damage) {
        self.is_any_gone |= damage.is_gone();
        self.add(damage.to_string());
    }
}

fn check_room(folder: &Path, stage: &Stage) -> Result<String, Wrong> {
    let (mut wrong, mut found) = (Wrong::default(), None);
    // Before the journal, which ends after each of them for that.
    let listed = snapshots::list(&Disk, folder).unwrap_or_else(|error| {
        wrong.add(error.to_string());
        Vec::new()
    });
    match Found::read(&Disk, folder) {
        Ok(None) => match check_unborn(&Disk, folder) {
            Ok(()) => return Ok("never whole, and goes at the next start".to_owned()),
            // As the next start is going to say.
            Err(error) => wrong.add(error.to_string()),
        },
        Ok(Some(journal)) => found = Some(journal),
        Err(damage) => wrong.add_damage(&damage),
    }
    let records = found.as_ref().map_or(0, |found| check_records(found, &mut wrong));
    let mut sound = 0;
    for snapshot in &listed {
        sound += u64::from(check_snapshot(found.as_ref(), &snapshot.path, &mut wrong));
    }
    if let Some(found) = &found {
        wrong.reasons.extend(settings_of::<RoomSettings>(&Disk, folder).err().map(|error| error.to_string()));
        check_versions(found, folder, stage, &mut wrong);
    }
    let first = found.as_ref().map_or(0, |found| found.first().seq);
    if first > 0 && sound == 0 {
        let first = first + 1;
        wrong.add(format!("the journal starts with record {first}, and no snapshot is sound: the room does not start"));
    }
    if !wrong.reasons.is_empty() {
        return Err(wrong);
    }
    let is_torn = found.is_some_and(|found| found.torn.is_some());
    let end = if is_torn { ", with a torn end that the next start cuts off" } else { "" };
    Ok(format!("{records} records and {sound} snapshots are sound{end}"))
}

/// How many there are; what is wrong with them is added to `wrong`.
fn check_records(found: &Found, wrong: &mut Wrong) -> u64 {
    let mut records = 0;
    for record in found.records(&Disk, found.first()) {
        records += 1;
        match record.map(|record| (record.seq, Record::decode(record.kind, &record.payload))) {
            Ok((_, Ok(_))) => {}
            Ok((seq, Err(fault))) => wrong.add(format!("record {seq} cannot be read: {fault}")),
            Err(damage) => wrong.add_damage(&damage),
        }
    }
    records
}

/// The plugins that the start and replays need.
fn check_versions(found: &Found, folder: &Path, stage: &Stage, wrong: &mut Wrong) {
    let versions = match versions_of(&Disk, folder, found, &Progress::silent()) {
        Ok(versions) => versions,
        Err(RecoveryError::Damage(damage)) => return wrong.add_damage(&damage),
        Err(error) => return wrong.add(error.to_string()),
    };
    for sha256 in versions.into_iter().map(Sha256::from) {
        if let Err(error) = stage.kept(&sha256) {
            let path = stage.path(&sha256);
            wrong.add(format!("{}: {error}; put the plugin with this sha256 there", path.display()));
        }
    }
}

/// Whether it is sound; why not is added to `wrong`.
fn check_snapshot(found: Option<&Found>, path: &Path, wrong: &mut Wrong) -> bool {
    let shown = path.display();
    let head = match snapshots::check(&Disk, path) {
        Ok(head) => head,
        Err(error) => {
            wrong.is_any_gone |= error.kind() == ErrorKind::NotFound;
            wrong.add(format!("{shown}: {error}"));
            return false;
        }
    };
    let Some(found) = found else { return true };
    let (place, last) = (head.position.seq, found.last.seq);
    if head.room == found.head().room && place > last {
        wrong.add(format!(
            "{shown}: it was made after record {place}, and the journal ends with record {last}: records are lost"
        ));
        return false;
    }
    if let Some(missing) = found.missing_at(head.position) {
        let missing = missing.display();
        wrong.add(format!("{missing} is missing, which was there before {shown} was made: records are lost"));
        return false;
    }
    match found.position_of(&Disk, place) {
        Ok(position) if head.room == found.head().room && position == Some(head.position) => return true,
        Ok(_) => wrong.add(format!("{shown}: it does not belong to this journal")),
        Err(damage) => wrong.add_damage(&damage),
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use logic_api::prelude::{Logic, PlayerId, Tick, Version, World, logic};
    use room::{Input, LogicFault, LogicVersion, Note, RecordKind, Request, Skipped, Stamp, TrialId, encode_input};

    #[derive(World)]
    struct Nothing {}

    #[logic(linked)]
    impl Logic for Nothing {}

    /// After number and tick, which are the same for all, and this.
    #[track_caller]
    fn check_record(kind: RecordKind, payload: Vec<u8>, time: &str, expected: &Expect) {
        let line = line(&StoredRecord { seq: 17, tick: 42, kind, payload });
        let start = format!("      17 tick 42       {time}");
        expected.assert_eq(line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}")));
    }

    #[track_caller]
    fn check(input: &Input, expected: &Expect) {
        let stamp = Stamp { now_us: 1_767_323_045_000_006, seed: 1 };
        let mut payload = Vec::new();
        let kind = encode_input(stamp, input, &LogicVersion::linked::<Nothing>().unwrap(), &mut payload);
        check_record(kind, payload, "2026-01-02T03:04:05.000006Z ", expected);
    }

    #[track_caller]
    fn check_note(note: &Note, expected: &Expect) {
        let mut payload = Vec::new();
        let kind = note.encode(&mut payload);
        check_record(kind, payload, "-                           ", expected);
    }

    #[test]
    fn a_line_says_what_came_of_players() {
        let player = PlayerId(5);
        let (hello, claims) = (b"ann\n"[..].into(), "{\"sub\":\"a\"}".into());
        check(
            &Input::Join { player, hello, claims },
            &expect![[r#"join of player 5, hello 4 bytes "ann\n", claims "{\"sub\":\"a\"}""#]],
        );
        check(&Input::Drop { player }, &expect!["connection of player 5 lost"]);
        check(&Input::Reconnect { player }, &expect!["player 5 is back"]);
        check(&Input::Leave { player, reason: "bye".into() }, &expect![[r#"player 5 leaves: "bye""#]]);
        check(
            &Input::Message { player, number: 3, bytes: b"up"[..].into() },
            &expect![[r#"message 3 from player 5, 2 bytes "up""#]],
        );
        check(
            &Input::Message { player, number: 4, bytes: [0xFF; 49][..].into() },
            &expect![
                "message 4 from player 5, 49 bytes ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff…"
            ],
        );
        check(&Input::Skip { player, number: 5 }, &expect!["message 5 from player 5 is passed over"]);
        check(
            &Input::Presence { player, is_connected: false },
            &expect!["connection of player 5 lost, unheard by the logic"],
        );
        check(&Input::Presence { player, is_connected: true }, &expect!["player 5 is back, unheard by the logic"]);
    }

    #[test]
    fn a_line_says_what_came_of_the_room() {
        check(
            &Input::Create { config: b"small"[..].into() },
            &expect![[r#"create on engine 1000, sha256 000000000000, config 5 bytes "small""#]],
        );
        check(&Input::Tick, &expect!["tick"]);
        let (path, query, body) = ("/buy".to_owned(), "a=1".to_owned(), b"{}".to_vec());
        let request = Request { method: "POST".into(), path, query, body, ..Request::default() };
        check(&Input::Request(request.into()), &expect![[r#"POST "/buy" query "a=1", body 2 bytes "{}""#]]);
        check(&Input::Signal { name: "noon".into(), bytes: [][..].into() }, &expect![[r#"signal "noon", 0 bytes"#]]);
        check(&Input::Terminate { grace: Duration::from_millis(1500) }, &expect!["terminate within 1.5s"]);
        check(&Input::Dispose, &expect!["dispose"]);
    }

    #[test]
    fn a_line_says_what_came_of_versions() {
        let swap = |drops: &[&str]| {
            let drops: Vec<String> = drops.iter().map(ToString::to_string).collect();
            Input::Swap { to: LogicVersion::linked::<Nothing>().unwrap(), drops: drops.into(), trial: TrialId(9) }
        };
        check(&swap(&[]), &expect!["swap to engine 1000, sha256 000000000000"]);
        check(
            &swap(&["Avatar.hp", "orbs"]),
            &expect!["swap to engine 1000, sha256 000000000000, dropping Avatar.hp, orbs"],
        );
        check(&Input::Confirm, &expect!["the version on trial stays"]);
        check(&Input::rewind(), &expect!["the version on trial goes: back to before its swap"]);
        check(
            &Input::Rewind { without: [2, 7][..].into() },
            &expect!["the version on trial goes: back to before its swap, without input 2, 7 since then"],
        );
    }

    #[test]
    fn a_line_says_what_was_noted() {
        let (message, location) = ("the room is spoilt".to_owned(), "src/lib.rs:7:9".to_owned());
        let fault = LogicFault { version: Version(1001), callback: "tick", message, location, tick: Tick(41) };
        check_note(
            &Note::Freeze { fault, tick: None },
            &expect!["frozen: version 1001 failed in tick at tick 41, src/lib.rs:7:9: the room is spoilt"],
        );
        check_note(&Note::Hash(0xABC), &expect!["state hash 0000000000000abc"]);
        check_note(
            &Note::Skipped(Skipped { record: 5, again: 0 }),
            &expect!["record 5 ended the process: the room goes on without it"],
        );
        check_note(
            &Note::Skipped(Skipped { record: 5, again: 2 }),
            &expect![
                "input 2 since the swap, in the rewind of record 5, ended the process: the room goes on without it"
            ],
        );
        check_note(
            &Note::Leaving { player: PlayerId(5), reason: "bye".into() },
            &expect![[r#"player 5 has left, of which the room is still to hear: "bye""#]],
        );
        check_record(RecordKind(99), vec![1], "", &expect!["kind 99: time: 8 bytes expected, 1 left"]);
        check_record(RecordKind::HASH, vec![1], "", &expect!["kind 33: state hash: 8 bytes expected, 1 left"]);
    }
}
