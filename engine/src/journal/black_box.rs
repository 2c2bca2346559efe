//! The input under way, noted where it outlives the process: what had begun and not ended when the process did is suspected of
//! having ended it. Time and again, and it is quarantined: the room refuses it, and goes on without it. That is twice in a row if the
//! process said itself that it ended by it (`last_word.rs`), and five times if it said nothing.
//!
//! A rewind is no input of that kind: it has to be carried out. Noted are the inputs that it applies once more.
//!
//! `<room>/under-way` is mapped; `<room>/quarantine/<input>.<version>` is what was quarantined, for a person to look at.
//! `docs/journal.md`, "Black box".

use std::io;
use std::path::{Path, PathBuf};

use room::{Again, LogicFault, LogicVersion, Record, RecordKind, Room, Skipped, TrialId, Watch, encode_input};
use xxhash_rust::const_xxh3::xxh3_64 as const_xxh3_64;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::files::{Files, MappedFile};
use super::last_word::{self, LastWord};
use super::log::LogError;
use super::segments::{failed, place};

/// Of a box, in its folder.
pub(crate) const FILE: &str = "under-way";
/// In the data folder: for what rooms do before they have a folder.
const UNBORN: &str = "unborn";
pub(super) const QUARANTINE: &str = "quarantine";
/// Of the file. An input that is longer is told by its hash; the dump has what fits.
const BOX_BYTES: usize = 256 << 10;
const MAGIC: [u8; 8] = *b"HOTBOX03";
/// Ends of the process in a row that the process itself laid to one input: by a fault, by `exit` or by the watchdog.
const FAULTS_MAX: u32 = 2;
/// Ends in a row, of whatever kind, that one input was under way at. Whoever kills a start that takes long does so more than once,
/// and what the journal has must not be lost by that; but what takes all memory, or all patience, must not come for ever.
const ENDS_MAX: u32 = 5;
const _: () = assert!(FAULTS_MAX < ENDS_MAX);
/// Before the payload: the time and the seed, which differ when the same input comes again.
const STAMP_BYTES: usize = 16;
/// In a join, before what the client says: the player, who is another each time somebody new comes.
const PLAYER_BYTES: usize = 8;
/// In a message, before its bytes: the player, and the number.
const SENDER_BYTES: usize = PLAYER_BYTES + 4;

// What is where in the file.
const AT_BUSY: usize = 8;
const AT_KIND: usize = 12;
const AT_LENGTH: usize = 16;
const AT_ENDS: usize = 20;
const AT_IDENTITY: usize = 24;
const AT_TICK: usize = 32;
/// Whose the ends before this one are.
const AT_SUSPECT: usize = 40;
const AT_VERSION: usize = 48;
const AT_RECORD: usize = 56;
const AT_AGAIN: usize = 64;
/// How many of the ends were faults.
const AT_FAULTS: usize = 68;
const AT_PAYLOAD: usize = 72;

/// Of what `query` is asked, which is no input and in no journal; else as a request.
pub const QUERY: RecordKind = RecordKind(256);

/// How it comes that an input is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It is new. The same may come again, at another time.
    New,
    /// A journal has it, and this is the number of its record.
    Record(u64),
    /// A rewind applies it once more. The record is that of the rewind, or 0 where that is new.
    Again { trial: TrialId, number: u32, record: u64 },
}

/// An input, told from others even when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(u64);

impl Identity {
    fn of(occasion: Occasion, kind: RecordKind, tick: u64, payload: &[u8]) -> Self {
        let numbers = match occasion {
            Occasion::New => return Self::of_new(kind, tick, payload),
            Occasion::Record(record) => [record, 0],
            Occasion::Again { trial, number, .. } => [trial.0, number.into()],
        };
        // With its stamp, which is the same whenever a journal is gone over.
        Self::hashed(kind, numbers, [payload])
    }

    fn of_new(kind: RecordKind, tick: u64, payload: &[u8]) -> Self {
        let said = payload.get(STAMP_BYTES..).unwrap_or_default();
        match kind {
            RecordKind::REQUEST | QUERY => Self::hashed(kind, [0; 2], without_headers(said)),
            RecordKind::TICK => Self::hashed(kind, [tick, 0], [said]),
            RecordKind::JOIN => Self::hashed(kind, [0; 2], [said.get(PLAYER_BYTES..).unwrap_or_default()]),
            RecordKind::MESSAGE => {
                // What most inputs are: as below, but half of it is known before.
                const SEED: u64 = const_xxh3_64(&fixed(RecordKind::MESSAGE, [0; 2]));
                Self(xxh3_64_with_seed(said.get(SENDER_BYTES..).unwrap_or_default(), SEED))
            }
            _ => Self::hashed(kind, [0; 2], [said]),
        }
    }

    /// Each part is hashed with what came of those before it for a seed: it is done for every input, most of which are shorter
    /// than the state of a hash that is fed piece by piece.
    fn hashed<const PARTS: usize>(kind: RecordKind, numbers: [u64; 2], parts: [&[u8]; PARTS]) -> Self {
        Self(parts.iter().fold(xxh3_64(&fixed(kind, numbers)), |seed, part| xxh3_64_with_seed(part, seed)))
    }
}

/// What an identity has beside the bytes of its input.
const fn fixed(kind: RecordKind, numbers: [u64; 2]) -> [u8; 18] {
    let mut fixed = [0; 18];
    let (of_kind, of_numbers) = fixed.split_at_mut(2);
    of_kind.copy_from_slice(&kind.0.to_le_bytes());
    let (first, second) = of_numbers.split_at_mut(8);
    first.copy_from_slice(&numbers[0].to_le_bytes());
    second.copy_from_slice(&numbers[1].to_le_bytes());
    fixed
}

/// A request's method, path and query, and its body: headers differ from client to client, and from time to time.
fn without_headers(said: &[u8]) -> [&[u8]; 2] {
    let number = |at: usize| {
        let bytes = said.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    };
    let after_text = |at: usize| at + 4 + number(at);
    let start = (0..3).fold(0, |at, _| after_text(at));
    let end = (0..2 * number(start)).fold(start + 4, |at, _| after_text(at));
    [said.get(..start).unwrap_or(said), said.get(end..).unwrap_or_default()]
}

/// Notes the inputs of one room.
#[derive(Debug)]
pub struct BlackBox {
    map: MappedFile,
    folder: PathBuf,
    /// The input that was under way at the last end of the process, until it was applied without harm.
    suspect: Option<Identity>,
    /// What is refused, with the version that it ended.
    quarantined: Vec<(Identity, u64)>,
}

/// An input that is refused: it ended the process as often as it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub file: PathBuf,
    pub line: String,
}

/// An input that had begun when the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// What would have to be left out; record 0 for what is in no journal.
    pub skipped: Skipped,
    /// For people.
    pub line: String,
    /// As [`short`] names the one that ran.
    pub version: u64,
}

impl BlackBox {
    /// Opens that of a room which is new.
    ///
    /// # Errors
    /// The files cannot be made or read.
    pub fn open(files: &dyn Files, folder: &Path) -> Result<BlackBox, LogError> {
        BlackBox::open_after(files, folder, None).map(|(black_box, _)| black_box)
    }

    /// Opens a room's, and finds out what the last end of the process is laid to.
    ///
    /// # Errors
    /// The files cannot be made or read.
    pub fn open_after(
        files: &dyn Files,
        folder: &Path,
        last_word: Option<LastWord>,
    ) -> Result<(BlackBox, Option<Quarantined>), LogError> {
        BlackBox::open_named(files, folder, FILE, last_word)
    }

    /// Opens those for what rooms do before they have a box of their own: one for each thread that rooms are made on. What is
    /// quarantined in one is so in all.
    ///
    /// # Errors
    /// The files cannot be made or read.
    pub fn open_unborn(
        files: &dyn Files,
        data: &Path,
        threads: usize,
        last_word: Option<LastWord>,
    ) -> Result<(Vec<BlackBox>, Vec<Quarantined>), LogError> {
        let folder = data.join(UNBORN);
        files.make_folder(&folder).map_err(failed("making", &folder))?;
        files.sync_folder(data).map_err(failed("syncing", data))?;
        let (mut boxes, mut dumped) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let (black_box, new) = BlackBox::open_named(files, &folder, &format!("{FILE}-{thread}"), last_word)?;
            boxes.push(black_box);
            dumped.extend(new);
        }
        if !dumped.is_empty() {
            let quarantine = folder.join(QUARANTINE);
            let quarantined = quarantined(files, &quarantine).map_err(failed("listing", &quarantine))?;
            boxes.iter_mut().for_each(|black_box| black_box.quarantined.clone_from(&quarantined));
        }
        Ok((boxes, dumped))
    }

    fn open_named(
        files: &dyn Files,
        folder: &Path,
        name: &str,
        last_word: Option<LastWord>,
    ) -> Result<(BlackBox, Option<Quarantined>), LogError> {
        let file = folder.join(name);
        let mut map = files.map(&file, BOX_BYTES).map_err(failed("mapping", &file))?;
        if map.bytes()[..8] != MAGIC {
            map.bytes_mut()[..AT_PAYLOAD].fill(0);
            map.bytes_mut()[..8].copy_from_slice(&MAGIC);
        }
        let quarantine = folder.join(QUARANTINE);
        let quarantined = quarantined(files, &quarantine).map_err(failed("listing", &quarantine))?;
        let mut this = BlackBox { map, folder: folder.to_owned(), suspect: None, quarantined };
        let dumped = if this.number(AT_BUSY) == 0 { None } else { this.blame(files, last_word)? };
        let is_suspect = this.number(AT_ENDS) > 0;
        this.suspect = is_suspect.then(|| Identity(this.long(AT_SUSPECT)));
        Ok((this, dumped))
    }

    /// What was under way in the folder when the process ended that wrote there; `None` if nothing was.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub fn under_way(files: &dyn Files, folder: &Path) -> io::Result<Option<UnderWay>> {
        let this = BlackBox::open_file(files, folder)?;
        let skipped = Skipped { record: this.long(AT_RECORD), again: this.number(AT_AGAIN) };
        Ok((this.number(AT_BUSY) > 0).then(|| UnderWay { skipped, line: this.shown(), version: this.long(AT_VERSION) }))
    }

    /// As it is.
    fn open_file(files: &dyn Files, folder: &Path) -> io::Result<BlackBox> {
        let map = files.map(&folder.join(FILE), BOX_BYTES)?;
        Ok(BlackBox { map, folder: folder.to_owned(), suspect: None, quarantined: Vec::new() })
    }

    /// Lays the end of the process to the input that was under way.
    fn blame(&mut self, files: &dyn Files, last_word: Option<LastWord>) -> Result<Option<Quarantined>, LogError> {
        let identity = Identity(self.long(AT_IDENTITY));
        let is_again = self.number(AT_ENDS) > 0 && self.long(AT_SUSPECT) == identity.0;
        let before = if is_again { [AT_ENDS, AT_FAULTS].map(|at| self.number(at)) } else { [0; 2] };
        let cause = last_word.filter(|said| said.input == identity.0).map(|said| said.cause);
        let [mut ends, mut faults] = [before[0].saturating_add(1), before[1].saturating_add(cause.is_some().into())];
        let mut dumped = None;
        if faults >= FAULTS_MAX || ends >= ENDS_MAX {
            let version = self.long(AT_VERSION);
            let by = cause.map_or_else(String::new, |cause| format!(" {cause}"));
            let line = format!(
                "at tick {}, {ends} times in a row, the process ended{by} in: {}",
                self.long(AT_TICK),
                self.shown()
            );
            dumped = Some(self.dump(files, (identity, version), line)?);
            self.quarantined.push((identity, version));
            (ends, faults) = (0, 0);
        }
        let bytes = self.map.bytes_mut();
        bytes[AT_SUSPECT..AT_SUSPECT + 8].copy_from_slice(&identity.0.to_le_bytes());
        bytes[AT_FAULTS..AT_FAULTS + 4].copy_from_slice(&faults.to_le_bytes());
        self.map.store(AT_ENDS, ends);
        self.map.store(AT_BUSY, 0);
        if cause.is_some() {
            // It counts once: this start may be killed while it is at the same input again, and say nothing.
            last_word::forget();
        }
        Ok(dumped)
    }

    /// Writes what was under way to the quarantine: the bytes, and beside them a line for a person.
    fn dump(
        &self,
        files: &dyn Files,
        (identity, version): (Identity, u64),
        line: String,
    ) -> Result<Quarantined, LogError> {
        let folder = self.folder.join(QUARANTINE);
        files.make_folder(&folder).map_err(failed("making", &folder))?;
        files.sync_folder(&self.folder).map_err(failed("syncing", &self.folder))?;
        let file = folder.join(format!("{:016x}.{version:016x}", identity.0));
        let put = |path: &Path, bytes: &[u8]| place(files, path, |file| file.append(bytes), |_| Ok(()), None).map(drop);
        put(&file.with_added_extension("txt"), format!("{line}\n").as_bytes())?;
        // Last: it is what counts.
        put(&file, self.payload())?;
        Ok(Quarantined { file, line })
    }

    /// What is in the box, for people.
    fn shown(&self) -> String {
        let (kind, length) = (self.kind(), self.number(AT_LENGTH));
        let (called, kind) = if kind == QUERY { ("query ", RecordKind::REQUEST) } else { ("", kind) };
        let shown = match Record::decode(kind, self.payload()) {
            Ok(record) => format!("{called}{record}"),
            Err(_) => format!("kind {}, {length} bytes", kind.0),
        };
        match (self.long(AT_RECORD), self.number(AT_AGAIN)) {
            (0, 0) => shown,
            (0, again) => format!("{shown}, input {again} since the swap that was taken back"),
            (record, again) => format!("{shown}, {}", Skipped { record, again }),
        }
    }

    fn payload(&self) -> &[u8] {
        let length = self.number(AT_LENGTH) as usize;
        &self.map.bytes()[AT_PAYLOAD..BOX_BYTES.min(AT_PAYLOAD.saturating_add(length))]
    }

    /// An input begins. Why it must not, if it is in quarantine.
    #[inline]
    pub fn begin(
        &mut self,
        occasion: Occasion,
        kind: RecordKind,
        tick: u64,
        payload: &[u8],
        running: &LogicVersion,
    ) -> Result<(), Box<LogicFault>> {
        let identity = Identity::of(occasion, kind, tick, payload);
        if !self.quarantined.is_empty() {
            self.check(identity, tick, running)?;
        }
        self.note(occasion, identity, (kind, tick, payload), running);
        Ok(())
    }

    /// Which of the inputs since the swap on trial a rewind is not to apply, by their numbers.
    pub fn without(&self, room: &Room) -> Vec<u32> {
        let (Some(trial), Some(running)) = (room.trial(), room.logic_before_trial()) else { return Vec::new() };
        if self.quarantined.is_empty() {
            return Vec::new();
        }
        let mut payload = Vec::new();
        let is_quarantined = |(number, stamp, input): &(u32, room::Stamp, &room::Input)| {
            payload.clear();
            let kind = encode_input(*stamp, input, running, &mut payload);
            let identity = Identity::of(Occasion::Again { trial, number: *number, record: 0 }, kind, 0, &payload);
            self.quarantined.contains(&(identity, short(running)))
        };
        room.inputs_on_trial().filter(is_quarantined).map(|(number, ..)| number).collect()
    }

    /// Notes what a rewind applies once more. The record is that of the rewind, or 0 where that is new.
    pub fn rewinding(&mut self, record: u64) -> Rewinding<'_> {
        Rewinding { black_box: self, record, payload: Vec::new() }
    }

    fn note(
        &mut self,
        occasion: Occasion,
        identity: Identity,
        (kind, tick, payload): (RecordKind, u64, &[u8]),
        running: &LogicVersion,
    ) {
        let (record, again) = match occasion {
            Occasion::New => (0, 0),
            Occasion::Record(record) => (record, 0),
            Occasion::Again { number, record, .. } => (record, number),
        };
        let kept = &payload[..payload.len().min(BOX_BYTES - AT_PAYLOAD)];
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let (head, bytes) = self.map.bytes_mut().split_first_chunk_mut::<AT_PAYLOAD>().expect("a box is longer");
        bytes[..kept.len()].copy_from_slice(kept);
        head[AT_KIND..AT_KIND + 2].copy_from_slice(&kind.0.to_le_bytes());
        head[AT_LENGTH..AT_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        head[AT_IDENTITY..AT_IDENTITY + 8].copy_from_slice(&identity.0.to_le_bytes());
        head[AT_TICK..AT_TICK + 8].copy_from_slice(&tick.to_le_bytes());
        head[AT_VERSION..AT_VERSION + 8].copy_from_slice(&short(running).to_le_bytes());
        head[AT_RECORD..AT_RECORD + 8].copy_from_slice(&record.to_le_bytes());
        head[AT_AGAIN..AT_AGAIN + 4].copy_from_slice(&again.to_le_bytes());
        self.map.store(AT_BUSY, 1);
        last_word::begins(identity.0);
    }

    #[cold]
    fn check(&self, identity: Identity, tick: u64, running: &LogicVersion) -> Result<(), Box<LogicFault>> {
        if !self.quarantined.contains(&(identity, short(running))) {
            return Ok(());
        }
        let message = "it ended the process time and again, and is in quarantine on this version".to_owned();
        let (version, tick) = (running.version(), logic_api::Tick(tick));
        Err(Box::new(LogicFault { version, callback: "process", message, location: String::new(), tick }))
    }

    /// The input under way has ended, and the process has not.
    #[inline]
    pub fn end(&mut self) {
        last_word::ended();
        self.map.store(AT_BUSY, 0);
        if self.suspect.is_some_and(|suspect| suspect.0 == self.long(AT_IDENTITY)) {
            self.suspect = None;
            self.map.store(AT_ENDS, 0);
        }
    }

    fn kind(&self) -> RecordKind {
        let bytes = self.map.bytes();
        RecordKind(u16::from_le_bytes([bytes[AT_KIND], bytes[AT_KIND + 1]]))
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.map.bytes()[at..at + 4].try_into().expect("four bytes"))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.map.bytes()[at..at + 8].try_into().expect("eight bytes"))
    }
}

/// What a rewind applies once more, on its way into the black box.
#[derive(Debug)]
pub struct Rewinding<'a> {
    black_box: &'a mut BlackBox,
    record: u64,
    /// Kept for its memory.
    payload: Vec<u8>,
}

impl Watch for Rewinding<'_> {
    fn begins(&mut self, again: Again<'_>) {
        let Again { trial, number, stamp, input, tick, running } = again;
        self.payload.clear();
        let kind = encode_input(stamp, input, running, &mut self.payload);
        let occasion = Occasion::Again { trial, number, record: self.record };
        let identity = Identity::of(occasion, kind, tick.0, &self.payload);
        self.black_box.note(occasion, identity, (kind, tick.0, &self.payload), running);
    }

    fn ended(&mut self) {
        self.black_box.end();
    }
}

/// Enough of a version's hash to tell it from others.
pub fn short(logic: &LogicVersion) -> u64 {
    u64::from_be_bytes(*logic.sha256().first_chunk().expect("32 bytes"))
}

fn quarantined(files: &dyn Files, folder: &Path) -> io::Result<Vec<(Identity, u64)>> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    // The line for a person has another ending.
    let parts =
        |name: &String| name.split_once('.').and_then(|(of, version)| Some((Identity(hex(of)?), hex(version)?)));
    Ok(files.list(folder)?.iter().filter_map(parts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::files::Disk;
    use crate::journal::last_word::Cause;
    use logic_api::prelude::*;

    #[derive(World)]
    struct Nothing {}

    #[logic(linked)]
    impl Logic for Nothing {}

    const OTHER: [u8; 17] = [9; 17];

    /// After a process that was killed from outside.
    fn open(folder: &Path) -> (BlackBox, Option<Quarantined>) {
        BlackBox::open_after(&Disk, folder, None).unwrap()
    }

    /// After a process that an input ended, which is the one that was under way.
    fn open_after_fault(folder: &Path) -> (BlackBox, Option<Quarantined>) {
        let input = BlackBox::open_file(&Disk, folder).unwrap().long(AT_IDENTITY);
        BlackBox::open_after(&Disk, folder, Some(LastWord { cause: Cause::Signal(6), input })).unwrap()
    }

    fn begin(black_box: &mut BlackBox, stamp: u8, payload: u8) -> Result<(), Box<LogicFault>> {
        let logic = LogicVersion::linked::<Nothing>().unwrap();
        let mut bytes = vec![stamp; STAMP_BYTES];
        bytes.push(payload);
        black_box.begin(Occasion::New, RecordKind::SIGNAL, 5, &bytes, &logic)
    }

    #[test]
    fn what_ends_the_process_twice_in_a_row_is_quarantined() {
        let folder = tempfile::tempdir().unwrap();
        for stamp in 0..2 {
            let (mut black_box, dumped) = open_after_fault(folder.path());
            assert_eq!(dumped, None);
            begin(&mut black_box, 7, 9).unwrap();
            black_box.end();
            // The same at another time, and the process ends: nothing is called any more.
            begin(&mut black_box, stamp, 1).unwrap();
        }
        let (mut black_box, dumped) = open_after_fault(folder.path());
        let dumped = dumped.unwrap();
        assert!(
            dumped.line.starts_with("at tick 5, 2 times in a row, the process ended by signal 6 in: kind 9"),
            "{dumped:?}"
        );
        assert_eq!(std::fs::read(&dumped.file).unwrap().len(), 17);
        assert_eq!(begin(&mut black_box, 3, 1).unwrap_err().callback, "process");
        begin(&mut black_box, 3, 2).unwrap();
        black_box.end();
        // And so it stays.
        let (mut black_box, dumped) = open_after_fault(folder.path());
        assert_eq!(dumped, None);
        begin(&mut black_box, 3, 1).unwrap_err();
    }

    #[test]
    fn what_goes_well_in_between_is_not_to_blame() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..4 {
            let (mut black_box, dumped) = open_after_fault(folder.path());
            assert_eq!(dumped, None);
            begin(&mut black_box, 1, 1).unwrap();
            black_box.end();
            begin(&mut black_box, 2, 1).unwrap();
        }
        // Two different ones.
        let (mut black_box, _) = open_after_fault(folder.path());
        begin(&mut black_box, 1, 2).unwrap();
        let (mut black_box, dumped) = open_after_fault(folder.path());
        assert_eq!(dumped, None);
        begin(&mut black_box, 1, 1).unwrap();
    }

    /// By an orchestrator, for want of memory, or with the machine.
    #[test]
    fn an_input_is_under_way_at_more_ends_from_outside_before_it_is_to_blame() {
        let folder = tempfile::tempdir().unwrap();
        let again = |ends: u32, open: fn(&Path) -> (BlackBox, Option<Quarantined>)| {
            for end in 0..ends {
                let (mut black_box, dumped) = open(folder.path());
                assert_eq!(dumped, None, "after {end}");
                begin(&mut black_box, 1, 1).unwrap();
            }
        };
        again(ENDS_MAX, open);
        let (mut black_box, dumped) = open(folder.path());
        assert!(dumped.unwrap().line.starts_with("at tick 5, 5 times in a row, the process ended in: kind 9"));
        begin(&mut black_box, 1, 1).unwrap_err();
        // Faults count among them; and what was said of another input counts for nothing.
        std::fs::remove_dir_all(folder.path().join(QUARANTINE)).unwrap();
        again(1, open);
        again(1, open_after_fault);
        again(1, open);
        let other = Some(LastWord { cause: Cause::Exit, input: 1 });
        let (mut black_box, dumped) = BlackBox::open_after(&Disk, folder.path(), other).unwrap();
        assert_eq!(dumped, None);
        begin(&mut black_box, 1, 1).unwrap();
        assert!(open_after_fault(folder.path()).1.is_some());
    }

    #[test]
    fn ticks_are_told_apart_by_their_number() {
        let of = |tick| Identity::of(Occasion::New, RecordKind::TICK, tick, &OTHER[..16]);
        assert_ne!(of(1), of(2));
        let of = |tick| Identity::of(Occasion::New, RecordKind::SIGNAL, tick, &OTHER);
        assert_eq!(of(1), of(2));
    }

    #[test]
    fn what_ends_the_process_in_a_new_room_is_quarantined_on_every_thread() {
        let data = tempfile::tempdir().unwrap();
        let mut last_word = None;
        for _ in 0..2 {
            let (mut boxes, dumped) = BlackBox::open_unborn(&Disk, data.path(), 2, last_word).unwrap();
            assert_eq!(dumped, []);
            begin(&mut boxes[1], 1, 1).unwrap();
            last_word = Some(LastWord { cause: Cause::Exit, input: boxes[1].long(AT_IDENTITY) });
        }
        let (boxes, dumped) = BlackBox::open_unborn(&Disk, data.path(), 2, last_word).unwrap();
        assert_eq!(dumped.len(), 1);
        for mut black_box in boxes {
            begin(&mut black_box, 2, 1).unwrap_err();
            begin(&mut black_box, 2, 2).unwrap();
        }
    }

    #[test]
    fn a_damaged_box_keeps_no_room_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let logic = LogicVersion::linked::<Nothing>().unwrap();
        let path = folder.path().join(FILE);
        let check = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let _shown = BlackBox::under_way(&Disk, folder.path()).unwrap();
            let (mut black_box, _) = open_after_fault(folder.path());
            black_box.begin(Occasion::Record(3), RecordKind::SIGNAL, 5, &OTHER, &logic).unwrap();
            black_box.end();
            let _ended_well = open(folder.path());
            if let Ok(true) = std::fs::exists(folder.path().join(QUARANTINE)) {
                std::fs::remove_dir_all(folder.path().join(QUARANTINE)).unwrap();
            }
        };
        let (mut black_box, _) = open(folder.path());
        begin(&mut black_box, 1, 1).unwrap();
        drop(black_box);
        let busy = std::fs::read(&path).unwrap();
        for bit in 0..(AT_PAYLOAD + OTHER.len()) * 8 {
            let mut flipped = busy.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped);
        }
        for fill in [0, 1, 0x7f, 0xff] {
            let filled = vec![fill; BOX_BYTES];
            check(&filled);
            check(&[&MAGIC[..], &filled[8..]].concat());
            check(&[&MAGIC[..], &filled[8..60]].concat());
        }
    }

    /// Whoever sends what ends the process may come anew each time.
    #[test]
    fn joins_and_messages_are_the_same_from_anybody() {
        let logic = LogicVersion::linked::<Nothing>().unwrap();
        let of = |input: &room::Input| {
            let mut payload = Vec::new();
            let kind = encode_input(room::Stamp::default(), input, &logic, &mut payload);
            Identity::of(Occasion::New, kind, 5, &payload)
        };
        let join = |player, hello: &[u8], claims: &str| {
            of(&room::Input::Join { player: PlayerId(player), hello: hello.into(), claims: claims.into() })
        };
        assert_eq!(join(1, b"ann", "{}"), join(2, b"ann", "{}"));
        assert!(join(1, b"ann", "{}") != join(1, b"bob", "{}") && join(1, b"ann", "{}") != join(1, b"ann", ""));
        let message = |player, number, bytes: &[u8]| {
            of(&room::Input::Message { player: PlayerId(player), number, bytes: bytes.into() })
        };
        assert_eq!(message(1, 1, b"up"), message(2, 3, b"up"));
        assert_ne!(message(1, 1, b"up"), message(1, 1, b"down"));
        // As every other kind, and as engines before this one have it in the names of what they quarantined.
        assert_eq!(message(1, 1, b"up"), Identity::hashed(RecordKind::MESSAGE, [0; 2], [&[2, 0, 0, 0, b'u', b'p']]));
        assert_eq!(message(1, 1, b"up"), Identity(0x522d_63cf_4691_d7d3));
    }

    /// A request like one that ends the process was applied often before: it is none of those.
    #[test]
    fn records_of_a_journal_are_told_apart_by_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let logic = LogicVersion::linked::<Nothing>().unwrap();
        let bytes = [vec![7; STAMP_BYTES], vec![1]].concat();
        for _ in 0..2 {
            let (mut black_box, dumped) = open_after_fault(folder.path());
            assert_eq!(dumped, None);
            for record in 1..4 {
                black_box.begin(Occasion::Record(record), RecordKind::SIGNAL, 5, &bytes, &logic).unwrap();
                black_box.end();
            }
            // The same once more, and the process ends.
            begin(&mut black_box, 7, 1).unwrap();
            let under_way = BlackBox::under_way(&Disk, folder.path()).unwrap().unwrap();
            assert_eq!(under_way.skipped, Skipped { record: 0, again: 0 });
        }
        let (mut black_box, dumped) = open_after_fault(folder.path());
        assert!(dumped.is_some());
        black_box.begin(Occasion::Record(3), RecordKind::SIGNAL, 5, &bytes, &logic).unwrap();
        black_box.end();
        begin(&mut black_box, 8, 1).unwrap_err();
    }
}
