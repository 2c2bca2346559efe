//! `engine check`: what a load would say about a file, without an engine.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logic_api::schema::Schema;
use room::LogicVersion;

use crate::config::{Config, ConfigError, Flags};
use crate::loader::error::LoadError;
use crate::loader::intake::Candidate;
use crate::loader::load::{Loader, Summary};
use crate::loader::name::{PLUGIN_NAME_BYTES_MAX, PluginName};
use crate::loader::seal::Seal;

/// Why a file would not be loaded, or cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("there is no file {file}")]
    NoFile { file: String },
    #[error(
        "{file} is not named as a plugin is: at most {PLUGIN_NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-', without a \
         leading dot or \"..\", ending in .so"
    )]
    Name { file: String },
    #[error("{file} cannot be read: {source}")]
    Unreadable { file: String, source: io::Error },
    #[error(transparent)]
    Load(LoadError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("a folder to try the plugin in cannot be made at {folder}: {source}")]
    Folder { folder: String, source: io::Error },
}

impl CheckError {
    /// The reason of a load, in words for somebody who gave a path: there is no plugins folder to name another of.
    fn of(file: &Path, error: LoadError) -> CheckError {
        match error {
            LoadError::Folder { source, .. } => match source.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => CheckError::NoFile { file: as_given(file) },
                _ => CheckError::Unreadable { file: as_given(file), source },
            },
            error => CheckError::Load(error),
        }
    }
}

/// Takes the file through everything that does not need a room, within the limits of the config; the text says what it is.
///
/// # Errors
/// [`CheckError`], with the reason that a load would give.
pub fn check(file: &Path, config: Option<PathBuf>) -> Result<String, CheckError> {
    let Looked { name, candidate, summary } = Looked::at(file, config)?;
    let manifest = &summary.manifest;
    let mut text = String::new();
    let seal = match candidate.seal {
        Seal::Sealed => "sealed",
        Seal::Unsealed => "not sealed: damage to its code would not be seen; scripts/build_so.sh seals",
    };
    let _ = writeln!(text, "{name}: {} {}, {} bytes, {seal}", manifest.name, manifest.version, candidate.bytes.len());
    let _ = writeln!(text, "build id  {}\nsha256    {}", candidate.elf.build_id, candidate.sha256);
    let _ = writeln!(text, "contract  {}\ncallbacks {}", manifest.contract, manifest.callbacks.join(", "));
    tables(&mut text, &manifest.schema);
    Ok(text)
}

/// A plugin file that was found sound, and what its code says of itself.
pub(super) struct Looked {
    pub(super) name: PluginName,
    pub(super) candidate: Candidate,
    pub(super) summary: Summary,
}

impl Looked {
    /// Takes the file through everything that does not need a room.
    pub(super) fn at(file: &Path, config: Option<PathBuf>) -> Result<Looked, CheckError> {
        with_loader(file, config, |Loader { intake, .. }, _, name| {
            let candidate = intake.read(&name)?;
            let staged = intake.stage(&candidate)?;
            let summary = intake.summary(&candidate, &staged)?;
            Ok(Looked { name, candidate, summary })
        })
    }
}

/// Maps the file into this process, wherever it is, as a load would.
///
/// # Errors
/// [`CheckError`], with the reason that a load would give.
pub(super) fn map(file: &Path, config: Option<PathBuf>) -> Result<Arc<LogicVersion>, CheckError> {
    let mapped = with_loader(file, config, |loader, _, name| loader.load(&name, |_, _, _| Ok::<_, LoadError>(())))?;
    Ok(Arc::clone(&mapped.logic))
}

/// Does something with a file within the limits of the config, and leaves no trace of it.
pub(super) fn with_loader<T>(
    file: &Path,
    config: Option<PathBuf>,
    work: impl FnOnce(&Loader, &Config, PluginName) -> Result<T, LoadError>,
) -> Result<T, CheckError> {
    let Ok(name) = PluginName::parse(&file.file_name().unwrap_or_default().to_string_lossy()) else {
        let (is_there, file) = (file.symlink_metadata().is_ok(), as_given(file));
        return Err(if is_there { CheckError::Name { file } } else { CheckError::NoFile { file } });
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let config = Config::load(Flags { config, plugins: Some(folder.to_owned()), ..Flags::default() })?;
    let trial = Trial::make()?;
    work(&Loader::new(&config, &trial.folder), &config, name).map_err(|error| CheckError::of(file, error))
}

/// The path on one line, whatever is in it.
fn as_given(file: &Path) -> String {
    file.display().to_string().replace(char::is_control, "?")
}

fn tables(text: &mut String, schema: &Schema) {
    for table in &schema.tables {
        let kind = if table.single { "One" } else { "Table" };
        let fields: Vec<_> = table.row.fields.iter().map(|field| field.name.as_str()).collect();
        let (row, size) = (&table.row.name, table.row.size);
        let _ = writeln!(text, "{}: {kind}<{row}>, {size} bytes a row: {}", table.name, fields.join(", "));
    }
}

/// A private folder, gone when this is dropped.
struct Trial {
    folder: PathBuf,
}

impl Trial {
    fn make() -> Result<Trial, CheckError> {
        let folder = std::env::temp_dir().join(format!("hotseat-check-{}", std::process::id()));
        // Fails where it exists: somebody else's folder is not one to map code from.
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|source| CheckError::Folder { folder: folder.display().to_string(), source })?;
        Ok(Trial { folder })
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // What stays is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
