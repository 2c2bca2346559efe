//! Which crate is built, and which of this machine's folders its code comes from, by cargo's own word.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The crate by which a logic is known.
const CONTRACT: &str = "logic_api";
/// Looked into where the current folder is no crate of a logic.
const FOLDER: &str = "logic";

/// Why a folder is not the crate of a logic. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum CrateError {
    #[error("there is no Cargo.toml in {0}: give the folder of a logic, or make one with engine new")]
    NoManifest(String),
    #[error(
        "there is no logic here: neither . nor logic has a Cargo.toml of a crate; give its folder, or make one with engine new"
    )]
    NotHere,
    #[error("{0} is a workspace without a crate of its own: give the folder of the logic")]
    Workspace(String),
    #[error("{0} is no logic: it does not depend on logic_api (engine new makes one that does)")]
    NoLogic(String),
    #[error("{0} is no library: a logic needs a src/lib.rs")]
    NoLibrary(String),
    #[error("cargo cannot read {manifest}: {reason}")]
    Unreadable { manifest: String, reason: String },
    #[error("cargo cannot be run: {0}")]
    Cargo(io::Error),
}

/// A crate, and the crates beside it that it is built from.
#[derive(Debug)]
pub(super) struct LogicCrate {
    pub(super) manifest: PathBuf,
    /// Of the crate itself, and then of its path dependencies.
    pub(super) folders: Vec<PathBuf>,
    pub(super) target: PathBuf,
}

/// `cargo metadata`, as far as it is of use here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    manifest_path: PathBuf,
    /// `None`: a folder of this machine.
    source: Option<String>,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// The folder of the crate that is meant.
pub(super) fn find(folder: Option<PathBuf>) -> Result<PathBuf, CrateError> {
    if let Some(folder) = folder {
        let has_manifest = folder.join("Cargo.toml").is_file();
        return if has_manifest { Ok(folder) } else { Err(CrateError::NoManifest(folder.display().to_string())) };
    }
    let here = PathBuf::from(".");
    let inner = PathBuf::from(FOLDER);
    let is_crate =
        |folder: &Path| std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| has_crate(&text));
    [here, inner].into_iter().find(|folder| is_crate(folder)).ok_or(CrateError::NotHere)
}

/// Whether this manifest is a crate's: the project's own folder is a workspace with the logic in it. What is wrong with one that
/// cannot be read, cargo says better.
fn has_crate(manifest: &str) -> bool {
    manifest.parse::<toml::Table>().map_or(true, |table| table.contains_key("package"))
}

impl LogicCrate {
    /// Asks cargo about the crate in this folder.
    pub(super) fn read(folder: &Path) -> Result<LogicCrate, CrateError> {
        let manifest = folder.join("Cargo.toml");
        let shown = folder.display().to_string();
        let unreadable = |reason: String| CrateError::Unreadable { manifest: manifest.display().to_string(), reason };
        let absolute = manifest.canonicalize().map_err(|error| unreadable(error.to_string()))?;
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--manifest-path"])
            .arg(&absolute)
            .output()
            .map_err(CrateError::Cargo)?;
        if !output.status.success() {
            return Err(unreadable(one_line(&String::from_utf8_lossy(&output.stderr))));
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).map_err(|error| unreadable(error.to_string()))?;
        let package = metadata.packages.iter().find(|package| package.manifest_path == absolute);
        let package = package.ok_or_else(|| CrateError::Workspace(shown.clone()))?;
        if !package.dependencies.iter().any(|dependency| dependency.name == CONTRACT) {
            return Err(CrateError::NoLogic(shown));
        }
        let is_library = |name: &String| matches!(name.as_str(), "lib" | "rlib" | "dylib" | "cdylib");
        if !package.targets.iter().any(|target| target.crate_types.iter().any(is_library)) {
            return Err(CrateError::NoLibrary(shown));
        }
        let folders = metadata.folders_of(package);
        Ok(LogicCrate { manifest: absolute, folders, target: metadata.target_directory })
    }

    /// The crates' folders, as they are called.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let name = |folder: &PathBuf| folder.file_name().map(|name| name.to_string_lossy().into_owned());
        self.folders.iter().filter_map(name)
    }

    /// A file, from the folder of its crate on; one that is in none, from beside the first of them.
    pub(super) fn shown(&self, file: &Path) -> String {
        let parent = |folder: &&PathBuf| file.starts_with(folder);
        let base = self.folders.iter().filter(parent).max_by_key(|folder| folder.as_os_str().len());
        let base = base.or(self.folders.first()).and_then(|folder| folder.parent());
        base.and_then(|base| file.strip_prefix(base).ok()).unwrap_or(file).display().to_string()
    }
}

impl Metadata {
    /// A package's folder, and those of the path dependencies that go into its library.
    fn folders_of(&self, package: &Package) -> Vec<PathBuf> {
        let mut ids = vec![&package.id];
        let mut next = 0;
        while let Some(id) = ids.get(next) {
            next += 1;
            let node = self.resolve.nodes.iter().find(|node| node.id == **id);
            for edge in node.into_iter().flat_map(|node| &node.deps) {
                let built_in = edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
                if built_in && self.is_here(&edge.pkg) && !ids.contains(&&edge.pkg) {
                    ids.push(&edge.pkg);
                }
            }
        }
        let folder = |id: &String| {
            let package = self.packages.iter().find(|package| package.id == *id)?;
            package.manifest_path.parent().map(Path::to_owned)
        };
        ids.into_iter().filter_map(folder).collect()
    }

    fn is_here(&self, id: &str) -> bool {
        self.packages.iter().any(|package| package.id == id && package.source.is_none())
    }
}

/// What cargo says, without its line breaks and causes' indentation.
fn one_line(text: &str) -> String {
    let text = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(folder: &str, expected: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
        let told = match find(Some(root.join(folder))).and_then(|folder| LogicCrate::read(&folder)) {
            Ok(logic) => logic.names().collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string().replace(&root.display().to_string(), "ROOT"),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_crate_is_told_from_a_workspace_however_its_manifest_is_written() {
        for manifest in
            ["[package]\n", " [ package ] # mine\n", "package.name = \"pit\"\n", "package = {}\n", "[package\n"]
        {
            assert!(has_crate(manifest), "{manifest}");
        }
        for manifest in ["", "[workspace]\n", "[workspace.package]\n", "# [package]\n"] {
            assert!(!has_crate(manifest), "{manifest}");
        }
    }

    #[test]
    fn a_logic_is_known_by_its_dependency_and_brings_its_path_dependencies() {
        check("logic", "logic logic_api derive");
        check("wire", "ROOT/wire is no logic: it does not depend on logic_api (engine new makes one that does)");
        check(
            "scripts",
            "there is no Cargo.toml in ROOT/scripts: give the folder of a logic, or make one with engine new",
        );
        check("", "ROOT/ is a workspace without a crate of its own: give the folder of the logic");
    }
}
