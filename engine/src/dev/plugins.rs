//! The versions that `engine dev` has built: `dev.<version>.so` in the plugins folder, the old ones among them cleared away.

use std::io;
use std::path::{Path, PathBuf};

use crate::loader::digest::Sha256;
use crate::loader::name::PluginName;
use crate::loader::{seal, source};
use crate::lock::shown;

/// Kept, the one that runs among them: to go back by hand, a few are enough.
const KEPT: usize = 5;
const PREFIX: &str = "dev.";
/// Versions begin after it, as those of `scripts/build_so.sh` do.
const VERSION_BEFORE_FIRST: u32 = 1000;
const VERSION_MAX: u32 = 999_999_999;

/// Why a version cannot be put in place. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("the plugins folder {folder} cannot be used: {source}; make it writable, or give another --plugins")]
    Folder { folder: String, source: io::Error },
    #[error("what cargo has built cannot be read: {file}: {source}")]
    Artifact { file: String, source: io::Error },
    #[error("{folder} has version {VERSION_MAX}, which is the highest: remove it")]
    Exhausted { folder: String },
}

/// The plugins folder.
#[derive(Debug)]
pub(super) struct Plugins {
    folder: PathBuf,
}

/// What a version built here calls itself.
pub(super) fn logic_name(version: u32) -> String {
    format!("dev{}", version.saturating_sub(VERSION_BEFORE_FIRST))
}

impl Plugins {
    /// Makes the folder if it is missing.
    pub(super) fn open(folder: &Path) -> Result<Plugins, PluginError> {
        let plugins = Plugins { folder: folder.to_owned() };
        std::fs::create_dir_all(folder).map_err(|source| plugins.failed(source))?;
        Ok(plugins)
    }

    /// Above all that are there.
    pub(super) fn next_version(&self) -> Result<u32, PluginError> {
        let numbered = source::numbered(&self.folder).map_err(|error| self.failed(io::Error::other(error)))?;
        let released = numbered.into_iter().map(|(version, _)| version);
        let built = self.built()?.into_iter().map(|(version, _)| version);
        let highest = released.chain(built).max().unwrap_or_default().max(VERSION_BEFORE_FIRST);
        if highest >= VERSION_MAX {
            return Err(PluginError::Exhausted { folder: shown(&self.folder) });
        }
        Ok(highest + 1)
    }

    /// Puts a library there, sealed, in one step; gives the name to load it by.
    pub(super) fn put(&self, version: u32, library: &Path) -> Result<PluginName, PluginError> {
        let artifact = |source| PluginError::Artifact { file: library.display().to_string(), source };
        let mut bytes = std::fs::read(library).map_err(artifact)?;
        let trailer = seal::trailer(&Sha256::of(&bytes));
        bytes.extend_from_slice(trailer.as_bytes());
        let name = PluginName::parse(&format!("{PREFIX}{version}.so")).expect("of letters that a name may have");
        // The engine takes no hidden file for a plugin.
        let temporary = self.folder.join(format!(".{name}"));
        std::fs::write(&temporary, bytes).map_err(|source| self.failed(source))?;
        std::fs::rename(temporary, self.folder.join(name.as_str())).map_err(|source| self.failed(source))?;
        Ok(name)
    }

    /// Removes the oldest of those that were built here, but not the one that runs, which may be older than others that were
    /// refused. What else the engine needs it keeps elsewhere.
    pub(super) fn prune(&self, running: u32) -> Result<(), PluginError> {
        let mut built = self.built()?;
        built.sort_unstable_by_key(|(version, _)| (*version != running, std::cmp::Reverse(*version)));
        for (_, file) in built.into_iter().skip(KEPT) {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn built(&self) -> Result<Vec<(u32, PathBuf)>, PluginError> {
        let mut built = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(|source| self.failed(source))? {
            let entry = entry.map_err(|source| self.failed(source))?;
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(".so")?.parse().ok());
            built.extend(version.map(|version| (version, entry.path())));
        }
        Ok(built)
    }

    fn failed(&self, source: io::Error) -> PluginError {
        PluginError::Folder { folder: shown(&self.folder), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::seal::{Seal, hash};

    #[test]
    fn versions_rise_are_sealed_and_only_the_old_ones_of_dev_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins");
        let plugins = Plugins::open(&path).unwrap();
        assert_eq!(plugins.next_version().unwrap(), 1001);
        std::fs::write(path.join("game.1003.so"), "x").unwrap();
        let library = folder.path().join("lib.so");
        std::fs::write(&library, "code").unwrap();
        for version in 1004..1012 {
            assert_eq!(plugins.next_version().unwrap(), version);
            assert_eq!(plugins.put(version, &library).unwrap().as_str(), format!("dev.{version}.so"));
        }
        assert_eq!(hash(&std::fs::read(path.join("dev.1011.so")).unwrap()).seal, Ok(Seal::Sealed));
        let left_of = |running| {
            plugins.prune(running).unwrap();
            let mut left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            left
        };
        // Those after it were refused.
        let kept = ["dev.1005.so", "dev.1008.so", "dev.1009.so", "dev.1010.so", "dev.1011.so", "game.1003.so"];
        assert_eq!(left_of(1005), kept);
        plugins.put(1012, &library).unwrap();
        let kept = ["dev.1008.so", "dev.1009.so", "dev.1010.so", "dev.1011.so", "dev.1012.so", "game.1003.so"];
        assert_eq!(left_of(1012), kept);
    }
}
