//! Takes plugins in: from a name in a request to a file that has been mapped in a child process without harm.
//!
//! In steps, because the caller may stop between them: bytes that are mapped already need neither staging nor a probe.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{
    digest::Sha256,
    elf::{self, Elf},
    error::LoadError,
    name::PluginName,
    probe::{self, ProbeOptions, Probed},
    seal::{self, Seal},
    source,
    stage::Versions,
};

/// Where plugins come from, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Intake {
    pub plugins: PathBuf,
    pub versions: Versions,
    /// The symbol that makes a shared library a plugin.
    pub root_symbol: &'static str,
    pub plugin_bytes_max: u64,
    pub probe: ProbeOptions,
}

/// A plugin's bytes, found sound by their structure. None of its code has run.
#[derive(Clone)]
pub struct Candidate {
    pub name: PluginName,
    pub bytes: Vec<u8>,
    /// Of all bytes, a seal included.
    pub sha256: Sha256,
    pub seal: Seal,
    pub elf: Elf,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name)
            .field("bytes", &self.bytes.len())
            .field("sha256", &self.sha256)
            .field("seal", &self.seal)
            .field("elf", &self.elf)
            .finish()
    }
}

impl Intake {
    /// Finds the plugin with this name, as it came from the user, and checks its bytes.
    pub fn read(&self, name: &str) -> Result<Candidate, LoadError> {
        let name = PluginName::parse(name)?;
        let bytes = source::read(&self.plugins, &name, self.plugin_bytes_max)?;
        check(name, bytes, self.root_symbol)
    }

    /// Puts a private copy of the candidate where it can be mapped from.
    pub fn stage(&self, candidate: &Candidate) -> Result<PathBuf, LoadError> {
        self.versions
            .stage(&candidate.bytes, &candidate.sha256)
            .map_err(|source| LoadError::Stage {
                name: candidate.name.clone(),
                path: self.versions.path(&candidate.sha256),
                source,
            })
    }

    /// Maps the staged copy in a child process. Blocks for as long as that takes.
    pub fn probe<T: DeserializeOwned>(&self, candidate: &Candidate, staged: &Path) -> Result<Probed<T>, LoadError> {
        probe::probe(staged, &self.probe).map_err(|fault| LoadError::Probe {
            name: candidate.name.clone(),
            fault: Box::new(fault),
        })
    }
}

/// The checks that need nothing but the bytes.
pub fn check(name: PluginName, bytes: Vec<u8>, root_symbol: &str) -> Result<Candidate, LoadError> {
    let hashed = seal::hash(&bytes);
    let damaged = |fault| LoadError::Damaged {
        name: name.clone(),
        fault,
    };
    // What is no ELF file at all is told so, rather than that it is damaged.
    let elf = elf::check(&bytes, root_symbol);
    let seal = match (&elf, hashed.seal) {
        (_, Ok(seal)) => seal,
        (Err(elf::ElfFault::NotElf { .. }), Err(_)) => Seal::Unsealed,
        (_, Err(fault)) => return Err(damaged(fault)),
    };
    let elf = elf.map_err(|fault| LoadError::NotAPlugin {
        name: name.clone(),
        fault,
    })?;
    if seal == Seal::Unsealed {
        seal::check_tail(&bytes, elf.content_bytes).map_err(damaged)?;
    }
    Ok(Candidate {
        name,
        bytes,
        sha256: hashed.sha256,
        seal,
        elf,
    })
}
