//! What a child has said, and what it comes to with the way it ended.

use serde::de::DeserializeOwned;

use super::{
    ProbeEnd, ProbeFault,
    fault::After,
    words::{Line, Message, Step},
};

/// What a child has said so far.
#[derive(Debug)]
pub(super) struct Heard<T> {
    nonce: String,
    /// Where the line begins that has not come in whole, and how far its end has been looked for.
    line_start: usize,
    looked_to: usize,
    pub(super) is_ready: bool,
    pub(super) loaded: Option<T>,
    /// What it does; none before the first room.
    pub(super) step: Option<Step>,
    /// The table of that room whose migrations it began with last; empty before the first.
    table: String,
    /// Rooms that it has begun with.
    rooms_begun: usize,
    /// Rooms that have taken the version.
    pub(super) rooms_done: usize,
    is_rehearsed: bool,
    /// What it found wrong.
    word: Option<Message<T>>,
}

impl<T: DeserializeOwned> Heard<T> {
    pub(super) fn new(nonce: String) -> Self {
        Self {
            nonce,
            line_start: 0,
            looked_to: 0,
            is_ready: false,
            loaded: None,
            step: None,
            table: String::new(),
            rooms_begun: 0,
            rooms_done: 0,
            is_rehearsed: false,
            word: None,
        }
    }

    /// Looks at the lines that have come in since the last time; `kept` is all that ever came. Whether the child has gone on to
    /// something for which it has time of its own.
    pub(super) fn look(&mut self, kept: &[u8]) -> bool {
        let mut has_gone_on = false;
        while let Some(len) = kept[self.looked_to..].iter().position(|&byte| byte == b'\n') {
            let line = &kept[self.line_start..self.looked_to + len];
            self.looked_to += len + 1;
            self.line_start = self.looked_to;
            if let Ok(line) = serde_json::from_slice::<Line<T>>(line)
                && line.nonce == self.nonce
            {
                // All tables have their time together.
                has_gone_on |= !matches!(line.message, Message::Migrating(_));
                self.hear(line.message);
            }
        }
        self.looked_to = kept.len();
        has_gone_on
    }

    fn hear(&mut self, message: Message<T>) {
        match message {
            Message::Ready => self.is_ready = true,
            Message::Loaded(loaded) => self.loaded = Some(loaded),
            Message::Doing(step) => {
                self.rooms_begun += usize::from(step == Step::Read);
                self.rooms_done += usize::from(step == Step::Wait);
                self.table.clear();
                self.step = Some(step);
            }
            Message::Migrating(table) => self.table = table,
            Message::Rehearsed => self.is_rehearsed = true,
            word => self.word = Some(word),
        }
    }

    /// Whether it has said that something is wrong.
    pub(super) fn is_refused(&self) -> bool {
        self.word.is_some()
    }

    /// Whether it waits for a room, or for the word that there is none.
    pub(super) fn is_waiting(&self) -> bool {
        self.loaded.is_some() && matches!(self.step, None | Some(Step::Wait)) && !self.is_refused()
    }

    /// Decides by the child's word and by how it ended; both must be good. `rooms` are those that it was given.
    pub(super) fn judge(self, end: ProbeEnd, rooms: &[String]) -> Result<T, ProbeFault> {
        let Self { is_ready, loaded, step, table, rooms_begun, is_rehearsed, word, .. } = self;
        let printed = String::new();
        let room = || rooms_begun.checked_sub(1).and_then(|number| rooms.get(number)).cloned().unwrap_or_default();
        let after = if rooms_begun > 0 { After::Rehearsing } else { After::Loading };
        match (is_ready, word, loaded) {
            (false, ..) => Err(ProbeFault::NotReady { end, printed }),
            // These have already refused it; how the process ended adds nothing.
            (_, Some(Message::Refused(reason)), _) => Err(ProbeFault::Refused { reason, printed }),
            (_, Some(Message::Threads(count)), _) => Err(ProbeFault::Threads { count, after, printed }),
            (_, Some(Message::Changed(change)), _) => Err(ProbeFault::Changed { change, after, printed }),
            (_, Some(Message::Failed(fault)), _) => {
                Err(ProbeFault::Rehearsal { room: room(), fault: Box::new(fault), printed })
            }
            (_, _, None) => Err(ProbeFault::WhileLoading { end, printed }),
            (_, _, Some(loaded)) => match step {
                _ if is_rehearsed || rooms.is_empty() => match end {
                    ProbeEnd::Exit(0) => Ok(loaded),
                    end => Err(ProbeFault::AfterLoading { end, printed }),
                },
                Some(step) => Err(ProbeFault::Rehearsing { step, table, room: room(), end, printed }),
                None => Err(ProbeFault::AfterLoading { end, printed }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CRASH: ProbeEnd = ProbeEnd::Signal(11);
    const EXIT: ProbeEnd = ProbeEnd::Exit(0);

    fn judged(said: &str, end: ProbeEnd, rooms: &[&str]) -> Result<u32, ProbeFault> {
        let mut heard = Heard::new("n1".into());
        heard.look(said.as_bytes());
        heard.judge(end, &rooms.iter().map(|room| (*room).to_owned()).collect::<Vec<_>>())
    }

    /// Judges a child that wrote these lines and ended like this.
    fn check(said: &str, end: ProbeEnd) -> Result<u32, String> {
        judged(said, end, &[]).map_err(|fault| fault.to_string())
    }

    const READY: &str = "{\"nonce\":\"n1\",\"message\":\"ready\"}\n";
    const LOADED: &str = "{\"nonce\":\"n1\",\"message\":{\"loaded\":7}}\n";

    #[test]
    fn a_word_counts_with_an_orderly_end() {
        assert_eq!(check(&format!("{READY}{LOADED}"), EXIT), Ok(7));
        assert_eq!(check(&format!("noise\n{READY}\n{{}}\n{LOADED}more"), EXIT), Ok(7));
    }

    #[test]
    fn no_word_is_no_word_however_it_ends() {
        let exit = |code: i32| format!("called exit({code}) while being loaded");
        assert_eq!(check(READY, EXIT), Err(exit(0)));
        assert_eq!(check(READY, ProbeEnd::Exit(3)), Err(exit(3)));
        assert_eq!(check(READY, CRASH), Err("crashed while being loaded: signal 11 (SIGSEGV)".into()));
        let forged = LOADED.replace("n1", "n2");
        assert_eq!(check(&format!("{READY}{forged}"), EXIT), Err(exit(0)));
        let cut = &LOADED[..LOADED.len() / 2];
        assert_eq!(check(&format!("{READY}{cut}"), EXIT), Err(exit(0)));
    }

    #[test]
    fn a_bad_end_outweighs_a_good_word() {
        let both = format!("{READY}{LOADED}");
        let after = "after being loaded, when its process ended";
        assert_eq!(check(&both, ProbeEnd::Signal(6)), Err(format!("crashed {after}: signal 6 (SIGABRT)")));
        assert_eq!(check(&both, ProbeEnd::Exit(1)), Err(format!("called exit(1) {after}")));
        let slow = "did not end within 2 s after being loaded: a destructor that loops?";
        assert_eq!(check(&both, ProbeEnd::TimedOut { time_max: Duration::from_secs(2) }), Err(slow.into()));
    }

    #[test]
    fn a_child_that_never_got_ready_is_the_engines_own_trouble() {
        let fault = judged("", ProbeEnd::Exit(127), &[]).unwrap_err();
        assert!(fault.is_ours());
        assert_eq!(fault.to_string(), "the probe did not get as far as loading it: its process ended with exit(127)");
    }

    #[test]
    fn an_end_in_a_rehearsal_is_told_by_its_step_and_room() {
        let word = |key: &str, value: &str| format!("{{\"nonce\":\"n1\",\"message\":{{\"{key}\":\"{value}\"}}}}\n");
        let doing = |step: &str| match step {
            "migrate" => word("doing", step) + &word("migrating", "orbs") + &word("migrating", "scores"),
            step => word("doing", step),
        };
        let check = |steps: &[&str], end: ProbeEnd, code: &str, expected: &str| {
            let said: String = steps.iter().map(|step| doing(step)).collect();
            let fault = judged(&format!("{READY}{LOADED}{said}"), end, &["main", "b"]).unwrap_err();
            assert_eq!((fault.code(), fault.to_string().as_str()), (code, expected));
        };
        let first = ["read", "upgrade"];
        check(&first, CRASH, "upgraded-crashes", "crashed in upgraded, in the room main: signal 11 (SIGSEGV)");
        check(&first, EXIT, "upgraded-exits", "called exit(0) in upgraded, in the room main");
        let written = "crashed while the engine wrote what the room has become, in the room main: signal 11 (SIGSEGV)";
        check(&["read", "upgrade", "write"], CRASH, "probe-failed", written);
        let second = ["read", "upgrade", "wait", "read", "migrate"];
        let of_scores = "crashed in a migration of scores, in the room b: signal 11 (SIGSEGV)";
        check(&second, CRASH, "migration-crashes", of_scores);
        let late = ProbeEnd::TimedOut { time_max: Duration::from_secs(2) };
        check(
            &first,
            late,
            "upgraded-never-returns",
            "did not return from upgraded within 2 s, in the room main: a loop?",
        );
        // An orderly end at the wrong time is none: something has ended the process before it was through.
        let done = ["read", "upgrade", "wait"];
        let expected = "called exit(0) after upgraded, in the room main";
        check(&done, EXIT, "upgraded-exits", expected);
        let said: String = done.iter().map(|step| doing(step)).collect();
        let rehearsed = "{\"nonce\":\"n1\",\"message\":\"rehearsed\"}\n";
        assert_eq!(judged(&format!("{READY}{LOADED}{said}{rehearsed}"), EXIT, &["main"]).unwrap(), 7);
    }
}
