//! What the engine is told at its start: defaults, then `engine.toml`, then the flags.
//!
//! Every limit of the shell that an operator may move is here, with its bounds.

mod duration;
mod file;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journal::Durability;
pub use duration::TimeLimit;

pub use crate::logs::LogFormat;
use crate::rooms::RoomName;

/// Used only if it exists; a file given by `--config` has to.
pub const CONFIG_FILE: &str = "engine.toml";

/// Rooms at a time, those of the config included.
pub const ROOMS_MAX: usize = 1024;
pub const ROOM_NAME_BYTES_MAX: usize = wire::limits::ROOM_NAME_BYTES_MAX;
/// The longest config of one room.
pub const ROOM_CONFIG_BYTES_MAX: usize = 64 << 10;
pub const ALLOWED_HOSTS_MAX: usize = 64;

/// The bounds of a number, and what it is where nothing is said.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub min: u64,
    pub default: u64,
    pub max: u64,
}

impl Limit {
    const fn new(min: u64, default: u64, max: u64) -> Limit {
        assert!(min <= default && default <= max);
        Limit { min, default, max }
    }

    #[must_use]
    pub fn accepts(self, number: u64) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a whole number from {} to {}", self.min, self.max)
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

pub const TICK_HZ: Limit = Limit::new(0, 20, 1000);
/// The default is the number of cores, within these bounds.
pub const ROOM_THREADS: Limit = Limit::new(1, 1, 256);
pub const PLAYERS_MAX: Limit = Limit::new(1, 10_000, room::limits::PLAYERS_MAX as u64);
pub const ROOM_LINGER_MS: Limit = Limit::new(0, 30_000, 86_400_000);
/// How long a player who has lost the connection is awaited back.
pub const AWAY_GRACE_MS: Limit = Limit::new(0, 30_000, 86_400_000);
pub const CONNECTIONS_MAX: Limit = Limit::new(1, 16_384, 1 << 20);
/// 0 is no limit: behind a proxy all players have one address.
pub const CONNECTIONS_PER_ADDRESS_MAX: Limit = Limit::new(0, 0, 1 << 20);
pub const HANDSHAKE_TIMEOUT_MS: Limit = Limit::new(10, 10_000, 600_000);
pub const PING_INTERVAL_MS: Limit = Limit::new(10, 10_000, 600_000);
pub const PONG_TIMEOUT_MS: Limit = Limit::new(10, 30_000, 3_600_000);
pub const FRAME_BYTES_MAX: Limit = Limit::new(64, wire::limits::CLIENT_FRAME_BYTES_MAX as u64, 16 * MIB);
pub const FRAMES_PER_SECOND_MAX: Limit = Limit::new(0, 200, 1_000_000);
pub const QUEUE_BYTES_MAX: Limit = Limit::new(KIB, MIB, 256 * MIB);
pub const ALLOWED_ORIGINS_MAX: usize = 64;
/// How much later than its outputs an input may be on the disk.
pub const DURABILITY_MS: Limit = Limit::new(1, 100, 60_000);
pub const SNAPSHOT_INTERVAL_MS: Limit = Limit::new(100, 60_000, 86_400_000);
pub const SNAPSHOT_JOURNAL_BYTES: Limit = Limit::new(64 * KIB, 64 * MIB, 4096 * MIB);
pub const TERMINATE_GRACE_MS: Limit = Limit::new(0, 3_000, 60_000);
pub const PLUGIN_BYTES_MAX: Limit = Limit::new(4 * KIB, 256 * MIB, 4096 * MIB);
pub const REWRITE_TIMEOUT_MS: Limit = Limit::new(10, 30_000, 60_000);
pub const REWRITE_BYTES_MAX: Limit = Limit::new(MIB, 4096 * MIB, 1 << 40);
/// Twice as much and more is in the memory of the child that tries a version on copies of the rooms.
pub const REHEARSAL_BYTES_MAX: Limit = Limit::new(0, 256 * MIB, 1024 * MIB);
pub const PROBE_TIMEOUT_MS: Limit = Limit::new(10, 2_000, 60_000);
pub const REQUEST_BODY_BYTES_MAX: Limit = Limit::new(1, MIB, 64 * MIB);
pub const REQUEST_TIMEOUT_MS: Limit = Limit::new(1, 5_000, 60_000);
/// A longer one would keep more inputs than a busy room may, and so be confirmed early.
pub const PROBATION: TimeLimit = TimeLimit::new(0, 10_000, 600_000);
pub const WATCHDOG: TimeLimit = TimeLimit::new(0, 5_000, 600_000);
pub const WATCHDOG_RESTART: TimeLimit = TimeLimit::new(0, 30_000, 3_600_000);

/// What is added to the longest wait that was promised, before an ending engine cuts connections.
const END_MARGIN: Duration = Duration::from_secs(1);

// A request waits for at least one tick, so a deadline below the slowest tick would refuse healthy rooms by default.
const _: () = assert!(REQUEST_TIMEOUT_MS.default > 1000);
// Each bound fits the type of its field, and TOML's integers.
const _: () = assert!(PLAYERS_MAX.max <= usize::MAX as u64);
const _: () = assert!(CONNECTIONS_MAX.max <= u32::MAX as u64);
const _: () = assert!(FRAMES_PER_SECOND_MAX.max <= u32::MAX as u64);
const _: () = assert!(FRAME_BYTES_MAX.max <= usize::MAX as u64);
const _: () = assert!(QUEUE_BYTES_MAX.max <= usize::MAX as u64);
const _: () = assert!(TICK_HZ.max <= u32::MAX as u64 && ROOM_THREADS.max <= usize::MAX as u64);
const _: () = assert!(REQUEST_BODY_BYTES_MAX.max <= usize::MAX as u64 && PLUGIN_BYTES_MAX.max <= i64::MAX as u64);
// A room, its rewritten tables, and what `upgraded` makes of them.
const _: () = assert!(3 * REHEARSAL_BYTES_MAX.max < crate::loader::probe::CHILD_MEMORY_BYTES_MAX);
const _: () = assert!(REWRITE_BYTES_MAX.max <= usize::MAX as u64 && REHEARSAL_BYTES_MAX.max <= REWRITE_BYTES_MAX.max);

/// What a player needs to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum AuthKind {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "secret")]
    Secret,
    #[serde(rename = "jwt-hs256")]
    JwtHs256,
    #[serde(rename = "jwt-eddsa")]
    JwtEdDsa,
}

impl fmt::Display for AuthKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            AuthKind::None => "\"none\"",
            AuthKind::Secret => "\"secret\"",
            AuthKind::JwtHs256 => "\"jwt-hs256\"",
            AuthKind::JwtEdDsa => "\"jwt-eddsa\"",
        })
    }
}

/// The whole config, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub listen: SocketAddr,
    pub plugins: PathBuf,
    pub data: PathBuf,
    /// Whether what is kept in `data` is moved aside first. On the command line only.
    pub fresh: bool,
    /// The name or file of the version to start on; `None` is the highest in `plugins`.
    pub logic: Option<String>,
    /// What rooms that are kept may lose where the version to start on takes them over. On the command line only.
    pub drops: Vec<String>,
    /// 0: rooms do not tick.
    pub tick_hz: u32,
    /// Made at start; at least one, none twice.
    pub rooms: Vec<RoomName>,
    pub room_threads: usize,
    /// Seats of a room for which nothing else is said.
    pub players_max: usize,
    /// Whether a player who finds no room gets one opened.
    pub rooms_on_demand: bool,
    /// How long a room that goes when it is empty stays so.
    pub room_linger: Duration,
    /// How long a room that ends goes on for those who are in.
    pub terminate_grace: Duration,
    /// How long a player who has lost the connection is awaited back.
    pub away_grace: Duration,
    /// Who may join.
    pub auth: AuthKind,
    /// The file of the key that credentials are checked with.
    pub auth_key: Option<PathBuf>,
    /// `Origin` values of pages that may open a WebSocket, beside those of this machine's addresses and of `allowed_hosts`.
    pub allowed_origins: Vec<String>,
    /// Connections of players at a time.
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    /// From a connection's beginning to the head of a request, or to the first frame of a player.
    pub handshake_timeout: Duration,
    pub ping_interval: Duration,
    /// How long a player's connection may be silent.
    pub pong_timeout: Duration,
    /// The longest frame of a player.
    pub frame_bytes_max: usize,
    /// 0: as many as they like.
    pub frames_per_second_max: u32,
    /// What may wait for one player to read it.
    pub queue_bytes_max: usize,
    /// Whether players and visitors see the text and the place of a logic's fault.
    pub show_faults: bool,
    /// When outputs may leave.
    pub durability: Durability,
    /// A snapshot of a room is made after this time, or so many bytes of records.
    pub snapshot_interval: Duration,
    pub snapshot_journal_bytes: u64,
    pub log: LogFormat,
    /// `Host` values beside the names of this machine. Pages from there may open a WebSocket.
    pub allowed_hosts: Vec<String>,
    pub plugin_bytes_max: u64,
    pub probe_timeout: Duration,
    pub rewrite_timeout: Duration,
    pub rewrite_bytes_max: usize,
    /// How large the rooms are together on which a version is tried before it is loaded; 0: it is tried on none.
    pub rehearsal_bytes_max: usize,
    pub request_body_bytes_max: usize,
    pub request_timeout: Duration,
    /// How long a version is on trial after its swap; zero: it is confirmed at once.
    pub probation: Duration,
    /// After which a callback that does not return is told; zero: never.
    pub watchdog: Duration,
    /// After which the engine starts anew because of it; zero: never. Only with a journal.
    pub watchdog_restart: Duration,
}

/// What the command line says; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub plugins: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub logic: Option<String>,
    pub log: Option<LogFormat>,
    pub probation: Option<Duration>,
    pub fresh: bool,
    /// Whatever the file says.
    pub show_faults: bool,
    pub drops: Vec<String>,
}

/// Why there is no config. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config file {file} cannot be read: {source}; give another --config, or none for the defaults")]
    Read { file: String, source: std::io::Error },
    /// The file that is read unasked: to give none would not help.
    #[error("config file {file} cannot be read: {source}; remove it for the defaults, or give another with --config")]
    ReadUnasked { file: String, source: std::io::Error },
    #[error("{file} line {line}: {message}, in {found:?}")]
    Syntax { file: String, line: usize, message: String, found: String },
    #[error("{file} line {line}: unknown key {key:?}; accepted are {}", file::keys())]
    UnknownKey { file: String, line: usize, key: String },
    #[error("{file} line {line}: {key} = {found} is not accepted; accepted is {accepted}")]
    Value { file: String, line: usize, key: String, found: String, accepted: String },
    #[error(
        "{file}: pong_timeout_ms = {} is not accepted beside ping_interval_ms = {}; accepted is more than that, for a client that \
         only answers pings would be silent for too long", .pong_timeout.as_millis(), .ping_interval.as_millis()
    )]
    PongBeforePing { file: String, ping_interval: Duration, pong_timeout: Duration },
}

impl Config {
    /// The config of this start.
    ///
    /// # Errors
    /// [`ConfigError`] if the file that `flags` names is missing, or if what it says is not accepted.
    pub fn load(flags: Flags) -> Result<Config, ConfigError> {
        let path = flags.config.as_deref();
        let mut config = match read(path.unwrap_or(Path::new(CONFIG_FILE)), path.is_some())? {
            Some((file, text)) => Config::parse(&file, &text)?,
            None => Config::default(),
        };
        config.override_by(flags);
        Ok(config)
    }

    /// The defaults, changed by the text of a config file. `file` is what errors call it.
    ///
    /// # Errors
    /// [`ConfigError`] at the first line that is not accepted.
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        file::apply(&mut config, file, text)?;
        if config.pong_timeout <= config.ping_interval {
            let (ping_interval, pong_timeout) = (config.ping_interval, config.pong_timeout);
            return Err(ConfigError::PongBeforePing { file: file.to_owned(), ping_interval, pong_timeout });
        }
        Ok(config)
    }

    /// How long an ending engine waits for what is in flight.
    #[must_use]
    pub fn end_grace(&self) -> Duration {
        self.request_timeout.max(self.probe_timeout) + END_MARGIN
    }

    fn override_by(&mut self, flags: Flags) {
        let Flags { config: _, listen, plugins, data, logic, log, probation, fresh, drops, show_faults } = flags;
        self.fresh = fresh;
        self.drops = drops;
        self.show_faults |= show_faults;
        self.listen = listen.unwrap_or(self.listen);
        self.log = log.unwrap_or(self.log);
        self.probation = probation.unwrap_or(self.probation);
        self.logic = logic.or(self.logic.take());
        if let Some(plugins) = plugins {
            self.plugins = plugins;
        }
        if let Some(data) = data {
            self.data = data;
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads_max = usize::try_from(ROOM_THREADS.max).expect("asserted above");
        Config {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 12345),
            plugins: PathBuf::from("plugins"),
            data: PathBuf::from("data"),
            fresh: false,
            logic: None,
            drops: Vec::new(),
            tick_hz: u32::try_from(TICK_HZ.default).expect("asserted above"),
            rooms: vec![RoomName::parse("main").expect("it is a name")],
            room_threads: cores.min(threads_max),
            players_max: usize::try_from(PLAYERS_MAX.default).expect("asserted above"),
            rooms_on_demand: false,
            room_linger: Duration::from_millis(ROOM_LINGER_MS.default),
            terminate_grace: Duration::from_millis(TERMINATE_GRACE_MS.default),
            away_grace: Duration::from_millis(AWAY_GRACE_MS.default),
            auth: AuthKind::None,
            auth_key: None,
            allowed_origins: Vec::new(),
            connections_max: usize::try_from(CONNECTIONS_MAX.default).expect("asserted above"),
            connections_per_address_max: 0,
            handshake_timeout: Duration::from_millis(HANDSHAKE_TIMEOUT_MS.default),
            ping_interval: Duration::from_millis(PING_INTERVAL_MS.default),
            pong_timeout: Duration::from_millis(PONG_TIMEOUT_MS.default),
            frame_bytes_max: usize::try_from(FRAME_BYTES_MAX.default).expect("asserted above"),
            frames_per_second_max: u32::try_from(FRAMES_PER_SECOND_MAX.default).expect("asserted above"),
            queue_bytes_max: usize::try_from(QUEUE_BYTES_MAX.default).expect("asserted above"),
            show_faults: false,
            durability: Durability::Within(Duration::from_millis(DURABILITY_MS.default)),
            snapshot_interval: Duration::from_millis(SNAPSHOT_INTERVAL_MS.default),
            snapshot_journal_bytes: SNAPSHOT_JOURNAL_BYTES.default,
            log: LogFormat::Auto,
            allowed_hosts: Vec::new(),
            plugin_bytes_max: PLUGIN_BYTES_MAX.default,
            probe_timeout: Duration::from_millis(PROBE_TIMEOUT_MS.default),
            rewrite_timeout: Duration::from_millis(REWRITE_TIMEOUT_MS.default),
            rewrite_bytes_max: usize::try_from(REWRITE_BYTES_MAX.default).unwrap_or(usize::MAX),
            rehearsal_bytes_max: usize::try_from(REHEARSAL_BYTES_MAX.default).expect("asserted above"),
            request_body_bytes_max: usize::try_from(REQUEST_BODY_BYTES_MAX.default).expect("asserted above"),
            request_timeout: Duration::from_millis(REQUEST_TIMEOUT_MS.default),
            probation: PROBATION.default,
            watchdog: WATCHDOG.default,
            watchdog_restart: WATCHDOG_RESTART.default,
        }
    }
}

/// The file's name and text, `None` if it is missing and nobody asked for it.
fn read(path: &Path, must_exist: bool) -> Result<Option<(String, String)>, ConfigError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((file, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(source) if must_exist => Err(ConfigError::Read { file, source }),
        Err(source) => Err(ConfigError::ReadUnasked { file, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\ndata = \"a\"\nlogic = \"game1\"\ntick_hz = 30\n").unwrap();
        let from_file = Config::load(Flags { config: Some(path.clone()), ..Flags::default() }).unwrap();
        let expected = Config {
            listen: "127.0.0.1:1".parse().unwrap(),
            data: "a".into(),
            logic: Some("game1".to_owned()),
            tick_hz: 30,
            ..Config::default()
        };
        assert_eq!(from_file, expected);

        let flags = Flags {
            config: Some(path),
            listen: Some("[::1]:2".parse().unwrap()),
            plugins: Some("p".into()),
            data: Some("b".into()),
            logic: Some("plugin2.so".to_owned()),
            log: Some(LogFormat::Json),
            probation: Some(Duration::ZERO),
            fresh: true,
            show_faults: true,
            drops: vec!["orbs".to_owned()],
        };
        let expected = Config {
            listen: "[::1]:2".parse().unwrap(),
            plugins: "p".into(),
            data: "b".into(),
            logic: Some("plugin2.so".to_owned()),
            fresh: true,
            show_faults: true,
            drops: vec!["orbs".to_owned()],
            log: LogFormat::Json,
            probation: Duration::ZERO,
            ..expected
        };
        assert_eq!(Config::load(flags).unwrap(), expected);
    }

    #[test]
    fn a_config_that_cannot_be_read_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, must_exist: bool, expected: &str| {
            let error = read(&folder.path().join(name), must_exist).unwrap_err().to_string();
            assert_eq!(error.replace(&folder.path().display().to_string(), "FOLDER"), expected);
        };
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        std::fs::write(folder.path().join("bytes.toml"), b"\xff").unwrap();
        check(
            "missing.toml",
            true,
            "config file FOLDER/missing.toml cannot be read: No such file or directory (os error 2); give another \
             --config, or none for the defaults",
        );
        check(
            "folder",
            true,
            "config file FOLDER/folder cannot be read: Is a directory (os error 21); give another --config, or none for \
             the defaults",
        );
        check(
            "bytes.toml",
            true,
            "config file FOLDER/bytes.toml cannot be read: stream did not contain valid UTF-8; give another --config, or \
             none for the defaults",
        );
        check(
            "bytes.toml",
            false,
            "config file FOLDER/bytes.toml cannot be read: stream did not contain valid UTF-8; remove it for the \
             defaults, or give another with --config",
        );
    }

    #[test]
    fn the_default_config_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join(CONFIG_FILE), false).unwrap().is_none());
    }
}
