//! The whole way of a plugin, from its name to a version that is mapped into this process.

use std::path::Path;
use std::sync::Arc;

use logic_api::Manifest;
use logic_api::changes::Changes;
use room::{LogicVersion, VersionMark};
use serde::{Deserialize, Serialize};

use super::{
    digest::Sha256,
    elf::BuildId,
    error::LoadError,
    intake::{Candidate, Intake, check},
    map_fault::MapFault,
    name::PluginName,
    probe::{Probe, ProbeFault, ProbeOptions, Probed, RoomToTry},
    raw,
    stage::Stage,
    versions::{Mapped, Versions},
};
use crate::config::Config;

/// Loads plugins. Every method blocks: on the file, and on the probe's child.
#[derive(Debug)]
pub struct Loader {
    pub intake: Intake,
    /// The versions of the journals, where they are another's: what is sound there is mapped, and nothing is changed.
    kept: Option<Stage>,
    pub versions: Versions,
}

/// What the probe's child says of a plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    pub manifest: Manifest,
    pub changes: Changes,
    /// What its code answered, in hex.
    pub build_id: String,
}

/// Run in the probe's child: maps the plugin and asks it what it is. A refusal is what it found, too.
pub fn summarize(staged: &Path) -> (Result<Summary, MapFault>, Option<Arc<LogicVersion>>) {
    match raw::map(staged) {
        Ok(logic) => (Ok(summary_of(&logic)), Some(logic)),
        Err(fault) => (Err(fault), None),
    }
}

impl Loader {
    pub fn new(config: &Config, data: &Path) -> Self {
        let intake = Intake {
            plugins: config.plugins.clone(),
            stage: Stage::new(data),
            root_symbol: raw::ROOT_SYMBOL,
            plugin_bytes_max: config.plugin_bytes_max,
            probe: ProbeOptions {
                time_max: config.probe_timeout,
                rewrite_time_max: config.rewrite_timeout,
                ..ProbeOptions::default()
            },
        };
        Self { intake, kept: None, versions: Versions::new() }
    }

    /// As [`Loader::new`], for somebody who only looks at a data folder: copies are made in `scratch`.
    pub fn looking(config: &Config, data: &Path, scratch: &Path) -> Self {
        Self { kept: Some(Stage::new(data)), ..Self::new(config, scratch) }
    }

    /// Maps the plugin with this name. `approve` sees its content's hash and what it says of itself before anything of it is in this
    /// process, for what is mapped stays for good. Bytes that are mapped already are neither staged nor probed again.
    ///
    /// # Errors
    /// [`LoadError`], or what `approve` says.
    pub fn load<E: From<LoadError>>(
        &self,
        name: &PluginName,
        approve: impl FnOnce(&Sha256, &Manifest, &Changes) -> Result<(), E>,
    ) -> Result<Arc<Mapped>, E> {
        self.load_for(name, approve, || Ok(std::iter::empty()))
    }

    /// As [`Loader::load`], and it is tried on copies of rooms in the probe's child, before anything of it is in this process.
    /// `rooms` is asked for them once it is approved.
    ///
    /// # Errors
    /// [`LoadError`], or what `approve` or `rooms` says.
    pub fn load_for<E: From<LoadError>, R: Iterator<Item = RoomToTry>>(
        &self,
        name: &PluginName,
        approve: impl FnOnce(&Sha256, &Manifest, &Changes) -> Result<(), E>,
        rooms: impl FnOnce() -> Result<R, E>,
    ) -> Result<Arc<Mapped>, E> {
        let candidate = self.intake.read(name)?;
        if let Some(mapped) = self.versions.get(&candidate.sha256) {
            approve(&candidate.sha256, mapped.logic.manifest(), mapped.logic.changes())?;
            let mut rooms = rooms()?.peekable();
            if rooms.peek().is_some() {
                let staged = self.intake.stage(&candidate)?;
                self.intake.look(&candidate, &staged)?.rehearse(rooms).map_err(|fault| candidate.not_probed(fault))?;
            }
            return Ok(mapped);
        }
        let staged = self.intake.stage(&candidate)?;
        let mappable = self.intake.look(&candidate, &staged)?;
        let summary = mappable.summary();
        approve(&candidate.sha256, &summary.manifest, &summary.changes)?;
        mappable.rehearse(rooms()?).map_err(|fault| candidate.not_probed(fault))?;
        Ok(self.versions.map(&candidate, &staged).map_err(|fault| not_mapped(&candidate, fault))?)
    }
}

impl Loader {
    /// Maps the version that a journal names, from the copy that was kept when it was loaded. It has run here before, so it is not
    /// probed again.
    ///
    /// # Errors
    /// The copy is gone or another, or cannot be mapped any more; in words for an operator.
    pub fn load_kept(&self, mark: &VersionMark) -> Result<Arc<Mapped>, String> {
        let sha256 = Sha256::from(mark.sha256);
        if let Some(mapped) = self.versions.get(&sha256) {
            return Ok(mapped);
        }
        let kept = self.kept.as_ref().unwrap_or(&self.intake.stage);
        let path = kept.path(&sha256);
        let bytes = kept
            .kept(&sha256)
            .map_err(|error| format!("{}: {error}; put the plugin with this sha256 there", path.display()))?;
        let name = PluginName::parse(&format!("game.{}.so", mark.version)).map_err(|error| error.to_string())?;
        let candidate = check(name, bytes, self.intake.root_symbol).map_err(|error| error.to_string())?;
        // What is mapped must not be written to by anybody.
        let is_sound = self.kept.as_ref().is_some_and(|kept| kept.has(&candidate.bytes, &sha256).unwrap_or(false));
        let staged = match is_sound {
            true => path,
            false => self.intake.stage(&candidate).map_err(|error| error.to_string())?,
        };
        self.versions.map(&candidate, &staged).map_err(|fault| not_mapped(&candidate, fault).to_string())
    }

    /// What the plugin with this name is, and what it says of itself. Nothing of it gets into this process.
    ///
    /// # Errors
    /// [`LoadError`], as for a load.
    pub fn look<E: From<LoadError>>(&self, name: &PluginName) -> Result<(Sha256, Summary), E> {
        let candidate = self.intake.read(name)?;
        let summary = match self.versions.get(&candidate.sha256) {
            Some(mapped) => summary_of(&mapped.logic),
            None => self.intake.summary(&candidate, &self.intake.stage(&candidate)?)?,
        };
        Ok((candidate.sha256, summary))
    }
}

fn summary_of(logic: &LogicVersion) -> Summary {
    Summary {
        manifest: logic.manifest().clone(),
        changes: logic.changes().clone(),
        build_id: BuildId::from(logic.build_id()).to_string(),
    }
}

/// A plugin that a child process has mapped, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Mappable {
    probe: Probe<Result<Summary, MapFault>>,
    name: PluginName,
}

impl Mappable {
    pub(crate) fn summary(&self) -> &Summary {
        self.probe.loaded().as_ref().expect("what cannot be mapped is not looked at")
    }

    /// Tries it on the rooms, and ends the child. Gives what it printed with what it says of itself.
    pub(crate) fn rehearse(self, rooms: impl Iterator<Item = RoomToTry>) -> Result<(Summary, String), ProbeFault> {
        let Probed { loaded, printed, .. } = self.probe.rehearse(rooms)?;
        if !printed.is_empty() {
            tracing::info!(name = %self.name, "the plugin printed while it was probed: {printed}");
        }
        Ok((loaded.expect("what cannot be mapped is not looked at"), printed))
    }
}

impl Intake {
    /// What a plugin says of itself, without it ever being in this process.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be mapped, or its code is not what its file says.
    pub fn summary(&self, candidate: &Candidate, staged: &Path) -> Result<Summary, LoadError> {
        let mappable = self.look(candidate, staged)?;
        let rehearsed = mappable.rehearse(std::iter::empty()).map_err(|fault| candidate.not_probed(fault))?;
        Ok(rehearsed.0)
    }

    pub(crate) fn look(&self, candidate: &Candidate, staged: &Path) -> Result<Mappable, LoadError> {
        let probe: Probe<Result<Summary, MapFault>> = self.probe(candidate, staged)?;
        let fault = match probe.loaded() {
            Ok(summary) => candidate.check_echo(&summary.build_id).err(),
            Err(fault) => Some(fault.clone()),
        };
        match fault {
            None => Ok(Mappable { probe, name: candidate.name.clone() }),
            Some(fault) => Err(not_mapped(candidate, fault)),
        }
    }
}

fn not_mapped(candidate: &Candidate, fault: MapFault) -> LoadError {
    LoadError::NotMapped { name: candidate.name.clone(), fault }
}
