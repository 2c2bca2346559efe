//! Takes plugins in: from a name in a request to a file that has been mapped in a child process without harm.
//!
//! In steps, because the caller may stop between them: bytes that are mapped already need neither staging nor a probe.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{
    digest::Sha256,
    elf::{self, Elf},
    error::LoadError,
    map_fault::MapFault,
    name::PluginName,
    probe::{Probe, ProbeFault, ProbeOptions},
    seal::{self, Seal},
    source,
    stage::Stage,
};

/// Where plugins come from, and what is asked of them.
#[derive(Clone, Debug)]
pub struct Intake {
    pub plugins: PathBuf,
    pub stage: Stage,
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

impl Candidate {
    /// Compares the build id that mapped code gave, in hex, with the one in the file.
    ///
    /// # Errors
    /// [`MapFault::Echo`] if they differ: what was mapped is other code.
    pub fn check_echo(&self, found: &str) -> Result<(), MapFault> {
        let expected = self.elf.build_id.to_string();
        if found == expected {
            return Ok(());
        }
        Err(MapFault::Echo { expected, found: found.to_owned() })
    }

    /// What speaks against it, found in the probe.
    #[must_use]
    pub fn not_probed(&self, fault: ProbeFault) -> LoadError {
        LoadError::Probe { name: self.name.clone(), fault: Box::new(fault) }
    }
}

impl Intake {
    /// Finds the plugin with this name and checks its bytes.
    pub fn read(&self, name: &PluginName) -> Result<Candidate, LoadError> {
        let bytes = source::read(&self.plugins, name, self.plugin_bytes_max)?;
        check(name.clone(), bytes, self.root_symbol)
    }

    /// Puts a private copy of the candidate where it can be mapped from.
    pub fn stage(&self, candidate: &Candidate) -> Result<PathBuf, LoadError> {
        self.stage.stage(&candidate.bytes, &candidate.sha256).map_err(|source| LoadError::Stage {
            name: candidate.name.clone(),
            path: self.stage.path(&candidate.sha256),
            source,
        })
    }

    /// Maps the staged copy in a child process. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`LoadError::Probe`]
    pub fn probe<T: DeserializeOwned>(&self, candidate: &Candidate, staged: &Path) -> Result<Probe<T>, LoadError> {
        Probe::start(staged, &self.probe).map_err(|fault| candidate.not_probed(fault))
    }
}

/// The checks that need nothing but the bytes.
pub fn check(name: PluginName, bytes: Vec<u8>, root_symbol: &str) -> Result<Candidate, LoadError> {
    let hashed = seal::hash(&bytes);
    let damaged = |fault| LoadError::Damaged { name: name.clone(), fault };
    // What is no ELF file at all is told so, rather than that it is damaged.
    let elf = elf::check(&bytes, root_symbol);
    let seal = match (&elf, hashed.seal) {
        (_, Ok(seal)) => seal,
        (Err(elf::ElfFault::NotElf { .. }), Err(_)) => Seal::Unsealed,
        (_, Err(fault)) => return Err(damaged(fault)),
    };
    let elf = elf.map_err(|fault| LoadError::NotAPlugin { name: name.clone(), fault })?;
    if seal == Seal::Unsealed {
        seal::check_tail(&bytes, elf.content_bytes).map_err(damaged)?;
    }
    Ok(Candidate { name, bytes, sha256: hashed.sha256, seal, elf })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::{
        elf::tests::{ROOT, library},
        error::Class,
        seal::SEAL_BYTES,
    };

    fn sealed() -> Vec<u8> {
        let seal = format!("hotseat-seal:{}\n", Sha256::of(library()));
        [library(), seal.as_bytes()].concat()
    }

    fn check_bytes(bytes: &[u8]) -> Result<Candidate, LoadError> {
        check(PluginName::parse("a.so")?, bytes.to_vec(), ROOT)
    }

    #[test]
    fn a_seal_is_not_required_but_known() {
        let with = check_bytes(&sealed()).unwrap();
        let without = check_bytes(library()).unwrap();
        assert_eq!((with.seal, without.seal), (Seal::Sealed, Seal::Unsealed));
        assert_eq!(with.elf, without.elf);
        assert_ne!(with.sha256, without.sha256);
        assert_eq!(with.sha256, Sha256::of(&sealed()));
    }

    /// But for the one length at which nothing but the whole seal is missing: such a file is as good as an unsealed one.
    #[test]
    fn no_cut_file_passes_sealed_or_not() {
        let bytes = sealed();
        for length in 0..bytes.len() {
            let result = check_bytes(&bytes[..length]);
            match result {
                Ok(candidate) => assert_eq!((length, candidate.seal), (bytes.len() - SEAL_BYTES, Seal::Unsealed)),
                Err(error) => assert_eq!(error.class(), Class::Unloadable, "{length} bytes"),
            }
        }
    }

    #[test]
    fn no_flipped_bit_passes_in_a_sealed_file() {
        let mut bytes = sealed();
        for bit in (0..bytes.len() * 8).step_by(7) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = check_bytes(&bytes).unwrap_err();
            assert!(matches!(error.code(), "damaged" | "not-elf"), "bit {bit}: {error}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let text = check_bytes(b"hello, world").unwrap_err();
        assert_eq!(text.to_string(), "a.so: not an ELF file: starts with \"hello, world\"");
        let mut bytes = sealed();
        bytes[5000] ^= 1;
        let (seal, content) = (Sha256::of(library()), Sha256::of(&bytes[..library().len()]));
        let damaged =
            format!("a.so is damaged: the seal says sha256 {seal}, the content has {content}; build it again");
        assert_eq!(check_bytes(&bytes).unwrap_err().to_string(), damaged);
        bytes.truncate(library().len() + 20);
        let cut =
            "a.so is damaged: 20 bytes of a seal follow its content, a seal has 78 and ends the file; build it again";
        assert_eq!(check_bytes(&bytes).unwrap_err().to_string(), cut);
        assert_eq!(check_bytes(&bytes).unwrap_err().code(), "damaged");
    }
}
