//! Plugins built against a `logic_api` that is not the engine's: a copy of it, changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::plugins::{Bytes, build, cargo, root, scratch};

/// A text in a file of `logic_api`, and what it becomes.
pub(super) struct Edit<'a> {
    pub(super) file: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
}

/// The game as it should be, but for these edits of the `logic_api` that it is built against. `name` tells the copies apart.
pub(super) fn of_other_contract(name: &str, edits: &[Edit<'_>]) -> Bytes {
    // The folders have names of their own, for cargo tells crates of one name apart by their paths in their workspaces.
    let (api, game) = (format!("logic_api_{name}"), format!("game_{name}"));
    let workspace = scratch().join("contracts").join(name);
    copy(&root().join("logic_api"), &workspace.join(&api), edits);
    copy(&root().join("engine/tests/saboteurs"), &workspace.join(&game), &[]);
    let members =
        Edit { file: "Cargo.toml", from: "members = [", to: &format!("members = [\"{game}\"]\nmetadata.members = [") };
    let api_path = Edit {
        file: "Cargo.toml",
        from: "logic_api = { path = \"logic_api\" }",
        to: &format!("logic_api = {{ path = \"{api}\" }}"),
    };
    let derive =
        Edit { file: "Cargo.toml", from: "path = \"logic_api/derive\"", to: &format!("path = \"{api}/derive\"") };
    copy_file(&root(), &workspace, Path::new("Cargo.toml"), &[members, api_path, derive]);
    // Cargo takes out what this workspace has no use for.
    fs::copy(root().join("Cargo.lock"), workspace.join("Cargo.lock")).unwrap();
    let mut command = cargo();
    command.current_dir(&workspace).args(["build", "--offline", "--package", "saboteurs", "--example", "good"]);
    Arc::clone(&build(&mut command)["good"])
}

/// Copies a folder; what is the same already keeps its time, so that cargo does not build it again.
fn copy(from: &Path, to: &Path, edits: &[Edit<'_>]) {
    let mut edited = 0;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(from.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let place = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(place);
            } else {
                edited += copy_file(from, to, &place, edits);
            }
        }
    }
    assert_eq!(edited, edits.len(), "every edit is for a file that is there");
}

/// Copies a file with the edits that are for it, and tells how many there were.
fn copy_file(from: &Path, to: &Path, place: &Path, edits: &[Edit<'_>]) -> usize {
    let mut text = fs::read_to_string(from.join(place)).unwrap();
    let mine: Vec<_> = edits.iter().filter(|edit| Path::new(edit.file) == place).collect();
    for edit in &mine {
        assert_eq!(text.matches(edit.from).count(), 1, "{:?} is once in {}", edit.from, place.display());
        text = text.replace(edit.from, edit.to);
    }
    let to = to.join(place);
    let is_same = match fs::read_to_string(&to) {
        Ok(there) => there == text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => panic!("{}: {error}", to.display()),
    };
    if !is_same {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text).unwrap();
    }
    mine.len()
}
