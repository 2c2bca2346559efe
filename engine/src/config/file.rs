//! The text of `engine.toml`. Every error says the line, the key, what was found and what is accepted.
//!
//! Keys are read one by one instead of into a derived struct: that one would know the line of a wrong value, but neither
//! its key nor its bounds.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{
    ALLOWED_HOSTS_MAX, ALLOWED_ORIGINS_MAX, AWAY_GRACE_MS, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, Config,
    ConfigError, DURABILITY_MS, FRAME_BYTES_MAX, FRAMES_PER_SECOND_MAX, HANDSHAKE_TIMEOUT_MS, Limit, PING_INTERVAL_MS,
    PLAYERS_MAX, PLUGIN_BYTES_MAX, PONG_TIMEOUT_MS, PROBATION, PROBE_TIMEOUT_MS, QUEUE_BYTES_MAX, REHEARSAL_BYTES_MAX,
    REQUEST_BODY_BYTES_MAX, REQUEST_TIMEOUT_MS, REWRITE_BYTES_MAX, REWRITE_TIMEOUT_MS, ROOM_LINGER_MS, ROOM_THREADS,
    ROOMS_MAX, SNAPSHOT_INTERVAL_MS, SNAPSHOT_JOURNAL_BYTES, TERMINATE_GRACE_MS, TICK_HZ, TimeLimit, WATCHDOG,
    WATCHDOG_RESTART,
};
use crate::journal::Durability;
use crate::rooms::RoomName;

const KEYS: [&str; 39] = [
    "listen",
    "plugins",
    "data",
    "logic",
    "tick_hz",
    "rooms",
    "room_threads",
    "players_max",
    "rooms_on_demand",
    "room_linger_ms",
    "terminate_grace_ms",
    "away_grace_ms",
    "connections_max",
    "connections_per_address_max",
    "handshake_timeout_ms",
    "ping_interval_ms",
    "pong_timeout_ms",
    "frame_bytes_max",
    "frames_per_second_max",
    "queue_bytes_max",
    "auth",
    "auth_key",
    "allowed_origins",
    "show_faults",
    "durability",
    "snapshot_interval_ms",
    "snapshot_journal_bytes",
    "log",
    "allowed_hosts",
    "plugin_bytes_max",
    "probe_timeout_ms",
    "rewrite_timeout_ms",
    "rewrite_bytes_max",
    "rehearsal_bytes_max",
    "request_body_bytes_max",
    "request_timeout_ms",
    "probation",
    "watchdog",
    "watchdog_restart",
];

/// The most of the file that an error shows.
const FOUND_CHARS_MAX: usize = 60;

pub(super) fn keys() -> String {
    KEYS.join(", ")
}

/// Changes `config` by what `text` says; `file` is what errors call it.
pub(super) fn apply(config: &mut Config, file: &str, text: &str) -> Result<(), ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        ConfigError::Syntax {
            file: file.to_owned(),
            line,
            message: error.message().replace('\n', " "),
            found: on_one_line(text.lines().nth(line - 1).unwrap_or("")),
        }
    })?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    // The table is ordered by key; the first error told is the first in the file.
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let line = line_of(text, key.span().start);
        let span = value.span();
        set(config, key.get_ref(), value).map_err(|refused| match refused {
            Refused::Key => ConfigError::UnknownKey { file: file.to_owned(), line, key: key.get_ref().to_string() },
            Refused::Value => ConfigError::Value {
                file: file.to_owned(),
                line,
                key: key.get_ref().to_string(),
                found: on_one_line(&text[span]),
                accepted: accepted(key.get_ref()),
            },
        })?;
    }
    Ok(())
}

enum Refused {
    Key,
    Value,
}

type Value<'text> = Spanned<DeValue<'text>>;

fn set(config: &mut Config, key: &str, value: Value<'_>) -> Result<(), Refused> {
    match key {
        "listen" => config.listen = read::<SocketAddr>(value)?,
        "plugins" => config.plugins = PathBuf::from(text(value)?),
        "data" => config.data = PathBuf::from(text(value)?),
        "logic" => config.logic = Some(text(value)?),
        "tick_hz" => config.tick_hz = number(value, TICK_HZ)?,
        "rooms" => config.rooms = room_names(value)?,
        "room_threads" => config.room_threads = number(value, ROOM_THREADS)?,
        "players_max" => config.players_max = number(value, PLAYERS_MAX)?,
        "rooms_on_demand" => config.rooms_on_demand = read(value)?,
        "room_linger_ms" => config.room_linger = millis(value, ROOM_LINGER_MS)?,
        "terminate_grace_ms" => config.terminate_grace = millis(value, TERMINATE_GRACE_MS)?,
        "away_grace_ms" => config.away_grace = millis(value, AWAY_GRACE_MS)?,
        "connections_max" => config.connections_max = number(value, CONNECTIONS_MAX)?,
        "connections_per_address_max" => {
            config.connections_per_address_max = number(value, CONNECTIONS_PER_ADDRESS_MAX)?;
        }
        "handshake_timeout_ms" => config.handshake_timeout = millis(value, HANDSHAKE_TIMEOUT_MS)?,
        "ping_interval_ms" => config.ping_interval = millis(value, PING_INTERVAL_MS)?,
        "pong_timeout_ms" => config.pong_timeout = millis(value, PONG_TIMEOUT_MS)?,
        "frame_bytes_max" => config.frame_bytes_max = number(value, FRAME_BYTES_MAX)?,
        "frames_per_second_max" => config.frames_per_second_max = number(value, FRAMES_PER_SECOND_MAX)?,
        "queue_bytes_max" => config.queue_bytes_max = number(value, QUEUE_BYTES_MAX)?,
        "auth" => config.auth = read(value)?,
        "auth_key" => config.auth_key = Some(PathBuf::from(text(value)?)),
        "allowed_origins" => config.allowed_origins = list(value, 0, ALLOWED_ORIGINS_MAX, is_origin)?,
        "show_faults" => config.show_faults = read(value)?,
        "durability" => config.durability = durability(value)?,
        "snapshot_interval_ms" => {
            config.snapshot_interval = Duration::from_millis(number(value, SNAPSHOT_INTERVAL_MS)?);
        }
        "snapshot_journal_bytes" => config.snapshot_journal_bytes = number(value, SNAPSHOT_JOURNAL_BYTES)?,
        "log" => config.log = read(value)?,
        "allowed_hosts" => config.allowed_hosts = list(value, 0, ALLOWED_HOSTS_MAX, is_host)?,
        "plugin_bytes_max" => config.plugin_bytes_max = number(value, PLUGIN_BYTES_MAX)?,
        "probe_timeout_ms" => config.probe_timeout = millis(value, PROBE_TIMEOUT_MS)?,
        "rewrite_timeout_ms" => config.rewrite_timeout = millis(value, REWRITE_TIMEOUT_MS)?,
        "rewrite_bytes_max" => config.rewrite_bytes_max = number(value, REWRITE_BYTES_MAX)?,
        "rehearsal_bytes_max" => config.rehearsal_bytes_max = number(value, REHEARSAL_BYTES_MAX)?,
        "request_body_bytes_max" => config.request_body_bytes_max = number(value, REQUEST_BODY_BYTES_MAX)?,
        "request_timeout_ms" => config.request_timeout = millis(value, REQUEST_TIMEOUT_MS)?,
        "probation" => config.probation = time(value, PROBATION)?,
        "watchdog" => config.watchdog = time(value, WATCHDOG)?,
        "watchdog_restart" => config.watchdog_restart = time(value, WATCHDOG_RESTART)?,
        _ => return Err(Refused::Key),
    }
    Ok(())
}

fn accepted(key: &str) -> String {
    match key {
        "listen" => "an IP address and a port in quotes, such as \"127.0.0.1:12345\"".to_owned(),
        "plugins" | "data" => "a folder's path in quotes".to_owned(),
        "logic" => "the name or the file of a version in quotes, such as \"game1\" or \"plugin2.so\"".to_owned(),
        "tick_hz" => format!("{TICK_HZ} (0: no ticks)"),
        "rooms" => format!("a list of 1 to {ROOMS_MAX} different names, each {}", RoomName::accepted()),
        "room_threads" => ROOM_THREADS.to_string(),
        "players_max" => PLAYERS_MAX.to_string(),
        "rooms_on_demand" | "show_faults" => "true or false".to_owned(),
        "room_linger_ms" => ROOM_LINGER_MS.to_string(),
        "terminate_grace_ms" => TERMINATE_GRACE_MS.to_string(),
        "away_grace_ms" => AWAY_GRACE_MS.to_string(),
        "connections_max" => CONNECTIONS_MAX.to_string(),
        "connections_per_address_max" => format!("{CONNECTIONS_PER_ADDRESS_MAX} (0: no limit)"),
        "handshake_timeout_ms" => HANDSHAKE_TIMEOUT_MS.to_string(),
        "ping_interval_ms" => PING_INTERVAL_MS.to_string(),
        "pong_timeout_ms" => PONG_TIMEOUT_MS.to_string(),
        "frame_bytes_max" => FRAME_BYTES_MAX.to_string(),
        "frames_per_second_max" => format!("{FRAMES_PER_SECOND_MAX} (0: no limit)"),
        "queue_bytes_max" => QUEUE_BYTES_MAX.to_string(),
        "auth" => "\"none\", \"secret\", \"jwt-hs256\" or \"jwt-eddsa\"".to_owned(),
        "auth_key" => "a file's path in quotes".to_owned(),
        "allowed_origins" => format!(
            "a list of at most {ALLOWED_ORIGINS_MAX} different origins in lower case, such as \
             [\"https://game.example.org\", \"http://10.0.0.5:8080\"]"
        ),
        "durability" => {
            format!("\"tick\", \"<n>ms\" with <n> from {} to {}, or \"off\"", DURABILITY_MS.min, DURABILITY_MS.max)
        }
        "snapshot_interval_ms" => SNAPSHOT_INTERVAL_MS.to_string(),
        "snapshot_journal_bytes" => SNAPSHOT_JOURNAL_BYTES.to_string(),
        "log" => "\"auto\", \"human\" or \"json\"".to_owned(),
        "allowed_hosts" => format!(
            "a list of at most {ALLOWED_HOSTS_MAX} different Host values in lower case, such as \
             [\"game.example.org\", \"10.0.0.5:12345\"]"
        ),
        "plugin_bytes_max" => PLUGIN_BYTES_MAX.to_string(),
        "probe_timeout_ms" => PROBE_TIMEOUT_MS.to_string(),
        "rewrite_timeout_ms" => REWRITE_TIMEOUT_MS.to_string(),
        "rewrite_bytes_max" => REWRITE_BYTES_MAX.to_string(),
        "rehearsal_bytes_max" => REHEARSAL_BYTES_MAX.to_string(),
        "request_body_bytes_max" => REQUEST_BODY_BYTES_MAX.to_string(),
        "request_timeout_ms" => REQUEST_TIMEOUT_MS.to_string(),
        "watchdog" => format!("{WATCHDOG}, in quotes (0s: never)"),
        "watchdog_restart" => format!("{WATCHDOG_RESTART}, in quotes (0s: never)"),
        "probation" => format!("{PROBATION}, in quotes (0s: a version is confirmed at once)"),
        _ => unreachable!("only a key that `set` knows has a value that it can refuse: {key}"),
    }
}

fn read<'text, T: Deserialize<'text>>(value: Value<'text>) -> Result<T, Refused> {
    T::deserialize(ValueDeserializer::from(value)).map_err(|_| Refused::Value)
}

fn durability(value: Value<'_>) -> Result<Durability, Refused> {
    match text(value)?.as_str() {
        "tick" => Ok(Durability::Tick),
        "off" => Ok(Durability::Off),
        other => {
            let ms = other.strip_suffix("ms").and_then(|ms| ms.parse().ok()).filter(|ms| DURABILITY_MS.accepts(*ms));
            ms.map(|ms| Durability::Within(Duration::from_millis(ms))).ok_or(Refused::Value)
        }
    }
}

fn text(value: Value<'_>) -> Result<String, Refused> {
    let text: String = read(value)?;
    if text.is_empty() { Err(Refused::Value) } else { Ok(text) }
}

fn number<T: TryFrom<u64>>(value: Value<'_>, limit: Limit) -> Result<T, Refused> {
    let number: u64 = read(value)?;
    if !limit.accepts(number) {
        return Err(Refused::Value);
    }
    T::try_from(number).map_err(|_| Refused::Value)
}

fn millis(value: Value<'_>, limit: Limit) -> Result<Duration, Refused> {
    number(value, limit).map(Duration::from_millis)
}

fn time(value: Value<'_>, limit: TimeLimit) -> Result<Duration, Refused> {
    limit.parse(&text(value)?).ok_or(Refused::Value)
}

fn list(value: Value<'_>, min: usize, max: usize, is_accepted: fn(&str) -> bool) -> Result<Vec<String>, Refused> {
    let list: Vec<String> = read(value)?;
    let mut seen = HashSet::new();
    let all_accepted = list.iter().all(|item| is_accepted(item) && seen.insert(item));
    if all_accepted && (min..=max).contains(&list.len()) { Ok(list) } else { Err(Refused::Value) }
}

fn room_names(value: Value<'_>) -> Result<Vec<RoomName>, Refused> {
    let names = list(value, 1, ROOMS_MAX, |name| RoomName::parse(name).is_some())?;
    Ok(names.iter().filter_map(|name| RoomName::parse(name)).collect())
}

/// The characters of a name, an address and a port; a wildcard is none of them.
fn is_host(host: &str) -> bool {
    let is_accepted = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.bytes().all(is_accepted)
}

/// As a browser sends it: scheme and host, and the port unless it is the scheme's own. `null`, which is every page without an
/// origin of its own, may be named too.
fn is_origin(origin: &str) -> bool {
    origin == "null"
        || origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && is_host(host)
        })
}

/// Counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn on_one_line(found: &str) -> String {
    let printable = |char: char| if char.is_control() { ' ' } else { char };
    let mut shown: String = found.trim().chars().map(printable).collect();
    if let Some((end, _)) = shown.char_indices().nth(FOUND_CHARS_MAX) {
        shown.replace_range(end.., "…");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// One error line for each text.
    fn check_refused(texts: &[&str], expected: Expect) {
        let mut lines = String::new();
        for text in texts {
            let error = Config::parse("engine.toml", text).expect_err(text).to_string();
            assert!(!error.contains('\n'), "more than one line: {error}");
            lines += &(error + "\n");
        }
        expected.assert_eq(&lines);
    }

    const EXAMPLE: &str = include_str!("../../../engine.example.toml");

    #[test]
    fn the_example_says_the_defaults() {
        assert_eq!(Config::parse("engine.example.toml", EXAMPLE).unwrap(), Config::default());
        for key in KEYS {
            let is_shown = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            assert!(EXAMPLE.lines().any(is_shown), "engine.example.toml does not show {key}");
        }
    }

    #[test]
    fn what_the_example_comments_out_is_accepted() {
        let is_key = |line: &str| KEYS.iter().any(|key| line.starts_with(&format!("# {key} = ")));
        let commented: Vec<_> = EXAMPLE.lines().filter(|line| is_key(line)).map(|line| &line[2..]).collect();
        let config = Config::parse("engine.example.toml", &commented.join("\n")).unwrap();
        assert!(config.logic.is_some(), "{commented:?}");
    }

    #[test]
    fn every_key_is_set() {
        let text = r#"
            listen = "[::1]:0"
            plugins = "p"
            data = "d"
            logic = "game1"
            tick_hz = 0
            rooms = ["a", "b-2_c.d"]
            room_threads = 3
            players_max = 65536
            rooms_on_demand = true
            room_linger_ms = 0
            terminate_grace_ms = 60000
            away_grace_ms = 0
            connections_max = 1
            connections_per_address_max = 1
            handshake_timeout_ms = 10
            ping_interval_ms = 10
            pong_timeout_ms = 600000
            frame_bytes_max = 64
            frames_per_second_max = 0
            queue_bytes_max = 1024
            auth = "jwt-eddsa"
            auth_key = "k.pem"
            allowed_origins = ["https://game.example.org", "http://10.0.0.5:8080", "null"]
            show_faults = true
            durability = "tick"
            snapshot_interval_ms = 100
            snapshot_journal_bytes = 65536
            log = "json"
            allowed_hosts = ["game.example.org", "[2001:db8::1]:80"]
            plugin_bytes_max = 4096
            probe_timeout_ms = 10
            rewrite_timeout_ms = 20
            rewrite_bytes_max = 1048576
            rehearsal_bytes_max = 0
            request_body_bytes_max = 1
            request_timeout_ms = 60000
            probation = "250ms"
            watchdog = "0s"
            watchdog_restart = "2min"
        "#;
        let expected = Config {
            listen: "[::1]:0".parse().unwrap(),
            plugins: "p".into(),
            data: "d".into(),
            fresh: false,
            logic: Some("game1".to_owned()),
            drops: Vec::new(),
            tick_hz: 0,
            rooms: ["a", "b-2_c.d"].iter().filter_map(|name| RoomName::parse(name)).collect(),
            room_threads: 3,
            players_max: 65_536,
            rooms_on_demand: true,
            room_linger: Duration::ZERO,
            terminate_grace: Duration::from_secs(60),
            away_grace: Duration::ZERO,
            connections_max: 1,
            connections_per_address_max: 1,
            handshake_timeout: Duration::from_millis(10),
            ping_interval: Duration::from_millis(10),
            pong_timeout: Duration::from_secs(600),
            frame_bytes_max: 64,
            frames_per_second_max: 0,
            queue_bytes_max: 1024,
            auth: crate::config::AuthKind::JwtEdDsa,
            auth_key: Some("k.pem".into()),
            allowed_origins: ["https://game.example.org", "http://10.0.0.5:8080", "null"].map(str::to_owned).to_vec(),
            show_faults: true,
            durability: Durability::Tick,
            snapshot_interval: Duration::from_millis(100),
            snapshot_journal_bytes: 65_536,
            log: crate::logs::LogFormat::Json,
            allowed_hosts: vec!["game.example.org".to_owned(), "[2001:db8::1]:80".to_owned()],
            plugin_bytes_max: 4096,
            probe_timeout: Duration::from_millis(10),
            rewrite_timeout: Duration::from_millis(20),
            rewrite_bytes_max: 1 << 20,
            rehearsal_bytes_max: 0,
            request_body_bytes_max: 1,
            request_timeout: Duration::from_secs(60),
            probation: Duration::from_millis(250),
            watchdog: Duration::ZERO,
            watchdog_restart: Duration::from_secs(120),
        };
        assert_eq!(Config::parse("engine.toml", text).unwrap(), expected);
    }

    #[test]
    fn unknown_keys_and_bad_syntax_are_told_with_their_line() {
        check_refused(
            &[
                "\n# a comment\nlisen = \"127.0.0.1:1\"\n",
                "[server]\nlisten = \"127.0.0.1:1\"\n",
                "data = \"a\"\ndata = \"b\"\n",
                "tick_hz = \n",
                "tick_hz = 1\nrooms = [\"a\"",
                "data = \"a\n",
            ],
            expect![[r#"
                engine.toml line 3: unknown key "lisen"; accepted are listen, plugins, data, logic, tick_hz, rooms, room_threads, players_max, rooms_on_demand, room_linger_ms, terminate_grace_ms, away_grace_ms, connections_max, connections_per_address_max, handshake_timeout_ms, ping_interval_ms, pong_timeout_ms, frame_bytes_max, frames_per_second_max, queue_bytes_max, auth, auth_key, allowed_origins, show_faults, durability, snapshot_interval_ms, snapshot_journal_bytes, log, allowed_hosts, plugin_bytes_max, probe_timeout_ms, rewrite_timeout_ms, rewrite_bytes_max, rehearsal_bytes_max, request_body_bytes_max, request_timeout_ms, probation, watchdog, watchdog_restart
                engine.toml line 1: unknown key "server"; accepted are listen, plugins, data, logic, tick_hz, rooms, room_threads, players_max, rooms_on_demand, room_linger_ms, terminate_grace_ms, away_grace_ms, connections_max, connections_per_address_max, handshake_timeout_ms, ping_interval_ms, pong_timeout_ms, frame_bytes_max, frames_per_second_max, queue_bytes_max, auth, auth_key, allowed_origins, show_faults, durability, snapshot_interval_ms, snapshot_journal_bytes, log, allowed_hosts, plugin_bytes_max, probe_timeout_ms, rewrite_timeout_ms, rewrite_bytes_max, rehearsal_bytes_max, request_body_bytes_max, request_timeout_ms, probation, watchdog, watchdog_restart
                engine.toml line 2: duplicate key, in "data = \"b\""
                engine.toml line 1: string values must be quoted, expected literal string, in "tick_hz ="
                engine.toml line 2: unclosed array, expected `]`, in "rooms = [\"a\""
                engine.toml line 1: invalid basic string, expected `"`, in "data = \"a"
            "#]],
        );
    }

    #[test]
    fn the_first_wrong_line_is_the_one_told() {
        check_refused(
            &["tick_hz = -1\ndata = 1\n"],
            expect![[r#"
            engine.toml line 1: tick_hz = -1 is not accepted; accepted is a whole number from 0 to 1000 (0: no ticks)
        "#]],
        );
    }

    #[test]
    fn what_contradicts_the_rest_is_told_with_both() {
        check_refused(
            &["pong_timeout_ms = 10000", "ping_interval_ms = 50\npong_timeout_ms = 20"],
            expect![[r#"
                engine.toml: pong_timeout_ms = 10000 is not accepted beside ping_interval_ms = 10000; accepted is more than that, for a client that only answers pings would be silent for too long
                engine.toml: pong_timeout_ms = 20 is not accepted beside ping_interval_ms = 50; accepted is more than that, for a client that only answers pings would be silent for too long
            "#]],
        );
    }

    #[test]
    fn each_wrong_value_is_told_with_what_is_accepted() {
        check_refused(
            &[
                "listen = \"localhost:1\"",
                "listen = 12345",
                "plugins = \"\"",
                "data = [\n1,\n2]",
                "logic = 1002",
                "tick_hz = 1001",
                "tick_hz = 2.5",
                "rooms = []",
                "rooms = [\"a\", \"a\"]",
                "rooms = [\"a b\"]",
                "rooms = [\"A\"]",
                "room_threads = 0",
                "players_max = 0",
                "rooms_on_demand = 1",
                "room_linger_ms = -1",
                "terminate_grace_ms = 60001",
                "frame_bytes_max = 63",
                "frames_per_second_max = 1000001",
                "auth = \"basic\"",
                "auth_key = \"\"",
                "allowed_origins = [\"game.example.org\"]",
                "durability = \"always\"",
                "durability = \"0ms\"",
                "snapshot_interval_ms = 99",
                "log = \"xml\"",
                "allowed_hosts = [\"*\"]",
                "plugin_bytes_max = 0",
                "probe_timeout_ms = 9",
                "request_body_bytes_max = 0",
                "request_timeout_ms = 99999999999999999999",
                "probation = \"11min\"",
                "probation = 10",
            ],
            expect![[r#"
                engine.toml line 1: listen = "localhost:1" is not accepted; accepted is an IP address and a port in quotes, such as "127.0.0.1:12345"
                engine.toml line 1: listen = 12345 is not accepted; accepted is an IP address and a port in quotes, such as "127.0.0.1:12345"
                engine.toml line 1: plugins = "" is not accepted; accepted is a folder's path in quotes
                engine.toml line 1: data = [ 1, 2] is not accepted; accepted is a folder's path in quotes
                engine.toml line 1: logic = 1002 is not accepted; accepted is the name or the file of a version in quotes, such as "game1" or "plugin2.so"
                engine.toml line 1: tick_hz = 1001 is not accepted; accepted is a whole number from 0 to 1000 (0: no ticks)
                engine.toml line 1: tick_hz = 2.5 is not accepted; accepted is a whole number from 0 to 1000 (0: no ticks)
                engine.toml line 1: rooms = [] is not accepted; accepted is a list of 1 to 1024 different names, each 1 to 64 of a-z, 0-9, '.', '_' and '-', without a leading dot
                engine.toml line 1: rooms = ["a", "a"] is not accepted; accepted is a list of 1 to 1024 different names, each 1 to 64 of a-z, 0-9, '.', '_' and '-', without a leading dot
                engine.toml line 1: rooms = ["a b"] is not accepted; accepted is a list of 1 to 1024 different names, each 1 to 64 of a-z, 0-9, '.', '_' and '-', without a leading dot
                engine.toml line 1: rooms = ["A"] is not accepted; accepted is a list of 1 to 1024 different names, each 1 to 64 of a-z, 0-9, '.', '_' and '-', without a leading dot
                engine.toml line 1: room_threads = 0 is not accepted; accepted is a whole number from 1 to 256
                engine.toml line 1: players_max = 0 is not accepted; accepted is a whole number from 1 to 65536
                engine.toml line 1: rooms_on_demand = 1 is not accepted; accepted is true or false
                engine.toml line 1: room_linger_ms = -1 is not accepted; accepted is a whole number from 0 to 86400000
                engine.toml line 1: terminate_grace_ms = 60001 is not accepted; accepted is a whole number from 0 to 60000
                engine.toml line 1: frame_bytes_max = 63 is not accepted; accepted is a whole number from 64 to 16777216
                engine.toml line 1: frames_per_second_max = 1000001 is not accepted; accepted is a whole number from 0 to 1000000 (0: no limit)
                engine.toml line 1: auth = "basic" is not accepted; accepted is "none", "secret", "jwt-hs256" or "jwt-eddsa"
                engine.toml line 1: auth_key = "" is not accepted; accepted is a file's path in quotes
                engine.toml line 1: allowed_origins = ["game.example.org"] is not accepted; accepted is a list of at most 64 different origins in lower case, such as ["https://game.example.org", "http://10.0.0.5:8080"]
                engine.toml line 1: durability = "always" is not accepted; accepted is "tick", "<n>ms" with <n> from 1 to 60000, or "off"
                engine.toml line 1: durability = "0ms" is not accepted; accepted is "tick", "<n>ms" with <n> from 1 to 60000, or "off"
                engine.toml line 1: snapshot_interval_ms = 99 is not accepted; accepted is a whole number from 100 to 86400000
                engine.toml line 1: log = "xml" is not accepted; accepted is "auto", "human" or "json"
                engine.toml line 1: allowed_hosts = ["*"] is not accepted; accepted is a list of at most 64 different Host values in lower case, such as ["game.example.org", "10.0.0.5:12345"]
                engine.toml line 1: plugin_bytes_max = 0 is not accepted; accepted is a whole number from 4096 to 4294967296
                engine.toml line 1: probe_timeout_ms = 9 is not accepted; accepted is a whole number from 10 to 60000
                engine.toml line 1: request_body_bytes_max = 0 is not accepted; accepted is a whole number from 1 to 67108864
                engine.toml line 1: request_timeout_ms = 99999999999999999999 is not accepted; accepted is a whole number from 1 to 60000
                engine.toml line 1: probation = "11min" is not accepted; accepted is a time from 0s to 10min, such as 10s, in quotes (0s: a version is confirmed at once)
                engine.toml line 1: probation = 10 is not accepted; accepted is a time from 0s to 10min, such as 10s, in quotes (0s: a version is confirmed at once)
            "#]],
        );
    }
}
