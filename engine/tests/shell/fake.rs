//! A backend that answers from a script, a server around it, and a client that sends bytes as they are.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::config::Config;
use engine::http::{Backend, Health, Kind, LoadRequest, Refusal, Requester};
use engine::loader::name::PluginName;
use engine::lock::DataFolder;
use engine::metrics::Metrics;
use engine::serve::Door;
use engine::status::{
    Decided, EngineStatus, FaultStatus, Loaded, NewRoom, Outcome, PlayerStatus, RoomChange, RoomPause, RoomRewind,
    RoomState, RoomStatus, Status, SwapRecord, TrialStatus, VersionName, VersionPlan, VersionStatus,
};
use engine::stop::Stop;
use engine::token::{TOKEN_FILE, Token};
use room::plan::PlanReport;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For a test that hangs to fail instead; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// Remembers what it was asked, and answers by the path or the plugin's name.
pub(crate) struct Fake {
    stop: Stop,
    pub(crate) metrics: Metrics,
    pub(crate) requests: Mutex<Vec<(Option<String>, room::Request)>>,
    pub(crate) loads: Mutex<Vec<(LoadRequest, Requester)>>,
    /// The verdicts that were asked for, and the reasons given.
    pub(crate) verdicts: Mutex<Vec<(Outcome, Option<String>)>>,
    pub(crate) opened: Mutex<Vec<NewRoom>>,
    pub(crate) closed: Mutex<Vec<(String, Option<u64>)>>,
    pub(crate) kicked: Mutex<Vec<(String, u64, String)>>,
    /// Told when a request or a load begins to stall.
    pub(crate) stalled: Notify,
    /// Ends one stall.
    pub(crate) release: Notify,
    /// Told when a load has been carried out.
    pub(crate) loaded: Notify,
}

impl Fake {
    pub(crate) fn new(stop: Stop) -> Fake {
        Fake {
            stop,
            metrics: Metrics::new(),
            requests: Mutex::default(),
            loads: Mutex::default(),
            verdicts: Mutex::default(),
            opened: Mutex::default(),
            closed: Mutex::default(),
            kicked: Mutex::default(),
            stalled: Notify::new(),
            release: Notify::new(),
            loaded: Notify::new(),
        }
    }

    /// The first time, for a version is on trial only once.
    fn decide(&self, outcome: Outcome, reason: Option<String>) -> Result<Decided, Refusal> {
        let mut verdicts = self.verdicts.lock().unwrap();
        if !verdicts.is_empty() {
            return Err(Refusal::new(Kind::Conflict, "not-on-trial", "no version is on trial"));
        }
        verdicts.push((outcome, reason));
        let (version, name, sha256, running) = (1002, "game2".to_owned(), "52".to_owned(), vec![game1()]);
        let rooms = match outcome {
            Outcome::Rewound => vec![RoomRewind { room: "main".to_owned(), pause_us: 1_700, inputs: 20, lost: 1 }],
            _ => Vec::new(),
        };
        Ok(Decided { version, name, sha256, running, outcome, rooms, total_us: 2_300 })
    }

    async fn stall(&self) {
        self.stalled.notify_one();
        self.release.notified().await;
    }
}

impl Backend for Fake {
    async fn request(&self, room: Option<&str>, request: room::Request) -> Result<room::Response, Refusal> {
        self.requests.lock().unwrap().push((room.map(str::to_owned), request.clone()));
        if room.is_some_and(|room| room != "main" && room != "second room") {
            return Err(Refusal::new(Kind::NotFound, "room-unknown", format!("there is no room {room:?}")));
        }
        if request.path == "/stall" {
            self.stall().await;
        }
        let mut response = room::Response {
            status: 200,
            content_type: "text/plain".to_owned(),
            headers: vec![("x-game".to_owned(), "arena".to_owned())],
            body: request.body,
        };
        match request.path.as_str() {
            "/hello" => response.body = b"hello".to_vec(),
            "/nothing" => response.status = 204,
            "/interim" => response.status = 101,
            _ => {}
        }
        Ok(response)
    }

    async fn load(&self, request: LoadRequest, who: Requester) -> Result<Loaded, Refusal> {
        let name = request.name.clone();
        self.loads.lock().unwrap().push((request, who));
        match name.as_str() {
            "stall.so" => self.stall().await,
            "busy.so" => return Err(Refusal::new(Kind::Conflict, "load-busy", "another load is under way")),
            "schema.so" => {
                let details = ["Avatar.hp: i32 -> f32".to_owned(), "Orb.x: dropped".to_owned()];
                return Err(
                    Refusal::new(Kind::Unprocessable, "schema-differs", "the schema differs").with_details(details)
                );
            }
            "broken.so" => panic!("a bug in the backend"),
            _ => {}
        }
        self.loaded.notify_one();
        Ok(Loaded {
            version: 1002,
            name: "game2".to_owned(),
            build_id: "b2".to_owned(),
            sha256: "52".to_owned(),
            previous: vec![game1()],
            plans: Vec::new(),
            pauses: vec![RoomPause { room: "main".to_owned(), pause_us: 17 }],
            total_us: 8_125,
            on_trial_for_ms: 10_000,
        })
    }

    async fn plan(&self, name: PluginName, drops: Vec<String>) -> Result<Vec<VersionPlan>, Refusal> {
        let refusals = vec![format!("{name} drops {}", drops.join(" and "))];
        let plan = PlanReport {
            tables: Vec::new(),
            notes: Vec::new(),
            refusals,
            unused_drops: Vec::new(),
            pause_us: 0,
            pause_us_max: 0,
        };
        Ok(vec![VersionPlan { from: game1(), plan }])
    }

    async fn confirm(&self, _who: Requester) -> Result<Decided, Refusal> {
        self.decide(Outcome::Confirmed, None)
    }

    async fn roll_back(&self, _who: Requester, reason: Option<String>) -> Result<Decided, Refusal> {
        self.decide(Outcome::Rewound, reason)
    }

    async fn open_room(&self, new: NewRoom) -> Result<RoomStatus, Refusal> {
        if new.name.as_deref() == Some("main") {
            return Err(Refusal::new(Kind::Conflict, "room-name-taken", "there is a room main already"));
        }
        let room = status(false).rooms.remove(0);
        let name = new.name.clone().unwrap_or_else(|| "room-2".to_owned());
        let players_max = new.players_max.unwrap_or(room.players_max);
        let opened = RoomStatus { name, players_max, label: new.label.clone(), locked: new.locked, ..room };
        self.opened.lock().unwrap().push(new);
        Ok(opened)
    }

    async fn change_room(&self, name: &str, change: &RoomChange) -> Result<RoomStatus, Refusal> {
        let room = self.room(name)?;
        Ok(RoomStatus { locked: change.locked.unwrap_or(room.locked), label: change.label.clone(), ..room })
    }

    async fn close_room(&self, name: &str, grace_ms: Option<u64>) -> Result<(), Refusal> {
        self.room(name)?;
        self.closed.lock().unwrap().push((name.to_owned(), grace_ms));
        Ok(())
    }

    fn room(&self, name: &str) -> Result<RoomStatus, Refusal> {
        let unknown = || Refusal::new(Kind::NotFound, "room-unknown", format!("there is no room {name:?}"));
        status(false).rooms.into_iter().find(|room| room.name == name).ok_or_else(unknown)
    }

    fn logic_of(&self, _room: Option<&str>) -> Option<VersionName> {
        Some(game1())
    }

    fn status(&self) -> Status {
        status(self.stop.is_begun())
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn lobby(&self) -> Option<Arc<engine::sessions::Lobby>> {
        None
    }

    async fn players(&self, room: &str) -> Result<Vec<PlayerStatus>, Refusal> {
        self.room(room)?;
        let here = PlayerStatus { player: 4711, connected: true, consumed: 12, rtt_us: Some(1_250) };
        let awaited = PlayerStatus { player: 9_007_199_254_740_991, connected: false, consumed: 0, rtt_us: None };
        Ok(vec![here, awaited])
    }

    async fn kick(&self, room: &str, player: u64, reason: &str) -> Result<(), Refusal> {
        self.room(room)?;
        self.kicked.lock().unwrap().push((room.to_owned(), player, reason.to_owned()));
        Ok(())
    }

    fn notice(&self, _severity: wire::Severity, _text: &str) {}

    fn health(&self) -> Health {
        if self.stop.is_begun() { Health::Stopping } else { Health::Ready }
    }
}

fn game1() -> VersionName {
    VersionName { version: 1001, name: "game1".to_owned() }
}

fn status(stopping: bool) -> Status {
    let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let fault = FaultStatus {
        version: 1001,
        callback: "tick".to_owned(),
        message: "index out of bounds".to_owned(),
        location: "logic/src/arena.rs:42".to_owned(),
        reference: "1a2b3c4d".to_owned(),
        at,
    };
    let room = RoomStatus {
        name: "main".to_owned(),
        id: 1,
        label: None,
        version: 1001,
        logic: "game1".to_owned(),
        state: RoomState::Frozen,
        locked: false,
        tick: 123_456,
        players: 12,
        connected: 11,
        players_max: 100,
        rows: 1_000_000,
        pages: 1024,
        bytes: 67_108_864,
        tick_hz: 20,
        overruns: 3,
        faults: 1,
        last_fault: Some(fault),
    };
    let version = VersionStatus {
        version: 1001,
        name: "game1".to_owned(),
        build_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        sha256: "fedcba9876543210".repeat(4),
        file: "game.1001.so".to_owned(),
        bytes: 512_000,
        mapped_at: at,
        failed: None,
        rooms: vec!["main".to_owned()],
    };
    let swap = SwapRecord {
        at,
        who: "127.0.0.1:50000 (curl/8.5.0)".to_owned(),
        name: "plugin2.so".to_owned(),
        from: Some(game1()),
        to: None,
        outcome: Outcome::Refused,
        reason: Some("it is not an ELF file".to_owned()),
        details: Vec::new(),
        verdict: None,
        drops: Vec::new(),
        plans: Vec::new(),
        pause_us_max: 0,
        total_us: 1_500,
    };
    let trial = TrialStatus {
        version: 1002,
        name: "game2".to_owned(),
        sha256: "0123456789abcdef".repeat(4),
        from: vec![game1()],
        who: "127.0.0.1:50000 (curl/8.5.0)".to_owned(),
        since: at,
        until: "2026-01-02T03:04:15.678Z".parse().unwrap(),
        seconds_left: 7,
        rooms: vec!["main".to_owned()],
    };
    let engine = EngineStatus {
        version: "0.1.0".to_owned(),
        pid: 4321,
        started_at: at,
        uptime_s: 3_725,
        listen: "127.0.0.1:12345".parse().unwrap(),
        rss_bytes: Some(45 << 20),
        stopping,
        connections: 11,
    };
    Status { engine, rooms: vec![room], versions: vec![version], trial: Some(trial), swaps: vec![swap] }
}

/// A served fake on a port of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Stop,
    pub(crate) fake: Arc<Fake>,
    pub(crate) token: Token,
    pub(crate) data: TempDir,
    pub(crate) served: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Server {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
        change(&mut config);
        let folder = DataFolder::open(data.path()).unwrap();
        let door = Door::open(&config, &folder).await.unwrap();
        let token = Token::load(data.path(), TOKEN_FILE).unwrap().expect("the door made one");
        let (address, stop) = (door.address(), door.stop());
        let fake = Arc::new(Fake::new(stop.clone()));
        let requests = fake.metrics.requests();
        let announced = door.announce().unwrap();
        let backend = Arc::clone(&fake);
        let served = tokio::spawn(async move {
            door.serve(backend, requests).await;
            drop((announced, folder));
        });
        Server { address, stop, fake, token, data, served }
    }

    /// The `Host` that a browser on this machine sends.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.address.port())
    }

    /// A request with a good `Host`, JSON accepted, and further header lines.
    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Answer {
        let host = format!("Host: {}", self.host());
        let headers = [&[host.as_str(), "Accept: application/json"], headers].concat();
        self.ask_bare(method, target, &headers).await
    }

    /// A request with these header lines and no others, but the one that ends the connection.
    pub(crate) async fn ask_bare(&self, method: &str, target: &str, headers: &[&str]) -> Answer {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n").into_bytes();
        for header in headers {
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        self.send(&bytes).await
    }

    /// Bytes as they are, and all that comes back until the connection ends.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.address.port())).await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.stop.begin();
        within(self.served).await.unwrap();
    }
}

/// One response, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        within(stream.read_to_end(&mut bytes)).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The code of a refusal; empty for what is none or has no body.
    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["error"]["code"].as_str().unwrap_or("").to_owned()
    }

    pub(crate) fn reason(&self) -> String {
        self.json()["error"]["reason"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn within<T>(waited: impl Future<Output = T>) -> T {
    timeout(PATIENCE, waited).await.expect("it takes far longer than it should")
}
