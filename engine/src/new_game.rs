//! `engine new`: a game crate of one's own, that builds, is tested and runs at once.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Bytes of a game's name: what a plugin may call itself.
const NAME_BYTES_MAX: usize = 32;

/// A file of the template, and its text.
const FILES: [(&str, &str); 11] = [
    ("Cargo.toml", include_str!("../templates/game/Cargo.toml.in")),
    ("rustfmt.toml", include_str!("../../rustfmt.toml")),
    // What a logic must not do: read clocks, start threads, touch files.
    ("clippy.toml", include_str!("../../logic/clippy.toml")),
    (".gitignore", include_str!("../templates/game/gitignore.in")),
    ("README.md", include_str!("../templates/game/README.md.in")),
    ("src/lib.rs", include_str!("../templates/game/src/lib.rs")),
    ("src/page.rs", include_str!("../templates/game/src/page.rs")),
    ("page/index.html", include_str!("../templates/game/page/index.html.in")),
    ("page/wall.js", include_str!("../templates/game/page/wall.js")),
    ("page/hotseat.js", include_str!("../../clients/js/hotseat.js")),
    ("tests/wall.rs", include_str!("../templates/game/tests/wall.rs.in")),
];

/// What is filled in in the files.
const PLACEHOLDERS: [&str; 5] = ["{{name}}", "{{crate}}", "{{logic_api}}", "{{room}}", "{{origin}}"];

/// Crates that the game, its tests or the language know by these names.
const NAMES_TAKEN: [&str; 9] = ["alloc", "build", "core", "engine", "logic_api", "proc_macro", "room", "std", "test"];
/// Words that no crate can be called (Rust's reference, "Keywords").
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Why there is no new game. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum NewGameError {
    #[error(
        "{0:?} is no name for a game: use a lower-case letter, then letters, digits, '_' and '-', at most {NAME_BYTES_MAX}"
    )]
    Name(String),
    #[error("a game cannot be called {0:?}: that name means something else in Rust or here")]
    NameTaken(String),
    #[error("{0} is there already: give another name, or remove it")]
    Exists(String),
    #[error(
        "it is not known where Hotseat's crates are: run this within a checkout, or say --hotseat and its folder or git URL"
    )]
    NoSource,
    #[error("{0} is no checkout of Hotseat: it has no logic_api and room")]
    NotACheckout(String),
    #[error("{path} cannot be written: {source}")]
    Write { path: String, source: io::Error },
}

/// Where a game's crates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Checkout(PathBuf),
    Git(String),
}

/// Makes the folder `path`, whose last part is the game's name. `hotseat` is a checkout's folder or a git URL; `None`: the
/// checkout around the current folder, or the one that this engine was built from. The text says what to do next.
///
/// # Errors
/// [`NewGameError`]; then nothing is left behind.
pub fn new_game(path: &Path, hotseat: Option<&str>) -> Result<String, NewGameError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    check_name(name)?;
    let source = Source::find(hotseat)?;
    let shown = path.display().to_string();
    let failed = |source| NewGameError::Write { path: shown.clone(), source };
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(NewGameError::Exists(shown)),
        made => made.map_err(failed)?,
    }
    if let Err(error) = fill(path, name, &source) {
        // What is there is ours alone: the folder is new.
        let _left_behind = fs::remove_dir_all(path);
        return Err(failed(error));
    }
    Ok(format!("made {shown}, which takes Hotseat from {}\nnext: cd {shown} && engine dev\n", source.shown()))
}

fn fill(folder: &Path, name: &str, source: &Source) -> io::Result<()> {
    for (file, text) in FILES {
        let text = PLACEHOLDERS.iter().fold(text.to_owned(), |text, placeholder| {
            let value = match *placeholder {
                "{{name}}" => name.to_owned(),
                "{{crate}}" => name.replace('-', "_"),
                "{{logic_api}}" => source.of_crate("logic_api"),
                "{{room}}" => source.of_crate("room"),
                "{{origin}}" => source.shown(),
                other => unreachable!("{other} is not among the placeholders"),
            };
            text.replace(placeholder, &value)
        });
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), NewGameError> {
    let begins_well = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    let goes_on_well = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if !begins_well || !name.bytes().all(goes_on_well) || name.len() > NAME_BYTES_MAX {
        return Err(NewGameError::Name(name.to_owned()));
    }
    let as_crate = name.replace('-', "_");
    if NAMES_TAKEN.contains(&as_crate.as_str()) || KEYWORDS.contains(&as_crate.as_str()) {
        return Err(NewGameError::NameTaken(name.to_owned()));
    }
    Ok(())
}

impl Source {
    fn find(hotseat: Option<&str>) -> Result<Source, NewGameError> {
        match hotseat {
            Some(url) if url.contains("://") || url.starts_with("git@") => Ok(Source::Git(url.to_owned())),
            Some(folder) => {
                let absolute = Path::new(folder).canonicalize().ok().filter(|folder| is_checkout(folder));
                absolute.map(Source::Checkout).ok_or_else(|| NewGameError::NotACheckout(folder.to_owned()))
            }
            None => {
                let here = std::env::current_dir().ok();
                let around = here.as_deref().and_then(|here| here.ancestors().find(|folder| is_checkout(folder)));
                let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|folder| is_checkout(folder));
                let checkout = around.or(built_from).ok_or(NewGameError::NoSource)?;
                Ok(Source::Checkout(checkout.to_owned()))
            }
        }
    }

    /// Where Cargo.toml takes a crate from.
    fn of_crate(&self, name: &str) -> String {
        match self {
            Source::Checkout(folder) => format!("path = \"{}\"", toml_text(&folder.join(name).display().to_string())),
            // Cargo looks for the crate in the repository by its name.
            Source::Git(url) => format!("git = \"{}\"", toml_text(url)),
        }
    }

    fn shown(&self) -> String {
        match self {
            Source::Checkout(folder) => format!("the checkout in {}", folder.display()),
            Source::Git(url) => format!("the repository {url}"),
        }
    }
}

/// As it stands between quotes in TOML.
fn toml_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn is_checkout(folder: &Path) -> bool {
    ["logic_api", "room"].iter().all(|name| folder.join(name).join("Cargo.toml").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, hotseat: Option<&str>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("taken"), "x").unwrap();
        let told = new_game(&folder.path().join(name), hotseat).unwrap_err().to_string();
        assert_eq!(told.replace(&folder.path().display().to_string(), "FOLDER"), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_cannot_be_made_is_told() {
        let rule = "use a lower-case letter, then letters, digits, '_' and '-', at most 32";
        for name in ["Snake", "3d", "a b", "-a", "ä", "a123456789012345678901234567890123"] {
            check(name, None, &format!("{name:?} is no name for a game: {rule}"));
        }
        for name in ["room", "logic-api", "match", "std"] {
            check(
                name,
                None,
                &format!("a game cannot be called {name:?}: that name means something else in Rust or here"),
            );
        }
        check("taken", None, "FOLDER/taken is there already: give another name, or remove it");
        check("snake", Some("/"), "/ is no checkout of Hotseat: it has no logic_api and room");
        check("below/snake", None, "FOLDER/below/snake cannot be written: No such file or directory (os error 2)");
    }

    #[test]
    fn everything_is_filled_in() {
        for (hotseat, expected) in [
            (None, "logic_api = { path = \""),
            (Some("https://example.org/h.git"), "logic_api = { git = \"https://example.org/h.git\" }"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let game = folder.path().join("snake-pit");
            let told = new_game(&game, hotseat).unwrap();
            assert!(told.contains("engine dev"), "{told}");
            for (file, _) in FILES {
                let text = fs::read_to_string(game.join(file)).unwrap();
                assert!(!PLACEHOLDERS.iter().any(|placeholder| text.contains(placeholder)), "{file}: {text}");
            }
            let manifest = fs::read_to_string(game.join("Cargo.toml")).unwrap();
            assert!(manifest.contains(expected) && manifest.contains("name = \"snake-pit\""), "{manifest}");
        }
    }
}
