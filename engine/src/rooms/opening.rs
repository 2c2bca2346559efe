//! Rooms that come and go while the engine runs: opened, changed and closed by operators, found and opened by players.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use logic_api::PlayerId;
use parking_lot::Mutex;
use room::{LogicVersion, StepError};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;
use wire::Severity;

use crate::config::{
    Limit, PLAYERS_MAX, ROOM_CONFIG_BYTES_MAX, ROOM_LINGER_MS, ROOM_NAME_BYTES_MAX, TERMINATE_GRACE_MS, TICK_HZ,
};
use crate::descriptors;
use crate::journal::checked;
use crate::rooms::board::Board;
use crate::rooms::command::{Ask, Command, Entry, NewSeat};
use crate::rooms::door::RoomDoor;
use crate::rooms::entrance::{Reservation, Terms};
use crate::rooms::error::RoomError;
use crate::rooms::handle::{ROOM_TIMEOUT, Rooms};
use crate::rooms::name::{RoomId, RoomName, Wanted};
use crate::rooms::play::Newcomer;
use crate::rooms::players::Notice;
use crate::rooms::registry::{Opening, Place, Taken, ToOpen};
use crate::status::{NewRoom, PlayerStatus, RoomChange, RoomStatus};

/// What a room has open while it is made, at most.
const FILES_PER_ROOM: usize = 4;

/// How a room is to be.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) terms: Terms,
    pub(super) tick_hz: u32,
    pub(super) config: Arc<[u8]>,
    pub(super) linger: Option<Duration>,
    /// Whether a seat is to be kept before anybody else can come.
    pub(super) keeps_seat: bool,
    /// What is kept of it, where that is not all of the above: of the rest the config has the say, whenever the engine starts.
    pub(super) settings: Option<RoomSettings>,
}

/// What is kept of a room beside its world, for when it is brought back: of a room of the config, what was changed since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomSettings {
    players_max: Option<usize>,
    tick_hz: Option<u32>,
    label: Option<String>,
    locked: bool,
    /// How long it stays when it is empty; left out: for ever.
    linger_ms: Option<u64>,
}

impl RoomSettings {
    fn of(terms: &Terms, tick_hz: u32, linger: Option<Duration>) -> Self {
        Self {
            players_max: Some(terms.players_max),
            tick_hz: Some(tick_hz),
            label: terms.label.as_ref().map(ToString::to_string),
            locked: terms.is_locked,
            linger_ms: linger.map(|linger| u64::try_from(linger.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// What the room is given that was changed in it, if it is one of the config now.
    pub(super) fn changed_only(self) -> Self {
        let Self { players_max, label, locked, .. } = self;
        Self { players_max, label, locked, ..Self::default() }
    }

    fn change(&mut self, change: &RoomChange, terms: &Terms) {
        if change.players_max.is_some() {
            self.players_max = Some(terms.players_max);
        }
        self.label = terms.label.as_ref().map(ToString::to_string);
        self.locked = terms.is_locked;
    }

    /// The seats and the label, if they are still accepted.
    pub(super) fn accepted(&self) -> (Option<usize>, Option<RoomName>) {
        let players_max = self.players_max.filter(|players| PLAYERS_MAX.accepts(*players as u64));
        (players_max, self.label.as_deref().and_then(RoomName::parse))
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// As they are kept.
    pub(super) fn encode(&self) -> Vec<u8> {
        checked::encode(self)
    }
}

/// A seat in a room, kept for one player who is on the way in. Dropping it gives the seat back.
#[derive(Debug)]
pub struct Admission {
    pub(super) place: Arc<Place>,
    pub(super) reservation: Reservation,
}

impl Admission {
    #[must_use]
    pub fn room(&self) -> &RoomName {
        &self.place.board.name
    }

    #[must_use]
    pub fn id(&self) -> RoomId {
        self.place.id()
    }

    /// Lets the player in, if the logic does. `claims` are what the credentials say, as JSON; may be empty. Whoever goes away
    /// meanwhile may be in all the same.
    ///
    /// # Errors
    /// [`RoomError`] if the player is not in; the seat is free again.
    pub(crate) async fn join(
        self,
        player: PlayerId,
        hello: Arc<[u8]>,
        claims: Arc<str>,
        entry: Entry,
    ) -> Result<RoomDoor, RoomError> {
        let Admission { place, reservation } = self;
        let (reply, joined) = oneshot::channel();
        let (link, patience) = (Arc::clone(&entry.link), entry.patience);
        let newcomer = Box::new(Newcomer { player, hello, claims, reservation, entry });
        // As many as connections at most: whoever comes waits.
        place.send(Ask::Join { newcomer, reply })?;
        RoomDoor(place).entered(player, &link, joined, patience).await
    }
}

impl Rooms {
    /// Opens a room on the version that is current, on the thread with the fewest rooms. It is finished even if the future is
    /// dropped.
    ///
    /// # Errors
    /// [`RoomError`] if what is wished for is not accepted, the name is taken, there are too many rooms, or `create` fails.
    pub async fn open(&self, new: &NewRoom) -> Result<RoomStatus, RoomError> {
        let (name, wishes) = self.wishes(new)?;
        let to_open =
            self.0.registry.begin(name.as_ref(), wishes.terms.label.as_ref()).map_err(|taken| match taken {
                Taken::Refused(error) => error,
                Taken::UnderWay(_) => {
                    RoomError::BeingMade { name: name.map_or_else(String::new, |name| name.to_string()) }
                }
            })?;
        let (place, _) = self.make(to_open, wishes).await?;
        Ok(place.board.status())
    }

    /// A room by its name, for the status.
    ///
    /// # Errors
    /// [`RoomError::Unknown`].
    pub fn status(&self, name: &str) -> Result<RoomStatus, RoomError> {
        self.0.registry.find(name).map(|place| place.board.status())
    }

    /// Changes who may come in. Nobody is sent away for it.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or the change is not accepted; nothing is changed then.
    pub fn change(&self, name: &str, change: &RoomChange) -> Result<RoomStatus, RoomError> {
        let place = self.0.registry.find(name)?;
        let players_max = change.players_max.map(players_max).transpose()?;
        let label = change.label.as_deref().map(label).transpose()?;
        place.board.entrance.change(|terms| {
            terms.is_locked = change.locked.unwrap_or(terms.is_locked);
            terms.players_max = players_max.unwrap_or(terms.players_max);
            if let Some(label) = label {
                terms.label = label;
            }
        });
        // Held until it is ordered: of two changes at once, the one that is kept is the one that is true.
        let mut settings = place.settings.lock();
        settings.change(change, &place.board.entrance.terms());
        if let Some(keeper) = &self.0.house.keeper {
            keeper.change_settings(name, settings.encode());
        }
        drop(settings);
        Ok(place.board.status())
    }

    /// Closes a room: `terminate`, then a grace for those who are in (`None`: that of the config), then `dispose`. Returns once
    /// the room is gone. It is finished even if the future is dropped.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or it does not get to it.
    pub async fn close(&self, name: &str, grace_ms: Option<u64>) -> Result<(), RoomError> {
        let grace_ms = grace_ms.map(|ms| within("grace_ms", ms, TERMINATE_GRACE_MS)).transpose()?;
        let grace = grace_ms.map_or(self.0.options.terminate_grace, Duration::from_millis);
        let place = self.0.registry.find(name)?;
        // At once, so that nobody comes in who would not have been told.
        place.board.entrance.end();
        let (gone, is_gone) = oneshot::channel();
        place.send(Ask::End { grace, gone })?;
        let waited = grace + ROOM_TIMEOUT;
        if timeout(waited, is_gone).await.is_err() {
            return Err(RoomError::Stuck { room: place.name(), waited_ms: waited.as_millis() });
        }
        self.settled().await;
        if self.0.registry.has(place.id()) { Err(place.ended()) } else { Ok(()) }
    }

    /// Keeps a seat for a player: in the room of this name, or with `*` in the oldest room that has a free seat, or with
    /// `*label` in the oldest of those with this label. Where the config says so, a room is opened for a player who finds none.
    /// Empty is the default room.
    ///
    /// # Errors
    /// [`RoomError`]; [`RoomError::close_code`] is what the player is told.
    pub async fn admit(&self, wanted: &str) -> Result<Admission, RoomError> {
        let text = if wanted.is_empty() { self.default_room().as_str() } else { wanted };
        let wanted = Wanted::parse(text).ok_or_else(|| RoomError::NotAccepted {
            key: "room",
            found: format!("{text:?}"),
            accepted: format!("a name of {}; or *, or * and a label", RoomName::accepted()),
        })?;
        loop {
            let refused = match self.reserve(&wanted) {
                Ok(admission) => return Ok(admission),
                Err(refused) => refused,
            };
            let is_cured_by_a_room = matches!(refused, RoomError::Unknown { .. } | RoomError::NoneFree { .. });
            if !(self.0.options.on_demand && is_cured_by_a_room) {
                return Err(refused);
            }
            match self.open_for(&wanted).await {
                Ok(admission) => return Ok(admission),
                Err(Taken::Refused(RoomError::NameTaken { .. })) => {}
                Err(Taken::Refused(error)) => return Err(error),
                // Closed when it is over, which is an error to the receiver and all that is waited for.
                Err(Taken::UnderWay(mut over)) => drop(over.changed().await),
            }
        }
    }

    /// Brings a player back into the room of this name.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or the player is not in it.
    pub(crate) async fn resume(&self, room: &str, player: PlayerId, entry: Entry) -> Result<RoomDoor, RoomError> {
        let place = self.0.registry.find(room)?;
        let (reply, resumed) = oneshot::channel();
        let (link, patience) = (Arc::clone(&entry.link), entry.patience);
        place.send(Ask::Resume { player, entry, reply })?;
        RoomDoor(place).entered(player, &link, resumed, patience).await
    }

    /// Who is in a room.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or it does not get to it.
    pub async fn players(&self, room: &str) -> Result<Vec<PlayerStatus>, RoomError> {
        let place = self.0.registry.find(room)?;
        let (reply, players) = oneshot::channel();
        place.offer(Ask::Players { reply })?;
        match timeout(ROOM_TIMEOUT, players).await {
            Ok(players) => players.map_err(|_| place.ended()),
            Err(_) => Err(RoomError::Stuck { room: place.name(), waited_ms: ROOM_TIMEOUT.as_millis() }),
        }
    }

    /// Has everybody told something, newcomers included, until it is over. Returns without waiting for a room.
    pub fn notice(&self, severity: Severity, text: &str) {
        let notice = Notice { severity, text: text.into(), until_loaded: false };
        self.set_notice(Some(notice).filter(|notice| notice.severity != Severity::Over));
    }

    /// The same with an error in what was to be loaded: it is over when a version is, whoever loads it.
    pub fn notice_until_loaded(&self, text: &str) {
        self.set_notice(Some(Notice { severity: Severity::Error, text: text.into(), until_loaded: true }));
    }

    /// To be called once a version is loaded.
    pub fn loaded(&self) {
        let is_over = self.0.house.notice.lock().take_if(|notice| notice.until_loaded).is_some();
        if is_over {
            self.tell_notice();
        }
    }

    fn set_notice(&self, notice: Option<Notice>) {
        *self.0.house.notice.lock() = notice;
        self.tell_notice();
    }

    fn tell_notice(&self) {
        for place in self.0.registry.places() {
            // One that ends meanwhile has nobody to be told.
            let _ended = place.send(Ask::Notice);
        }
    }

    /// Takes a player out of a room for good.
    ///
    /// # Errors
    /// [`RoomError`] if there is no such room, or the player is not in it.
    pub async fn leave(&self, room: &str, player: PlayerId, reason: Arc<str>) -> Result<(), RoomError> {
        let place = self.0.registry.find(room)?;
        let (reply, left) = oneshot::channel();
        place.send(Ask::Leave { player, reason, reply })?;
        match timeout(ROOM_TIMEOUT, left).await {
            Ok(left) => left.map_err(|_| place.ended())?,
            Err(_) => Err(RoomError::Stuck { room: place.name(), waited_ms: ROOM_TIMEOUT.as_millis() }),
        }
    }

    fn reserve(&self, wanted: &Wanted) -> Result<Admission, RoomError> {
        let reserve = |place: Arc<Place>| match place.board.entrance.reserve() {
            Ok(reservation) => Ok(Admission { place, reservation }),
            Err(reason) => Err(RoomError::no_seat(place.name(), reason)),
        };
        match wanted {
            Wanted::Named(name) => reserve(self.0.registry.find(name.as_str())?),
            Wanted::Free(label) => {
                let places = self.0.registry.places().into_iter();
                let fits = |place: &Arc<Place>| label.is_none() || place.board.entrance.terms().label == *label;
                let mut seats = places.filter(fits).filter_map(|place| reserve(place).ok());
                seats.next().ok_or_else(|| RoomError::NoneFree { label: label.clone() })
            }
        }
    }

    /// Opens a room that goes when it is empty again, with a seat kept for the player whom it is opened for.
    async fn open_for(&self, wanted: &Wanted) -> Result<Admission, Taken> {
        let (name, label, _search): (_, _, Option<Opening>) = match wanted {
            Wanted::Named(name) => (Some(name), None, None),
            Wanted::Free(label) => {
                let search = self.0.registry.begin_for(wanted.to_string()).map_err(Taken::UnderWay)?;
                // Somebody may have opened one between the look and the search.
                if let Ok(admission) = self.reserve(wanted) {
                    return Ok(admission);
                }
                (None, label.clone(), Some(search))
            }
        };
        let to_open = self.0.registry.begin(name, label.as_ref())?;
        let options = &self.0.options;
        let wishes = Wishes {
            terms: Terms::new(label, options.players_max, false),
            tick_hz: options.tick_hz,
            config: Arc::from([]),
            linger: Some(options.linger),
            keeps_seat: true,
            settings: None,
        };
        let told = |error| match error {
            RoomError::NotMade { error: StepError::Fault(fault), .. } => RoomError::Fault(self.0.house.told(&fault)),
            error => error,
        };
        let (place, seat) = self.make(to_open, wishes).await.map_err(|error| Taken::Refused(told(error)))?;
        Ok(Admission { place, reservation: seat.expect("a seat was asked for") })
    }

    /// In a task of its own: whoever asked may go away, and must not leave a room behind that nobody knows of.
    async fn make(&self, to_open: ToOpen, wishes: Wishes) -> Result<(Arc<Place>, Option<Reservation>), RoomError> {
        // Its journal would end the process.
        if descriptors::are_short(self.0.registry.openings() * FILES_PER_ROOM) {
            return Err(RoomError::NoFiles);
        }
        let rooms = self.clone();
        let made = tokio::spawn(async move { rooms.make_in_turn(to_open, wishes).await }).await;
        made.expect("opening a room does not panic, and is not cancelled")
    }

    pub(super) async fn make_in_turn(
        &self,
        to_open: ToOpen,
        wishes: Wishes,
    ) -> Result<(Arc<Place>, Option<Reservation>), RoomError> {
        let _no_swap = self.0.turn.read().await;
        let logic = Arc::clone(&self.0.current.lock());
        let keeps_seat = wishes.keeps_seat;
        let (place, new) = self.placed(&to_open, wishes, logic);
        let opening = to_open.opening;
        let seat = keeps_seat.then(|| place.board.entrance.reserve().expect("a new room has a free seat"));
        // The name is kept until all of this is done.
        let (opening, created) = self.created(&place, new, opening).await;
        match created {
            Ok(()) => self.swap_new(&place).await,
            // Else its thread does, if it comes to that.
            Err(_) if opening.is_some() => self.0.registry.metrics().forget_room(place.board.name.as_str()),
            Err(_) => {}
        }
        drop(opening);
        created.map(|()| (place, seat))
    }

    /// What keeps the name comes back with the outcome, but from a thread that does not answer: it has it until it does.
    async fn created(&self, place: &Place, new: NewSeat, opening: Opening) -> (Option<Opening>, Result<(), RoomError>) {
        let (reply, mut answer) = oneshot::channel();
        if place.inbox.send(Command::Open { new: Box::new(new), opening, reply }).is_err() {
            return (None, Err(place.ended()));
        }
        let answered = match timeout(ROOM_TIMEOUT, &mut answer).await {
            Ok(answered) => answered.map_err(|_| place.ended()),
            Err(_) => {
                // What comes from here on is not heard; what came just now is.
                answer.close();
                let stuck = |_| RoomError::Stuck { room: place.name(), waited_ms: ROOM_TIMEOUT.as_millis() };
                answer.try_recv().map_err(stuck)
            }
        };
        match answered {
            Ok((opening, Ok(()))) => {
                self.settled().await;
                (Some(opening), Ok(()))
            }
            Ok((opening, Err(error))) => (Some(opening), Err(RoomError::NotMade { room: place.name(), error })),
            Err(error) => (None, Err(error)),
        }
    }

    /// The two halves of a new room: what the engine sees of it, and what its thread makes it from.
    pub(super) fn placed(&self, to_open: &ToOpen, wishes: Wishes, logic: Arc<LogicVersion>) -> (Arc<Place>, NewSeat) {
        let ToOpen { id, name, thread, .. } = to_open;
        let Wishes { terms, tick_hz, config, linger, keeps_seat: _, settings } = wishes;
        let metrics = self.0.registry.metrics().room(name.as_str());
        let board = Arc::new(Board::new((*id, name.clone()), Arc::clone(&logic), tick_hz, terms, metrics));
        let settings = settings.unwrap_or_else(|| RoomSettings::of(&board.entrance.terms(), tick_hz, linger));
        let (inbox, runtime) = (Arc::clone(&self.0.inboxes[*thread]), self.0.helpers[*thread].runtime().clone());
        let kept = Mutex::new(settings.clone());
        let place = Arc::new(Place { board, inbox, runtime, thread: *thread, settings: kept });
        let house = Arc::clone(&self.0.house);
        (Arc::clone(&place), NewSeat { place, logic, config, linger, house, settings, recovered: None })
    }

    /// How a room was before the engine started. What is no longer accepted is as in the config.
    pub(super) fn as_before(&self, settings: RoomSettings) -> Wishes {
        let options = &self.0.options;
        let (players_max, label) = settings.accepted();
        let RoomSettings { tick_hz, locked, linger_ms, .. } = settings;
        Wishes {
            terms: Terms::new(label, players_max.unwrap_or(options.players_max), locked),
            settings: Some(settings),
            tick_hz: tick_hz.filter(|hz| TICK_HZ.accepts((*hz).into())).unwrap_or(options.tick_hz),
            config: Arc::from([]),
            linger: linger_ms.map(Duration::from_millis),
            keeps_seat: false,
        }
    }

    pub(super) fn wishes(&self, new: &NewRoom) -> Result<(Option<RoomName>, Wishes), RoomError> {
        let options = &self.0.options;
        let NewRoom { name, config, players_max: players, locked, label: of, dispose_when_empty, linger_ms, tick_hz } =
            new;
        let name = name.as_deref().map(|text| parse("name", text)).transpose()?;
        let config = config.as_deref().unwrap_or("").as_bytes();
        if config.len() > ROOM_CONFIG_BYTES_MAX {
            let accepted = format!("a text of at most {ROOM_CONFIG_BYTES_MAX} bytes");
            return Err(RoomError::NotAccepted { key: "config", found: format!("{} bytes", config.len()), accepted });
        }
        let players = players.map(players_max).transpose()?.unwrap_or(options.players_max);
        let label = of.as_deref().map(label).transpose()?.flatten();
        let tick_hz = tick_hz.map(|hz| within("tick_hz", hz, TICK_HZ)).transpose()?;
        let linger_ms = linger_ms.map(|ms| within("linger_ms", ms, ROOM_LINGER_MS)).transpose()?;
        if let (Some(ms), false) = (linger_ms, dispose_when_empty) {
            let accepted = "a linger_ms beside \"dispose_when_empty\": true only".to_owned();
            return Err(RoomError::NotAccepted { key: "linger_ms", found: ms.to_string(), accepted });
        }
        let wishes = Wishes {
            terms: Terms::new(label, players, *locked),
            tick_hz: tick_hz.map_or(options.tick_hz, |hz| u32::try_from(hz).expect("within its limits")),
            config: config.into(),
            linger: dispose_when_empty.then(|| linger_ms.map_or(options.linger, Duration::from_millis)),
            keeps_seat: false,
            settings: None,
        };
        Ok((name, wishes))
    }
}

fn parse(key: &'static str, text: &str) -> Result<RoomName, RoomError> {
    RoomName::parse(text).ok_or_else(|| refused(key, &format_args!("{text:?}"), &RoomName::accepted()))
}

/// Empty is no label. One less than a name may have: players ask for it with a `*` before it, where a name fits.
fn label(text: &str) -> Result<Option<RoomName>, RoomError> {
    match text.len() {
        0 => Ok(None),
        1..ROOM_NAME_BYTES_MAX => parse("label", text).map(Some),
        bytes => {
            Err(refused("label", &format_args!("{bytes} bytes"), &format_args!("at most {}", ROOM_NAME_BYTES_MAX - 1)))
        }
    }
}

fn players_max(players: u64) -> Result<usize, RoomError> {
    within("players_max", players, PLAYERS_MAX).map(|players| usize::try_from(players).expect("within its limits"))
}

fn within(key: &'static str, number: u64, limit: Limit) -> Result<u64, RoomError> {
    if limit.accepts(number) { Ok(number) } else { Err(refused(key, &number, &limit)) }
}

fn refused(key: &'static str, found: &dyn fmt::Display, accepted: &dyn fmt::Display) -> RoomError {
    RoomError::NotAccepted { key, found: found.to_string(), accepted: accepted.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::checked::tests::check_damage;
    use crate::journal::files::Disk;
    use crate::journal::keeper::settings_of;

    #[test]
    fn a_room_file_that_is_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("room.json");
        let label = Some("late".to_owned());
        let settings = RoomSettings { players_max: Some(8), label, locked: true, ..RoomSettings::default() };
        check_damage::<RoomSettings>(&settings.encode());
        // As earlier engines wrote it.
        std::fs::write(&file, "{\"players_max\":8,\"label\":\"late\",\"locked\":true}").unwrap();
        assert_eq!(settings_of(&Disk, folder.path()).unwrap(), Some(settings));
        std::fs::write(&file, "{\"loked\":true}").unwrap();
        let error = settings_of::<RoomSettings>(&Disk, folder.path()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "ROOM");
        let (start, end) = ("ROOM/room.json is damaged: unknown field `loked`", "and never closed for being empty");
        assert!(error.starts_with(start) && error.ends_with(end), "{error}");
    }
}
