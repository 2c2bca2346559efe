//! Plugins as bytes: the saboteurs, and any version of the game that they spoil.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, Mutex},
};

use engine::loader::digest::Sha256;
use rustix::fs::{FlockOperation, flock};

/// A plugin's file, unsealed.
pub(crate) type Bytes = Arc<[u8]>;

/// Where tests keep what they build.
pub(super) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the engine is a member of the workspace").to_owned()
}

/// Cargo, in the project's folder and with the folders of the build that this test is from: what is built is not built again.
pub(super) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let target = scratch().parent().expect("it is a folder of the target folder");
    command.current_dir(root()).env("CARGO_TARGET_DIR", target);
    command.env_remove("HOTSEAT_LOGIC_VERSION").env_remove("HOTSEAT_LOGIC_NAME");
    command
}

/// Runs a cargo command that builds, and gives the shared libraries that it made, by their targets' names.
///
/// One at a time, in all processes: cargo gives every version of a plugin the same file name.
pub(super) fn build(command: &mut Command) -> HashMap<String, Bytes> {
    let lock = File::create(scratch().join("saboteurs.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let output = command.arg("--message-format=json-render-diagnostics").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let made = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let file = message["filenames"].as_array()?.iter().find_map(|name| {
            let name = Path::new(name.as_str()?);
            (name.extension() == Some(OsStr::new("so"))).then_some(name)
        })?;
        // The macros of dependencies are shared libraries too.
        message["target"]["kind"].as_array()?.contains(&"example".into()).then_some(())?;
        Some((message["target"]["name"].as_str()?.to_owned(), fs::read(file).unwrap().into()))
    });
    made.collect()
}

/// The saboteur of this name, from `engine/tests/saboteurs/examples`.
pub(crate) fn saboteur(name: &str) -> Bytes {
    static ALL: LazyLock<HashMap<String, Bytes>> =
        LazyLock::new(|| build(cargo().args(["build", "--package", "saboteurs", "--examples"])));
    Arc::clone(ALL.get(name).unwrap_or_else(|| panic!("there is no saboteur {name}")))
}

/// The game as it should be, as this version under this name.
pub(super) fn good(version: u32, name: &str) -> Bytes {
    static BUILT: Mutex<Option<HashMap<(u32, String), Bytes>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap();
    let plugin = built.get_or_insert_default().entry((version, name.to_owned())).or_insert_with(|| {
        let mut command = cargo();
        command.env("HOTSEAT_LOGIC_VERSION", version.to_string()).env("HOTSEAT_LOGIC_NAME", name);
        let mut made = build(command.args(["build", "--package", "saboteurs", "--example", "good"]));
        made.remove("good").expect("cargo names every artifact, also one that it need not build again")
    });
    Arc::clone(plugin)
}

/// A text in the plugin's own memory made what no text is.
pub(crate) fn with_text_spoiled(plugin: &[u8], text: &str) -> Vec<u8> {
    let mut bytes = plugin.to_vec();
    let at: Vec<_> = (0..bytes.len() - text.len()).filter(|&at| bytes[at..].starts_with(text.as_bytes())).collect();
    assert!(!at.is_empty(), "{text} is somewhere in it");
    at.into_iter().for_each(|at| bytes[at..at + text.len()].fill(0xFF));
    bytes
}

/// With the trailer that `scripts/build_so.sh` appends.
pub(super) fn sealed(content: &[u8]) -> Vec<u8> {
    [content, format!("hotseat-seal:{}\n", Sha256::of(content)).as_bytes()].concat()
}

/// What the C compiler makes of this code.
pub(super) fn compile_c(code: &str, flags: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, made) = (folder.path().join("source.c"), folder.path().join("made"));
    fs::write(&source, code).unwrap();
    let status = Command::new("cc").args(flags).arg("-o").args([&made, &source]).status().unwrap();
    assert!(status.success(), "cc {flags:?}");
    fs::read(made).unwrap()
}
