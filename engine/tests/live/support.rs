//! Plugins, built once for all tests; an engine of one's own; and a client that waits for what it wants to see.

use std::io::{BufRead, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, Pending, Reply};

/// For a test that hangs to fail instead; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

const LOG_BYTES_MAX: u64 = 1 << 28;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_engine");

/// A folder with the versions 1 and 2 of the game that ships with the engine.
pub(crate) fn game() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    BUILT.get_or_init(|| build(&["1", "2"], &[])).path()
}

/// A folder with the versions 1 to 5 of the moody logic.
pub(crate) fn moody() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let moody = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/moody");
    BUILT.get_or_init(|| build(&["1", "2", "3", "4", "5"], &["--crate", moody])).path()
}

/// A folder with the versions 1 to 6 of a logic whose tables differ.
pub(crate) fn tally() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let tally = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tally");
    BUILT.get_or_init(|| build(&["1", "2", "3", "4", "5", "6"], &["--crate", tally])).path()
}

/// A folder with the versions 1 and 2 of a logic that sends messages back.
pub(crate) fn echoing() -> &'static Path {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let bench = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/logic");
    BUILT.get_or_init(|| build(&["1", "2"], &["--crate", bench])).path()
}

fn build(versions: &[&str], options: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for version in versions {
        build_so(folder.path(), &[options, &[version]].concat());
    }
    folder
}

pub(crate) fn build_so(plugins: &Path, words: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/build_so.sh");
    let built = Command::new(script).args(["--dev", "--plugins"]).arg(plugins).args(words).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// Folders and a config of one's own.
pub(crate) struct Setup {
    folder: TempDir,
    config: String,
}

impl Setup {
    /// With these files of a folder that was built.
    pub(crate) fn new(built: &Path, files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        let setup = Self { folder, config: String::new() };
        files.iter().for_each(|file| setup.put(&built.join(file), file));
        setup
    }

    /// A line of the config.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.config += &format!("{line}\n");
        self
    }

    /// What a key of the config says from here on.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        let others = self.config.lines().filter(|line| line.split(' ').next() != Some(key));
        self.config = others.map(|line| format!("{line}\n")).collect();
        self.with(&format!("{key} = {value}"))
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Puts a file into the plugins folder in one step, as `scripts/build_so.sh` does.
    pub(crate) fn put(&self, from: &Path, name: &str) {
        let temporary = self.folder.path().join("new");
        std::fs::copy(from, &temporary).unwrap();
        std::fs::rename(temporary, self.plugins().join(name)).unwrap();
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let path = self.folder.path().join("engine.toml");
        let mut config = self.config.clone();
        // Versions are confirmed at once but where a test is about trials: most load one after the other. And all may take its time
        // on a machine that is busy with other tests.
        let defaults = [
            ("listen", "\"127.0.0.1:0\""),
            ("probation", "\"0s\""),
            ("show_faults", "true"),
            ("probe_timeout_ms", "60000"),
            ("rewrite_timeout_ms", "60000"),
            ("request_timeout_ms", "60000"),
            ("handshake_timeout_ms", "60000"),
            ("pong_timeout_ms", "600000"),
        ];
        for (key, value) in defaults {
            if !config.contains(key) {
                config += &format!("{key} = {value}\n");
            }
        }
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(BINARY);
        command.current_dir(self.folder.path()).args(words).stdin(Stdio::null());
        command
    }

    /// Runs a command of the engine to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command of the engine prints, which must succeed.
    #[track_caller]
    pub(crate) fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that fails, and gives the line that it fails with.
    pub(crate) fn failure(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{words:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        // The log comes before it, as JSON.
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('{')).collect();
        assert_eq!(lines.len(), 1, "{words:?} fails with one line: {text}");
        lines[0].replace(&self.folder.path().display().to_string(), "FOLDER")
    }

    /// A path in the folder that the engine runs in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start(self) -> Engine {
        self.start_as(&["serve"], &[])
    }

    /// As a command of the engine that serves.
    pub(crate) fn start_as(self, words: &[&str], envs: &[(&str, &str)]) -> Engine {
        let engine = self.start_to_die(words, envs);
        assert_ne!(engine.address.port(), 0, "not started\n{}", engine.log());
        engine
    }

    /// An engine that may end before it has said where it listens; its port is 0 then.
    pub(crate) fn start_to_die(self, words: &[&str], envs: &[(&str, &str)]) -> Engine {
        let mut engine = self.start_unheard(words, envs);
        let mut line = String::new();
        engine.stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        engine.address = address.unwrap_or(engine.address);
        engine
    }

    /// An engine that may never say where it listens; its port is 0.
    pub(crate) fn start_unheard(self, words: &[&str], envs: &[(&str, &str)]) -> Engine {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut process =
            self.command(words).envs(envs.iter().copied()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Engine { setup: self, process, stdout, address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

/// Whether this comes to be before patience ends.
pub(crate) fn in_time(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// A running engine, killed when the test is over, if it was not ended before.
pub(crate) struct Engine {
    pub(crate) setup: Setup,
    process: Child,
    /// Kept open, as a terminal is.
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Engine {
    /// The body of an answer that is a good one.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> String {
        let answer = self.ask(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        answer.body
    }

    pub(crate) fn ask(&self, target: &str) -> Reply {
        self.begin(target, "*/*").end()
    }

    pub(crate) fn patch(&self, target: &str, body: &str) -> Reply {
        self.begin_with("PATCH", target, "*/*", body).end()
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Reply {
        self.begin_with("POST", target, "*/*", body).end()
    }

    /// Loads a plugin that must be refused: status, code, reason, and the details a line each.
    #[track_caller]
    pub(crate) fn refusal(&self, target: &str) -> (u16, String, String) {
        let reply = self.begin(target, "application/json").end();
        (reply.status, reply.code(), reply.reason())
    }

    /// A request whose answer is waited for later.
    pub(crate) fn begin(&self, target: &str, accept: &str) -> Pending {
        self.begin_with("GET", target, accept, "")
    }

    fn begin_with(&self, method: &str, target: &str, accept: &str, body: &str) -> Pending {
        let (host, accept) = (format!("Host: {}", self.address), format!("Accept: {accept}"));
        client::begin(self.address, method, target, &[&host, &accept], body).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.get("/api/v1/status")).unwrap()
    }

    /// The value of a counter or a gauge, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        assert!(in_time(|| is_so(self)), "waited in vain: {what}\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        // What stands in for it may have no end.
        let log = std::fs::File::open(self.setup.folder.path().join("log")).unwrap().take(LOG_BYTES_MAX);
        std::io::read_to_string(log).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the process; its exit code, and the folders, which outlive it.
    pub(crate) fn ended(mut self) -> (Option<i32>, Setup) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log());
            std::thread::yield_now();
        };
        let empty = Setup { folder: tempfile::tempdir().unwrap(), config: String::new() };
        (status.code(), std::mem::replace(&mut self.setup, empty))
    }
}

impl Engine {
    /// Killed, in the middle of whatever it does.
    pub(crate) fn killed(self) -> Setup {
        self.signal(rustix::process::Signal::KILL);
        self.ended().1
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Ended already, or of no use any more.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
