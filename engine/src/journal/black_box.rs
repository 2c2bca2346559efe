//! The input under way, noted where it outlives the process: what had begun and not ended when the process did is suspected of
//! having ended it. Twice in a row, and it is quarantined: the room refuses it, and goes on without it.
//!
//! `<room>/under-way` is mapped; `<room>/quarantine/<input>.<version>` is what was quarantined, for a person to look at.
//! `docs/journal.md`, "Black box".

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use room::{LogicFault, LogicVersion, Record, RecordKind};
use xxhash_rust::xxh3::Xxh3;

use super::raw::MappedFile;

pub(super) const FILE: &str = "under-way";
const QUARANTINE: &str = "quarantine";
/// Of the file. An input that is longer is told by its hash; the dump has what fits.
const BOX_BYTES: usize = 256 << 10;
const MAGIC: [u8; 8] = *b"HOTBOX01";
/// Ends of the process in a row that one input may be suspected of.
const ENDS_MAX: u32 = 2;
/// Before the payload: the time and the seed, which differ when the same input comes again.
const STAMP_BYTES: usize = 16;

// What is where in the file.
const AT_BUSY: usize = 8;
const AT_KIND: usize = 12;
const AT_LENGTH: usize = 16;
const AT_ENDS: usize = 20;
const AT_IDENTITY: usize = 24;
const AT_TICK: usize = 32;
/// Whom the ends before this one are laid to.
const AT_SUSPECT: usize = 40;
const AT_VERSION: usize = 48;
const AT_PAYLOAD: usize = 64;

/// An input, told from others even when it comes again at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(u64);

impl Identity {
    fn of(kind: RecordKind, tick: u64, payload: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&kind.0.to_le_bytes());
        let said = payload.get(STAMP_BYTES..).unwrap_or_default();
        match kind {
            RecordKind::REQUEST => without_headers(said).iter().for_each(|part| hash.update(part)),
            _ => hash.update(said),
        }
        if kind == RecordKind::TICK {
            hash.update(&tick.to_le_bytes());
        }
        Self(hash.digest())
    }
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
    /// The input that the last end of the process is laid to, until it was applied without harm.
    suspect: Option<Identity>,
    /// What is refused, with the version that it ended.
    quarantined: Vec<(Identity, u64)>,
}

/// An input that is refused: it ended the process as often as it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub file: PathBuf,
    pub kind: RecordKind,
    pub line: String,
}

impl BlackBox {
    /// Opens a room's, and finds out what the last end of the process is laid to.
    ///
    /// # Errors
    /// The files cannot be made or read.
    pub fn open(folder: &Path) -> io::Result<(BlackBox, Option<Quarantined>)> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut map = MappedFile::new(&options.open(folder.join(FILE))?, BOX_BYTES)?;
        if map.bytes()[..8] != MAGIC {
            map.bytes_mut()[..AT_PAYLOAD].fill(0);
            map.bytes_mut()[..8].copy_from_slice(&MAGIC);
        }
        let quarantined = quarantined(&folder.join(QUARANTINE))?;
        let mut this = BlackBox { map, folder: folder.to_owned(), suspect: None, quarantined };
        let dumped = if this.number(AT_BUSY) == 0 { None } else { this.blame()? };
        let is_suspect = this.number(AT_ENDS) > 0;
        this.suspect = is_suspect.then(|| Identity(this.long(AT_SUSPECT)));
        Ok((this, dumped))
    }

    /// Lays the end of the process to the input that was under way.
    fn blame(&mut self) -> io::Result<Option<Quarantined>> {
        let identity = Identity(self.long(AT_IDENTITY));
        let is_again = self.number(AT_ENDS) > 0 && self.long(AT_SUSPECT) == identity.0;
        let ends = if is_again { self.number(AT_ENDS) + 1 } else { 1 };
        let mut dumped = None;
        if ends >= ENDS_MAX {
            let version = self.long(AT_VERSION);
            dumped = Some(self.dump(identity, version)?);
            self.quarantined.push((identity, version));
        }
        let ends = if dumped.is_some() { 0 } else { ends };
        self.map.bytes_mut()[AT_SUSPECT..AT_SUSPECT + 8].copy_from_slice(&identity.0.to_le_bytes());
        self.map.store(AT_ENDS, ends);
        self.map.store(AT_BUSY, 0);
        Ok(dumped)
    }

    /// Writes what was under way to the quarantine: the bytes, and beside them a line for a person.
    fn dump(&self, identity: Identity, version: u64) -> io::Result<Quarantined> {
        let folder = self.folder.join(QUARANTINE);
        std::fs::create_dir_all(&folder)?;
        let (kind, tick) = (self.kind(), self.long(AT_TICK));
        let length = self.number(AT_LENGTH) as usize;
        let payload = &self.map.bytes()[AT_PAYLOAD..BOX_BYTES.min(AT_PAYLOAD + length)];
        let shown = match Record::decode(kind, payload) {
            Ok(record) => record.to_string(),
            Err(_) => format!("kind {}, {length} bytes", kind.0),
        };
        let line = format!("at tick {tick}, {ENDS_MAX} times in a row, the process ended in: {shown}");
        let file = folder.join(format!("{:016x}.{version:016x}", identity.0));
        std::fs::write(file.with_added_extension("txt"), format!("{line}\n"))?;
        // Last: it is what counts.
        std::fs::write(&file, payload)?;
        Ok(Quarantined { file, kind, line })
    }

    /// An input begins. Why it must not, if it is in quarantine.
    #[inline]
    pub fn begin(
        &mut self,
        kind: RecordKind,
        tick: u64,
        payload: &[u8],
        running: &LogicVersion,
    ) -> Result<(), Box<LogicFault>> {
        let identity = Identity::of(kind, tick, payload);
        if !self.quarantined.is_empty() {
            self.check(identity, tick, running)?;
        }
        let kept = &payload[..payload.len().min(BOX_BYTES - AT_PAYLOAD)];
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let bytes = self.map.bytes_mut();
        bytes[AT_PAYLOAD..AT_PAYLOAD + kept.len()].copy_from_slice(kept);
        bytes[AT_KIND..AT_KIND + 2].copy_from_slice(&kind.0.to_le_bytes());
        bytes[AT_LENGTH..AT_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        bytes[AT_IDENTITY..AT_IDENTITY + 8].copy_from_slice(&identity.0.to_le_bytes());
        bytes[AT_TICK..AT_TICK + 8].copy_from_slice(&tick.to_le_bytes());
        bytes[AT_VERSION..AT_VERSION + 8].copy_from_slice(&short(running).to_le_bytes());
        self.map.store(AT_BUSY, 1);
        Ok(())
    }

    #[cold]
    fn check(&self, identity: Identity, tick: u64, running: &LogicVersion) -> Result<(), Box<LogicFault>> {
        if !self.quarantined.contains(&(identity, short(running))) {
            return Ok(());
        }
        let message = format!("it ended the process {ENDS_MAX} times in a row, and is in quarantine on this version");
        let (version, tick) = (running.version(), logic_api::Tick(tick));
        Err(Box::new(LogicFault { version, callback: "process", message, location: String::new(), tick }))
    }

    /// The input under way has ended, and the process has not.
    #[inline]
    pub fn end(&mut self) {
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

/// Enough of a version's hash to tell it from others.
fn short(logic: &LogicVersion) -> u64 {
    u64::from_be_bytes(*logic.sha256().first_chunk().expect("32 bytes"))
}

fn quarantined(folder: &Path) -> io::Result<Vec<(Identity, u64)>> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        let hex = |text| u64::from_str_radix(text, 16).ok();
        // The line for a person has another ending.
        found.extend(parts.and_then(|(identity, version)| Some((Identity(hex(identity)?), hex(version)?))));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logic_api::prelude::*;

    #[derive(World)]
    struct Nothing {}

    #[logic(linked)]
    impl Logic for Nothing {}

    const OTHER: [u8; 17] = [9; 17];

    fn open(folder: &Path) -> (BlackBox, Option<Quarantined>) {
        BlackBox::open(folder).unwrap()
    }

    fn begin(black_box: &mut BlackBox, stamp: u8, payload: u8) -> Result<(), Box<LogicFault>> {
        let logic = LogicVersion::linked::<Nothing>().unwrap();
        let mut bytes = vec![stamp; STAMP_BYTES];
        bytes.push(payload);
        black_box.begin(RecordKind::SIGNAL, 5, &bytes, &logic)
    }

    #[test]
    fn what_ends_the_process_twice_in_a_row_is_quarantined() {
        let folder = tempfile::tempdir().unwrap();
        for stamp in 0..2 {
            let (mut black_box, dumped) = open(folder.path());
            assert_eq!(dumped, None);
            begin(&mut black_box, 7, 9).unwrap();
            black_box.end();
            // The same at another time, and the process ends: nothing is called any more.
            begin(&mut black_box, stamp, 1).unwrap();
        }
        let (mut black_box, dumped) = open(folder.path());
        let dumped = dumped.unwrap();
        assert!(dumped.line.starts_with("at tick 5, 2 times in a row, the process ended in: kind 9"), "{dumped:?}");
        assert_eq!(std::fs::read(&dumped.file).unwrap().len(), 17);
        assert_eq!(begin(&mut black_box, 3, 1).unwrap_err().callback, "process");
        begin(&mut black_box, 3, 2).unwrap();
        black_box.end();
        // And so it stays.
        let (mut black_box, dumped) = open(folder.path());
        assert_eq!(dumped, None);
        begin(&mut black_box, 3, 1).unwrap_err();
    }

    #[test]
    fn what_goes_well_in_between_is_not_to_blame() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..4 {
            let (mut black_box, dumped) = open(folder.path());
            assert_eq!(dumped, None);
            begin(&mut black_box, 1, 1).unwrap();
            black_box.end();
            begin(&mut black_box, 2, 1).unwrap();
        }
        // Two different ones.
        let (mut black_box, _) = open(folder.path());
        begin(&mut black_box, 1, 2).unwrap();
        let (mut black_box, dumped) = open(folder.path());
        assert_eq!(dumped, None);
        begin(&mut black_box, 1, 1).unwrap();
    }

    #[test]
    fn ticks_are_told_apart_by_their_number() {
        let of = |tick| Identity::of(RecordKind::TICK, tick, &OTHER[..16]);
        assert_ne!(of(1), of(2));
        assert_eq!(Identity::of(RecordKind::SIGNAL, 1, &OTHER), Identity::of(RecordKind::SIGNAL, 2, &OTHER));
    }
}
