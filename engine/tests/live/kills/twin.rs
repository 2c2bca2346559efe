//! Rooms in this process that are never killed. They are given what players, askers and the operator have sent, from their own
//! accounts; the journal says only in which order that was applied, at what time and with which seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use engine::config::Config;
use engine::journal::files::Disk;
use engine::journal::frame::Position;
use engine::journal::segments::Found;
use engine::loader::load::Loader;
use logic_api::PlayerId;
use room::{Input, LogicVersion, Note, Outbox, Output, Pool, Record, Reply, Room, Stamp, TrialId, VersionMark};

use crate::kills::operator::{Load, Operator};
use crate::kills::players::{Asker, Player, Standing, Visit};

/// Those who kept the accounts.
#[derive(Clone, Copy)]
pub(super) struct Accounts<'a> {
    pub(super) players: &'a [Player],
    pub(super) askers: &'a [Asker],
    pub(super) operator: &'a Operator,
}

pub(super) struct Twin {
    loader: Loader,
    pool: Pool,
    rooms: BTreeMap<&'static str, TwinRoom>,
    /// By their numbers in the journals.
    trials: BTreeMap<TrialId, Trial>,
    counts: Counts,
}

/// What was compared.
#[derive(Default)]
pub(super) struct Counts {
    records: u64,
    pub(super) hashes: u64,
    pub(super) answers: u64,
    pub(super) leaves: u64,
    pub(super) confirmed: u64,
    pub(super) rewound: u64,
}

#[derive(Default)]
struct TwinRoom {
    room: Option<Room>,
    outbox: Outbox,
    /// The last record.
    seq: u64,
    /// Who is whom, of all who ever joined.
    names: BTreeMap<u64, u32>,
    /// The last message of each.
    messages: BTreeMap<u64, u32>,
    requests: BTreeSet<u32>,
    on_trial: Option<TrialId>,
    /// All that were begun.
    trials: BTreeSet<TrialId>,
}

struct Trial {
    nth: usize,
    load: Load,
    /// Whether it stays, once a room has heard.
    stays: Option<bool>,
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { records, hashes, answers, leaves, confirmed, rewound } = self.counts;
        write!(
            f,
            "{records} records, {hashes} state hashes and {answers} answers are the twin's; {leaves} left, {confirmed} swaps of a \
             room were confirmed and {rewound} rewound"
        )
    }
}

impl Twin {
    pub(super) fn new(data: &Path, rooms: &[&'static str]) -> Twin {
        Twin {
            loader: Loader::new(&Config::default(), data),
            pool: Pool::new(),
            rooms: rooms.iter().map(|room| (*room, TwinRoom::default())).collect(),
            trials: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn state_hash(&mut self, room: &str) -> u64 {
        self.rooms.get_mut(room).and_then(|twin| twin.room.as_mut()).unwrap().state_hash()
    }

    /// How many messages of all who ever were in this room are consumed.
    pub(super) fn consumed(&self, room: &str) -> u64 {
        self.rooms[room].messages.values().map(|number| u64::from(*number)).sum()
    }

    /// Applies what has come since, of which there are links. Then all that was answered must have been among it.
    pub(super) fn follow(&mut self, links: &Path, accounts: Accounts<'_>) {
        let claimed = self.trials.len();
        for (name, mut twin) in std::mem::take(&mut self.rooms) {
            let links = links.join(name);
            let Some(found) = Found::read(&Disk, &links).unwrap() else {
                assert_eq!(twin.seq, 0, "{name}: the journal is gone");
                self.rooms.insert(name, twin);
                continue;
            };
            assert!(found.first().seq <= twin.seq, "{name}: a segment is missing");
            for record in found.records(&Disk, Position { seq: twin.seq, hash: 0 }) {
                let record = record.unwrap();
                assert_eq!(record.seq, twin.seq + 1, "{name}");
                twin.seq = record.seq;
                self.counts.records += 1;
                let decoded = Record::decode(record.kind, &record.payload).unwrap();
                self.apply(name, &mut twin, decoded, (accounts, claimed));
            }
            twin.has_all_acknowledged(name, accounts);
            forget(&links, &found);
            self.rooms.insert(name, twin);
        }
        let done = accounts.operator.loads.iter().filter(|load| load.is_done).count();
        assert!(self.trials.len() - claimed >= done, "a load was answered, and is lost");
        for (trial, Trial { load, .. }) in self.trials.iter().filter(|(_, trial)| trial.nth >= claimed) {
            for (name, twin) in &self.rooms {
                assert!(!load.is_done || twin.trials.contains(trial), "{name}: {load:?} was answered, and is lost");
                assert!(!load.is_carried_out || twin.on_trial != Some(*trial), "{name}: {load:?}: its verdict is lost");
            }
        }
    }

    fn version(&self, mark: &VersionMark) -> Arc<LogicVersion> {
        Arc::clone(&self.loader.load_kept(mark).unwrap().logic)
    }

    fn apply(&mut self, name: &str, twin: &mut TwinRoom, record: Record, (accounts, claimed): (Accounts<'_>, usize)) {
        match record {
            Record::Create { stamp, version, config } => {
                let logic = self.version(&version);
                let created = Room::create(name, logic, &self.pool, stamp, &config, &mut twin.outbox);
                assert!(twin.room.replace(created.unwrap()).is_none());
            }
            Record::Input { stamp, input } => {
                self.verdict(name, twin, &input);
                twin.input(name, (stamp, input), accounts, &mut self.counts);
            }
            Record::Swap { stamp, to, drops, trial } => {
                let nth = self.trials.len();
                let begun = self.trials.entry(trial).or_insert_with(|| {
                    let load = accounts.operator.loads.get(nth - claimed);
                    Trial { nth, load: *load.unwrap_or_else(|| panic!("{name}: nobody loaded {to}")), stays: None }
                });
                assert_eq!(begun.load.version, to.version.0, "{name}");
                assert!(begun.nth >= claimed && twin.trials.insert(trial), "{name}: {to} has a second trial");
                assert_eq!(twin.on_trial.replace(trial), None, "{name}: two versions are on trial");
                let input = Input::Swap { to: self.version(&to), drops: drops.into(), trial };
                twin.step(stamp, input);
            }
            Record::Note(Note::Hash(hash)) => {
                let twins = twin.room.as_mut().unwrap().state_hash();
                assert_eq!(hash, twins, "{name}: the state hash at record {} is not the twin's", twin.seq);
                self.counts.hashes += 1;
            }
            other => panic!("{name}: {other}"),
        }
    }

    /// What becomes of a version is what was asked for, and the same in all rooms.
    fn verdict(&mut self, name: &str, twin: &mut TwinRoom, input: &Input) {
        let stays = match input {
            Input::Confirm => true,
            Input::Rewind { without } => {
                assert!(without.is_empty(), "{name}: inputs are lost: {without:?}");
                false
            }
            _ => return,
        };
        let trial = self.trials.get_mut(&twin.on_trial.take().unwrap()).unwrap();
        let load = trial.load;
        assert!(!stays || load.may_stay(), "{name}: nobody has confirmed {load:?}");
        assert!(stays || !(load.may_stay() && load.is_carried_out), "{name}: it was confirmed: {load:?}");
        assert_eq!(*trial.stays.get_or_insert(stays), stays, "{name}: in another room it is not so: {load:?}");
        self.counts.confirmed += u64::from(stays);
        self.counts.rewound += u64::from(!stays);
    }
}

impl TwinRoom {
    /// What came from outside is taken from who sent it.
    fn input(&mut self, name: &str, (stamp, recorded): (Stamp, Input), accounts: Accounts<'_>, counts: &mut Counts) {
        let Accounts { players, askers, .. } = accounts;
        let (input, answered) = match &recorded {
            Input::Join { player, hello, claims } => {
                let visitor: u32 = str::from_utf8(hello).unwrap().parse().unwrap();
                let (room, visit) = visit_of(players, visitor);
                assert_eq!(room, name, "{visitor} asked for another room");
                assert!([0, player.0].contains(&visit.id), "{visitor} was told to be {}, and is {player}", visit.id);
                assert!(!self.names.values().any(|known| *known == visitor), "the join of {visitor} is doubled");
                self.names.insert(player.0, visitor);
                let hello: Arc<[u8]> = visitor.to_string().into_bytes().into();
                (Input::Join { player: *player, hello, claims: Arc::clone(claims) }, None)
            }
            Input::Leave { player, .. } => {
                let (_, visit) = visit_of(players, self.names[&player.0]);
                assert!(matches!(visit.standing, Standing::Leaving | Standing::Out), "{player} has not left");
                counts.leaves += 1;
                (recorded, None)
            }
            Input::Message { player, number, bytes } => {
                let (_, visit) = visit_of(players, self.names[&player.0]);
                let last = self.messages.insert(player.0, *number).unwrap_or(0);
                assert_eq!(*number, last + 1, "player {player}: a message is lost or doubled");
                assert!(*number <= visit.sent, "player {player}: {number} was never sent");
                let sent: Arc<[u8]> = visit.message(*number).into();
                assert_eq!(sent, *bytes, "player {player}: {number} is not what was sent");
                (Input::Message { player: *player, number: *number, bytes: sent }, visit.answered.get(number))
            }
            Input::Request(request) if request.path == "/count" => {
                let asker = askers.iter().find(|asker| asker.room == name).unwrap();
                let number = request.query.strip_prefix("n=").and_then(|rest| rest.split('&').next());
                let number = number.unwrap().parse().unwrap();
                assert!(number <= asker.sent, "request {number} was never sent");
                assert!(self.requests.insert(number), "request {number} is doubled");
                (recorded, asker.answered.get(&number))
            }
            Input::Request(request) if request.path == "/heard" => (recorded, None),
            Input::Drop { .. } | Input::Reconnect { .. } | Input::Tick | Input::Confirm | Input::Rewind { .. } => {
                (recorded, None)
            }
            other => panic!("{name}: nobody did this: {other:?}"),
        };
        let to = input.player();
        let reply = self.step(stamp, input);
        let Some(answered) = answered else { return };
        counts.answers += 1;
        let twins = match reply {
            Reply::Response(response) => response.body,
            _ => said_to(to, &self.outbox).unwrap_or_default(),
        };
        assert_eq!(*answered, String::from_utf8_lossy(&twins), "{name}: record {} was answered otherwise", self.seq);
    }

    fn step(&mut self, stamp: Stamp, input: Input) -> Reply {
        self.outbox.drain().for_each(drop);
        self.room.as_mut().unwrap().step(stamp, input, &mut self.outbox).unwrap()
    }

    /// What was answered has been applied by now.
    fn has_all_acknowledged(&self, name: &str, Accounts { players, askers, .. }: Accounts<'_>) {
        let players_in = self.room.as_ref().map(|room| room.world().players().iter().copied());
        let inside: BTreeSet<PlayerId> = players_in.into_iter().flatten().collect();
        for visit in players.iter().filter(|player| player.room == name).flat_map(|player| &player.visits) {
            let Visit { id, standing, consumed, .. } = *visit;
            let is_in = inside.contains(&PlayerId(id));
            assert!(standing != Standing::In || is_in, "{name}: player {id} is in, and is lost");
            assert!(standing != Standing::Out || !is_in, "{name}: player {id} has left, and is in again");
            let applied = self.messages.get(&id).copied().unwrap_or(0);
            assert!(
                applied >= consumed,
                "{name}: player {id} {standing:?}: {consumed} was acknowledged, and is lost: {applied}"
            );
        }
        let asker = askers.iter().find(|asker| asker.room == name).unwrap();
        let lost = asker.answered.keys().find(|number| !self.requests.contains(number));
        assert_eq!(lost, None, "{name}: a request was answered, and is lost");
    }
}

fn visit_of(players: &[Player], visitor: u32) -> (&'static str, &Visit) {
    let (visit, place) = (visitor as usize / players.len(), visitor as usize % players.len());
    (players[place].room, &players[place].visits[visit])
}

fn said_to(player: PlayerId, outbox: &Outbox) -> Option<Vec<u8>> {
    outbox.outputs().iter().find_map(|output| match output {
        Output::Send { to, bytes } if *to == player => Some(bytes.to_vec()),
        _ => None,
    })
}

/// The segments that are done with.
fn forget(links: &Path, found: &Found) {
    let last = format!("{:020}.journal", found.head().after.seq + 1);
    for entry in std::fs::read_dir(links).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str() != Some(&last) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
