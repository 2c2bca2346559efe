//! One build by cargo, in a process group of its own: dropping it before its end leaves no compiler behind.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::process::Command;

/// Bytes of the compiler's words that are passed on; the rest is of no more use to anybody.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// Why nothing can be built at all. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cargo is not installed: get Rust from https://rustup.rs (or your system's packages), then run this again")]
    NoCargo,
    #[error("cargo cannot be run: {0}")]
    Cargo(io::Error),
}

/// Makes sure that there is a cargo.
///
/// # Errors
/// [`BuildError`] if it cannot be run.
pub fn need_cargo() -> Result<(), BuildError> {
    match std::process::Command::new("cargo").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BuildError::NoCargo),
        Err(error) => Err(BuildError::Cargo(error)),
    }
}

/// What is to be built.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) manifest: &'a Path,
    pub(super) version: u32,
}

/// What has come of it.
#[derive(Debug)]
pub(super) enum Built {
    Library(PathBuf),
    Failed {
        /// What the compiler said, with its colours where standard error is a terminal.
        shown: String,
        /// The same without colours, for the players' pages.
        plain: String,
    },
}

/// A line of cargo's messages.
#[derive(Debug, Deserialize)]
struct Line {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    message: Option<Diagnostic>,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    rendered: Option<String>,
    level: String,
}

impl Job<'_> {
    /// Runs cargo to its end. What `scripts/build_so.sh --dev` does, made to be quick: little debug information, no step that
    /// the next build could not take over.
    pub(super) async fn run(&self) -> Result<Built, BuildError> {
        let format = if io::IsTerminal::is_terminal(&io::stderr()) { "json-diagnostic-rendered-ansi" } else { "json" };
        let child = Command::new("cargo")
            .args(["rustc", "--quiet", "--lib", "--crate-type", "cdylib", "--profile", "dev", "--manifest-path"])
            .arg(self.manifest)
            .arg(format!("--message-format={format}"))
            // From here on for this crate alone. The build id is what the engine asks the new code for; a tick that is not
            // optimised at all would be another game.
            .args(["--", "-C", "link-arg=-Wl,--build-id=sha1", "-C", "opt-level=1", "-C", "strip=debuginfo"])
            .env("HOTSEAT_LOGIC_VERSION", self.version.to_string())
            .env("HOTSEAT_LOGIC_NAME", super::plugins::logic_name(self.version))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(BuildError::Cargo)?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let output = child.wait_with_output().await.map_err(BuildError::Cargo)?;
        group.0 = None;
        Ok(read(output.status.success(), &output.stdout, &output.stderr))
    }
}

/// Cargo and what it has started, ended with this value.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Gone already: then there is nothing more to end.
            let _gone = kill_process_group(leader, Signal::KILL);
        }
    }
}

fn read(success: bool, messages: &[u8], words: &[u8]) -> Built {
    let lines = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let (mut library, mut errors, mut others) = (None, String::new(), String::new());
    for line in lines {
        if line.reason == "compiler-artifact" {
            let is_library = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "so");
            library = line.filenames.into_iter().find(is_library).or(library);
        } else if let Some(Diagnostic { rendered: Some(text), level }) = line.message {
            if level.starts_with("error") {
                errors += &text
            } else {
                others += &text
            };
        }
    }
    match library {
        Some(library) if success => Built::Library(library),
        _ => {
            // Where the compiler has found no fault, it was cargo: a manifest, a linker, a dependency that cannot be had.
            if errors.is_empty() {
                errors = format!("{others}{}", String::from_utf8_lossy(words));
            }
            let shown = wire::limits::cut(&errors, WORDS_BYTES_MAX).to_owned();
            let plain = without_colours(&shown);
            Built::Failed { shown, plain }
        }
    }
}

/// The files of this machine that a library was built from, by cargo's own word: those that its code takes in by
/// `include_str!` and the like among them. Cargo writes them beside it. None if it has not.
pub(super) fn files_of(library: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_to_string(library.with_extension("d")).map(|text| listed(&text)).unwrap_or_default();
    // What lies outside of a crate is named by the way there.
    files.into_iter().map(|file| file.canonicalize().unwrap_or(file)).collect()
}

/// Reads the first rule of a makefile, as cargo writes it: the library, a colon, its files; a space in a name has a
/// backslash before it.
fn listed(text: &str) -> Vec<PathBuf> {
    let Some((_, list)) = text.lines().next().and_then(|rule| rule.split_once(": ")) else { return Vec::new() };
    // No path has a zero byte.
    let list = list.replace("\\ ", "\0");
    list.split_whitespace().map(|file| PathBuf::from(file.replace('\0', " "))).collect()
}

/// A text without the escape sequences that colour it: ESC, `[`, and so on to a letter.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\x1b') {
        plain.push_str(before);
        let end = escaped.find(|letter: char| letter.is_ascii_alphabetic());
        rest = end.map_or("", |end| &escaped[end + 1..]);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_library_are_read_from_what_cargo_writes() {
        let text = "/my\\ games/libpit.so: /my\\ games/src/lib.rs /words.txt\n\n/words.txt:\n";
        assert_eq!(listed(text), [Path::new("/my games/src/lib.rs"), Path::new("/words.txt")]);
        assert_eq!(listed(""), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_library_is_the_last_artifact_and_errors_come_before_warnings() {
        let artifact = br#"{"reason":"compiler-artifact","filenames":["/t/liba.rlib","/t/liba.so"]}"#;
        let Built::Library(path) = read(true, artifact, b"") else { panic!("built") };
        assert_eq!(path, Path::new("/t/liba.so"));

        let messages = [
            r#"{"reason":"compiler-message","message":{"rendered":"warning: a\n","level":"warning"}}"#,
            r#"{"reason":"compiler-message","message":{"rendered":"\u001b[31merror\u001b[0m: b\n","level":"error"}}"#,
            r#"{"reason":"build-finished","success":false}"#,
        ];
        let Built::Failed { shown, plain } = read(false, messages.join("\n").as_bytes(), b"could not compile\n") else {
            panic!("failed")
        };
        assert_eq!((shown.as_str(), plain.as_str()), ("\x1b[31merror\x1b[0m: b\n", "error: b\n"));

        let Built::Failed { plain, .. } = read(false, b"", b"error: no linker\n") else { panic!("failed") };
        assert_eq!(plain, "error: no linker\n");
    }
}
