//! What the tests of bad input ask of an engine: to refuse, to say why, and to be as it was.

use std::{fs, path::Path, process::Command};

use engine::status::Status;
use expect_test::Expect;

use super::traces::Traces;
use crate::client::{self, Pending, Reply};
use crate::support::{BINARY, Engine, Setup};

/// Rounds of asking until what is let go a moment later has been.
const PATIENCE_ROUNDS: usize = 10_000;

/// Serves this plugin, which is there under the name `base.so`, in the rooms `main` and `second`.
pub(crate) fn start(base: &[u8]) -> Engine {
    start_with(base, "")
}

/// The same with a line of the config.
pub(crate) fn start_with(base: &[u8], line: &str) -> Engine {
    let setup = Setup::new(Path::new(""), &[]).with("logic = \"base.so\"").with("rooms = [\"main\", \"second\"]");
    fs::write(setup.plugins().join("base.so"), base).unwrap();
    // A snapshot in the middle would have a journal go on in another file.
    setup.with("snapshot_interval_ms = 3600000").with(line).start()
}

impl Engine {
    /// Puts a plugin in place as `scripts/build_so.sh` does: whole, and under its name at once.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let temporary = self.setup.plugins().join(format!(".{name}.tmp"));
        fs::write(&temporary, bytes).unwrap();
        fs::rename(temporary, self.setup.plugins().join(name)).unwrap();
    }

    /// A request as a browser's address bar or curl sends it, JSON accepted, with further header lines.
    pub(super) fn send(&self, method: &str, target: &str, headers: &[&str]) -> Reply {
        let host = format!("Host: {}", self.address);
        self.send_bare(method, target, &[&[host.as_str(), "Accept: application/json"], headers].concat())
    }

    /// A request with no header lines but these.
    pub(super) fn send_bare(&self, method: &str, target: &str, headers: &[&str]) -> Reply {
        client::begin(self.address, method, target, headers, "")
            .and_then(Pending::try_end)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}; its log: {}", self.log()))
    }

    /// Which version answers in this room: `game1 1001`.
    #[track_caller]
    pub(super) fn hello_in(&self, room: &str) -> String {
        let text = self.get(&format!("/hello?room={room}"));
        let field = |name: &str| {
            let fields = text.trim_end().split(", ");
            fields.filter_map(|field| field.split_once('=')).find(|(found, _)| *found == name).expect(name).1
        };
        format!("{} {}", field("name"), field("version"))
    }

    /// Which version answers in every room.
    #[track_caller]
    pub(super) fn hello(&self) -> String {
        let (main, second) = (self.hello_in("main"), self.hello_in("second"));
        assert_eq!(main, second, "the rooms run different versions");
        main
    }

    /// `/load` as a person sees it: status and text.
    pub(super) fn load(&self, name: &str) -> (u16, String) {
        let answer = self.ask(&format!("/load?name={name}"));
        (answer.status, answer.body)
    }

    /// Loads what must be good.
    #[track_caller]
    pub(super) fn must_load(&self, name: &str) {
        assert_eq!(self.load(name), (200, "done\n".to_owned()), "{}", self.log());
    }

    pub(super) fn whole_status(&self) -> Status {
        let text = self.get("/api/v1/status");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A load of this query is refused like this, and nothing else has happened.
    #[track_caller]
    pub(super) fn check_query_refused(&self, query: &str, status: u16, code: &str, reason: Expect) {
        reason.assert_eq(&self.neutral(&self.load_refusal(query, status, code)));
    }

    /// A load of this plugin, and `engine check` of its file, are refused like this, and nothing else has happened.
    #[track_caller]
    pub(super) fn check_refused(&self, name: &str, status: u16, code: &str, reason: Expect) {
        reason.assert_eq(&self.neutral(&self.file_refusal(name, status, code)));
    }

    /// The same for what only a room can refuse, so that `engine check` finds nothing wrong with it.
    #[track_caller]
    pub(super) fn check_swap_refused(&self, name: &str, status: u16, code: &str, reason: Expect) {
        reason.assert_eq(&self.neutral(&self.load_refusal(&format!("?name={name}"), status, code)));
        let (good, told) = self.check_file(name);
        assert!(good, "engine check {name}: {told}");
    }

    /// As [`Engine::check_refused`], for a reason that is not always the same. Returns it.
    #[track_caller]
    pub(super) fn file_refusal(&self, name: &str, status: u16, code: &str) -> String {
        let reason = self.load_refusal(&format!("?name={name}"), status, code);
        let (good, told) = self.check_file(name);
        assert_eq!((good, self.neutral(told.trim_end())), (false, self.neutral(&reason)), "engine check {name}");
        reason
    }

    #[track_caller]
    fn load_refusal(&self, query: &str, status: u16, code: &str) -> String {
        let (hello, traces) = (self.hello(), self.traces());
        let reply = self.send("GET", &format!("/load{query}"), &[]);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{query}: {reply:?}\n{}", self.log());
        let reason = reply.reason();
        assert!(!reason.is_empty(), "{query}: {reply:?}");
        self.check_unharmed(&hello, &traces);
        reason
    }

    /// The version that answered before still does, and the process has neither gained nor lost anything.
    #[track_caller]
    pub(super) fn check_unharmed(&self, hello: &str, traces: &Traces) {
        assert_eq!(self.hello(), hello);
        assert_eq!(self.whole_status().engine.pid, self.pid());
        // A connection that was answered is let go a moment later.
        let is_as_before = (0..PATIENCE_ROUNDS).any(|_| {
            assert_eq!(self.hello(), hello);
            self.traces().is_as(traces)
        });
        assert!(is_as_before, "it had {traces:?}, and has {:?}", self.traces());
    }

    pub(super) fn traces(&self) -> Traces {
        Traces::of(self.pid())
    }

    /// What `engine check` says of a plugin: whether it is good, and in which words.
    fn check_file(&self, name: &str) -> (bool, String) {
        let output = Command::new(BINARY).arg("check").arg(self.setup.plugins().join(name)).output().unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Ends it as an operator does.
    #[track_caller]
    pub(super) fn end(self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.ended().0, Some(0));
    }

    /// Without what differs between two runs.
    pub(super) fn neutral(&self, text: &str) -> String {
        let text = text.replace(&self.setup.plugins().display().to_string(), "plugins");
        [" at tick ", "thread 'rehearsal' ("].iter().fold(text, |text, label| match text.split_once(label) {
            Some((before, after)) => {
                let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
                format!("{before}{label}N{after}")
            }
            None => text,
        })
    }
}
