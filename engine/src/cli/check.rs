//! `engine check`: what a load would say about a file, without an engine.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use logic_api::schema::Schema;

use crate::config::Config;
use crate::loader::error::LoadError;
use crate::loader::load::Loader;
use crate::loader::name::{NameFault, PluginName};
use crate::loader::seal::Seal;

/// Why a file would not be loaded, or cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Name(#[from] NameFault),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("a folder to try the plugin in cannot be made at {folder}: {source}")]
    Folder { folder: String, source: io::Error },
}

/// Takes the file through everything that does not need a room; the text says what it is.
///
/// # Errors
/// [`CheckError`], with the reason that a load would give.
pub fn check(file: &Path) -> Result<String, CheckError> {
    let name = PluginName::parse(&file.file_name().unwrap_or_default().to_string_lossy())?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let config = Config { plugins: folder.to_owned(), ..Config::default() };
    let trial = Trial::make()?;
    let intake = Loader::new(&config, &trial.folder).intake;
    let candidate = intake.read(&name)?;
    let staged = intake.stage(&candidate)?;
    let summary = intake.summary(&candidate, &staged)?;
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
