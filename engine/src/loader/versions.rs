//! The versions of the logic that are mapped into this process. They are never unmapped, so none is mapped twice.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use room::LogicVersion;

use super::{digest::Sha256, elf::BuildId, intake::Candidate, map_fault::MapFault, name::PluginName, raw};

/// A version of the logic as it is mapped: identified by the hash of its file, for two builds may say the same number.
#[derive(Debug)]
pub struct Mapped {
    pub logic: Arc<LogicVersion>,
    pub sha256: Sha256,
    /// Of the file; the code has answered with the same one.
    pub build_id: BuildId,
    /// The name it was first asked for by.
    pub file: PluginName,
    pub bytes: u64,
    pub mapped_at: Timestamp,
}

/// All versions that are mapped, in the order they were.
#[derive(Debug, Default)]
pub struct Versions(Mutex<Vec<Arc<Mapped>>>);

impl Versions {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, sha256: &Sha256) -> Option<Arc<Mapped>> {
        self.0.lock().iter().find(|mapped| mapped.sha256 == *sha256).cloned()
    }

    /// Maps the candidate's staged copy, unless the same bytes are mapped already, and has the mapped code say its build id.
    ///
    /// # Errors
    /// [`MapFault`]. The file stays in memory, but no room can get at it.
    pub fn map(&self, candidate: &Candidate, staged: &Path) -> Result<Arc<Mapped>, MapFault> {
        // Held while mapping: two at once would otherwise both find that it is not there.
        let mut versions = self.0.lock();
        if let Some(mapped) = versions.iter().find(|mapped| mapped.sha256 == candidate.sha256) {
            return Ok(Arc::clone(mapped));
        }
        let logic = raw::map(staged)?;
        candidate.check_echo(&BuildId::from(logic.build_id()).to_string())?;
        logic.came_from(*candidate.sha256.as_bytes());
        let mapped = Arc::new(Mapped {
            logic,
            sha256: candidate.sha256,
            build_id: candidate.elf.build_id.clone(),
            file: candidate.name.clone(),
            bytes: candidate.bytes.len() as u64,
            mapped_at: Timestamp::now(),
        });
        versions.push(Arc::clone(&mapped));
        Ok(mapped)
    }

    /// All of them, in the order they were mapped.
    pub fn list(&self) -> Vec<Arc<Mapped>> {
        self.0.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}
