//! Somebody who plays beside all that a test does to the engine, and must not notice.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use wire::EngineFrame;

use crate::players::client::{Client, PATIENCE, Transport};
use crate::support::Engine;

/// A room that nobody does anything to, on a thread of its own: what it ticks, and when, the machine has time for.
/// Nothing is kept, for all rooms wait for one disk, which other tests keep busy.
pub(crate) const QUIET: &str = "rooms = [\"main\", \"quiet\"]\nroom_threads = 2\ntick_hz = 100\ndurability = \"off\"\n";
const TICK_PERIOD: Duration = Duration::from_millis(10);
/// What connections the witness has: one in each of the rooms.
pub(crate) const CONNECTIONS: u64 = 2;

/// In fewer ticks than these a stall would not show.
const TICKS_MIN: u64 = 50;
/// Of the ticks of the quiet room, in hundredths, what is owed to the other.
const TICKS_PART: u64 = 85;
/// By how much the longest time without a tick may be longer than the quiet room's.
/// Once, a busy machine does that by itself: a shorter stall shows in the count, for it comes with each thing that is said.
const GAP_MAX: Duration = TICK_PERIOD.saturating_mul(15);
/// How often the witness speaks itself.
const SAYINGS: usize = 10;
/// How many more of its ticks may be a whole period late, beside a fifth of them.
const OVERRUNS_MAX: u64 = 5;
/// How often all is done again, none of it noticed, before what was noticed once counts as the doing of a machine that other tests keep busy.
const RUNS_AGAIN: usize = 2;

/// An error says what the witness noticed.
pub(crate) type Undisturbed = Result<(), String>;

/// Does this to an engine. What is noticed must not be noticed again, in any of some further runs: the engine's own doing comes back.
#[track_caller]
pub(crate) fn nobody_notices(run: impl Fn() -> Undisturbed) {
    let Err(once) = run() else { return };
    eprintln!("noticed: {once}");
    for _ in 0..RUNS_AGAIN {
        let again = run();
        assert!(again.is_ok(), "{once}; and again: {again:?}");
    }
}

/// Hears each tick, in the room that is played in and in the quiet one.
pub(crate) struct Witness<'a> {
    engine: &'a Engine,
    main: Listener,
    quiet: Listener,
    overruns: [u64; 2],
    late: [u64; 2],
}

impl Witness<'_> {
    pub(crate) fn new(engine: &Engine) -> Witness<'_> {
        let [main, quiet] = ["main", "quiet"].map(|room| Listener::join(engine, room));
        Witness { engine, main, quiet, overruns: overruns(engine), late: late(engine) }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.main.client.say(bytes);
    }

    /// The next message that is no tick; pings are answered meanwhile.
    #[track_caller]
    pub(crate) fn hear(&self) -> Vec<u8> {
        self.main.messages.recv_timeout(PATIENCE).expect("the witness is told something, for it stays")
    }

    /// Still there, and answered; whatever the others made the logic say is passed over. The room has ticked all the while.
    #[track_caller]
    pub(crate) fn is_undisturbed(&mut self) -> Undisturbed {
        for _ in 0..SAYINGS {
            self.say(b"here");
            while self.hear() != b"here" {}
        }
        self.quiet.wait_for(TICKS_MIN);
        let [main, quiet] = [&self.main, &self.quiet].map(Listener::so_far);
        let found = format!("{main}; in the quiet room {quiet}");
        // What the quiet room has missed, the machine had no time for; nor for twice that in the other.
        let owed = (quiet.count * TICKS_PART / 100).saturating_sub(2 * quiet.missed());
        if main.count < owed {
            return Err(format!("{found}; owed were {owed}"));
        }
        let is_told_in_time = main.longest <= quiet.longest * 2 + GAP_MAX;
        // Else it was this thread that came late.
        let late = late(self.engine);
        let late = [0, 1].map(|room| late[room] - self.late[room]);
        if !is_told_in_time && late[0] > late[1] {
            return Err(format!("{found}; {late:?} ticks were late"));
        }
        let overruns_max = main.count / 5 + OVERRUNS_MAX;
        let overruns = overruns(self.engine);
        let [main, quiet] = [0, 1].map(|room| overruns[room] - self.overruns[room]);
        if main > quiet * 2 + overruns_max {
            return Err(format!("{main} ticks overran, and {quiet} of the quiet room; {found}"));
        }
        Ok(())
    }
}

fn overruns(engine: &Engine) -> [u64; 2] {
    ["main", "quiet"].map(|room| engine.metric(&format!("hotseat_tick_overruns_total{{room=\"{room}\"}}")))
}

/// Ticks that began more than 50 ms after they were due.
fn late(engine: &Engine) -> [u64; 2] {
    let text = engine.get("/metrics");
    ["main", "quiet"].map(|room| {
        let of = |which: &str| -> u64 {
            let name = format!("hotseat_tick_late_seconds_{which} ");
            text.lines().find_map(|line| line.strip_prefix(&*name)).unwrap().parse().unwrap()
        };
        of(&format!("count{{room=\"{room}\"}}")) - of(&format!("bucket{{room=\"{room}\",le=\"0.05\"}}"))
    })
}

/// A player who is told of each tick of a room, and reads on a thread of its own: whatever the test waits for, this does not.
struct Listener {
    /// Only written to.
    client: Client,
    ticks: Arc<Ticks>,
    messages: Receiver<Vec<u8>>,
}

#[derive(Default)]
struct Ticks {
    heard: Mutex<Option<Heard>>,
    more: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Since the first one.
    count: u64,
    tick: u64,
    began: Instant,
    at: Instant,
    longest: Duration,
}

impl Heard {
    /// Ticks that there was time for.
    fn missed(&self) -> u64 {
        let due = (self.at - self.began).as_micros() / TICK_PERIOD.as_micros();
        u64::try_from(due).unwrap().saturating_sub(self.count)
    }
}

impl Listener {
    fn join(engine: &Engine, room: &str) -> Listener {
        let mut client = Client::open(engine.address, Transport::Tcp);
        client.join_room(room, b"witness");
        client.say(b"hear ticks");
        let (ticks, (message, messages)) = (Arc::<Ticks>::default(), channel());
        let (reader, heard) = (client.reading_half(), Arc::clone(&ticks));
        std::thread::spawn(move || listen(reader, &heard, &message));
        let listener = Listener { client, ticks, messages };
        listener.wait_for(0);
        listener
    }

    /// Until it has heard so many ticks more than the first one.
    #[track_caller]
    fn wait_for(&self, count: u64) {
        let heard = self.ticks.heard.lock().unwrap();
        let is_short = |heard: &mut Option<Heard>| heard.is_none_or(|heard| heard.count < count);
        let (heard, waited) = self.ticks.more.wait_timeout_while(heard, PATIENCE, is_short).unwrap();
        assert!(!waited.timed_out(), "waited in vain for {count} ticks: {heard:?}");
    }

    /// The time since the last tick is one without a tick, too.
    fn so_far(&self) -> Heard {
        let heard = self.ticks.heard.lock().unwrap().expect("the first one was waited for");
        Heard { longest: heard.longest.max(heard.at.elapsed()), ..heard }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ticks, and once none for {:?}", self.count, self.longest)
    }
}

/// Until the connection ends.
fn listen(mut reader: Client, ticks: &Ticks, message: &Sender<Vec<u8>>) {
    while let Some(frame) = reader.next() {
        let (header, EngineFrame::Message(bytes)) = EngineFrame::decode(&frame).unwrap() else { continue };
        if !matches!(bytes, b"tick" | [b't', b't', ..]) {
            // The test may be over.
            let _unheard = message.send(bytes.to_vec());
            continue;
        }
        let at = Instant::now();
        let mut heard = ticks.heard.lock().unwrap();
        *heard = Some(match *heard {
            None => Heard { count: 0, tick: header.tick, began: at, at, longest: Duration::ZERO },
            Some(before) => {
                assert_eq!(header.tick, before.tick + 1, "each tick is told once");
                let longest = before.longest.max(at - before.at);
                Heard { count: before.count + 1, tick: header.tick, at, longest, ..before }
            }
        });
        ticks.more.notify_all();
    }
}
