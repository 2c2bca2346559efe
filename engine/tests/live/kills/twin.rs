//! A room in this process that is never killed. It is given what players and the asker have sent, from their own accounts; the
//! journal says only in which order that was applied, at what time and with which seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use engine::config::Config;
use engine::journal::files::Disk;
use engine::journal::frame::Position;
use engine::journal::segments::Found;
use engine::loader::load::Loader;
use room::{Input, LogicVersion, Note, Outbox, Pool, Record, Reply, Room, Stamp};

use crate::kills::players::{Asker, Player};

pub(super) struct Twin {
    loader: Loader,
    pool: Pool,
    room: Option<Room>,
    outbox: Outbox,
    /// The last record.
    seq: u64,
    /// Messages and requests so far: what the world counts.
    place: u64,
    /// The last message of each player, and every request.
    messages: BTreeMap<u64, u32>,
    requests: BTreeSet<u32>,
    pub(super) hashes: usize,
    /// Those that were compared.
    pub(super) answers: usize,
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hashes, answers, seq, .. } = self;
        write!(f, "{seq} records, {hashes} state hashes and {answers} answers are the twin's")
    }
}

impl Twin {
    pub(super) fn new(data: &Path) -> Twin {
        Twin {
            loader: Loader::new(&Config::default(), data),
            pool: Pool::new(),
            room: None,
            outbox: Outbox::new(),
            seq: 0,
            place: 0,
            messages: BTreeMap::new(),
            requests: BTreeSet::new(),
            hashes: 0,
            answers: 0,
        }
    }

    /// Applies what has come since. Then all that was answered must have been among it.
    pub(super) fn follow(&mut self, links: &Path, players: &[Player], asker: &Asker, when: &str) {
        let found = Found::read(&Disk, links).unwrap().unwrap();
        assert!(found.first().seq <= self.seq, "{when}: a segment is missing");
        for record in found.records(&Disk, Position { seq: self.seq, hash: 0 }) {
            let record = record.unwrap();
            assert_eq!(record.seq, self.seq + 1, "{when}");
            self.seq = record.seq;
            match Record::decode(record.kind, &record.payload).unwrap() {
                Record::Create { stamp, version, config } => {
                    let logic: Arc<LogicVersion> = self.loader.load_kept(&version).unwrap().logic.clone();
                    let created = Room::create("main", logic, &self.pool, stamp, &config, &mut self.outbox);
                    assert!(self.room.replace(created.unwrap()).is_none());
                }
                Record::Input { stamp, input } => self.input(stamp, input, players, asker),
                Record::Note(Note::Hash(hash)) => {
                    let twins = self.room.as_mut().unwrap().state_hash();
                    assert_eq!(hash, twins, "{when}: the state hash at record {} is not the twin's", record.seq);
                    self.hashes += 1;
                }
                other => panic!("{when}: {other}"),
            }
        }
        for player in players {
            let (last, applied) = (player.answered.last_key_value(), self.messages.get(&player.id).copied());
            let acknowledged = last.map_or(0, |(number, _)| *number);
            assert!(
                applied.unwrap_or(0) >= acknowledged,
                "{when}: {acknowledged} was answered, and is lost: {applied:?}"
            );
        }
        let lost = asker.answered.keys().find(|number| !self.requests.contains(number));
        assert_eq!(lost, None, "{when}: a request was answered, and is lost");
        self.forget(links, &found);
    }

    /// What came from outside is taken from who sent it.
    fn input(&mut self, stamp: Stamp, recorded: Input, players: &[Player], asker: &Asker) {
        let (input, answered) = match &recorded {
            Input::Message { player, number, bytes } => {
                let sender = players.iter().find(|sender| sender.id == player.0).unwrap();
                let last = self.messages.insert(player.0, *number).unwrap_or(0);
                assert_eq!(*number, last + 1, "player {player}: a message is lost or doubled");
                assert!(*number <= sender.sent, "player {player}: {number} was never sent");
                let sent: Arc<[u8]> = sender.message(*number).into();
                assert_eq!(sent, *bytes, "player {player}: {number} is not what was sent");
                (Input::Message { player: *player, number: *number, bytes: sent }, sender.answered.get(number))
            }
            Input::Request(request) if request.path == "/count" => {
                let number = request.query.strip_prefix("n=").unwrap().parse().unwrap();
                assert!(number <= asker.sent, "request {number} was never sent");
                assert!(self.requests.insert(number), "request {number} is doubled");
                (recorded.clone(), asker.answered.get(&number))
            }
            Input::Join { .. } | Input::Drop { .. } | Input::Reconnect { .. } | Input::Tick => (recorded.clone(), None),
            Input::Request(request) if request.path == "/heard" => (recorded.clone(), None),
            other => panic!("nobody did this: {other:?}"),
        };
        if matches!(input, Input::Message { .. } | Input::Request(_)) {
            self.place += 1;
            self.answers += usize::from(answered.is_some());
            assert!(answered.is_none_or(|place| *place == self.place), "{input:?}: {answered:?}, not {}", self.place);
        }
        self.outbox.drain().for_each(drop);
        let reply: Reply = self.room.as_mut().unwrap().step(stamp, input, &mut self.outbox).unwrap();
        drop(reply);
    }

    /// The segments that are done with.
    fn forget(&self, links: &Path, found: &Found) {
        let last = format!("{:020}.journal", found.head().after.seq + 1);
        for entry in std::fs::read_dir(links).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str() != Some(&last) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}
