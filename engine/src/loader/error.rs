//! Everything that can stop a plugin on its way into the engine, worded for the operator who asked for it.

use std::{fmt, io, path::PathBuf};

use super::{
    elf::ElfFault,
    map_fault::MapFault,
    name::{NameFault, PluginName},
    probe::ProbeFault,
    seal::SealFault,
};

/// Why a plugin is not loaded. Nothing has changed when one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    BadName(#[from] NameFault),
    #[error("no file {:?} in {}: {available}", name.as_str(), folder.display())]
    NotFound { name: PluginName, folder: PathBuf, available: Available },
    #[error("the plugins folder {} cannot be opened: {source}; create it, or name another with --plugins", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{name} is {kind}, not a file: {}", kind.advice())]
    NotAFile { name: PluginName, kind: FileKind },
    #[error("{name} cannot be read: {source}")]
    Unreadable { name: PluginName, source: io::Error },
    #[error("{name} is empty: build it again")]
    Empty { name: PluginName },
    #[error("{name} has {bytes} bytes, the limit is {bytes_max} (plugin_bytes_max)")]
    TooLarge { name: PluginName, bytes: u64, bytes_max: u64 },
    #[error("{name} changed while it was being read; load it again")]
    Changed { name: PluginName },
    #[error("{name} is {fault}")]
    Damaged { name: PluginName, fault: SealFault },
    #[error("{name}: {fault}")]
    NotAPlugin { name: PluginName, fault: ElfFault },
    #[error("cannot keep a copy of {name} at {}: {source}", path.display())]
    Stage { name: PluginName, path: PathBuf, source: io::Error },
    #[error("{name}: {fault}")]
    Probe { name: PluginName, fault: Box<ProbeFault> },
    #[error("{name}: {fault}")]
    NotMapped { name: PluginName, fault: MapFault },
}

/// Who is to act on a [`LoadError`]; decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request names something that cannot be a plugin's name.
    BadName,
    /// There is no such file.
    NotFound,
    /// Something else happened to the file at the same time: asking again is enough.
    Conflict,
    /// The file is there, and it is not a plugin that can run here.
    Unloadable,
    /// The engine could not do its part: a folder, a disk, a process limit.
    Unavailable,
}

impl LoadError {
    pub fn class(&self) -> Class {
        match self {
            Self::BadName(_) => Class::BadName,
            Self::NotFound { .. } => Class::NotFound,
            Self::Changed { .. } => Class::Conflict,
            Self::Folder { .. } | Self::Stage { .. } => Class::Unavailable,
            Self::Probe { fault, .. } if fault.is_ours() => Class::Unavailable,
            Self::NotAFile { .. }
            | Self::Unreadable { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. }
            | Self::NotAPlugin { .. }
            | Self::Probe { .. }
            | Self::NotMapped { .. } => Class::Unloadable,
        }
    }

    /// A stable word for programs, in kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName(_) => "bad-name",
            Self::NotFound { .. } => "not-found",
            Self::Folder { .. } => "plugins-folder",
            Self::NotAFile { .. } => "not-a-file",
            Self::Unreadable { .. } => "unreadable",
            Self::Empty { .. } => "empty",
            Self::TooLarge { .. } => "too-large",
            Self::Changed { .. } => "changed-while-read",
            Self::Damaged { .. } => "damaged",
            Self::NotAPlugin { fault, .. } => fault.code(),
            Self::Stage { .. } => "stage",
            Self::Probe { fault, .. } => fault.code(),
            Self::NotMapped { fault, .. } => fault.code(),
        }
    }

    /// What the plugin printed before it was refused, when it printed anything: bounded, without control characters.
    pub fn printed(&self) -> Option<&str> {
        match self {
            Self::Probe { fault, .. } => fault.printed(),
            _ => None,
        }
    }
}

/// Lines of what a plugin printed that whoever tries it gets to see.
const PRINTED_LINES_MAX: usize = 8;

/// The last lines of what a plugin printed, each as one of a report.
pub fn printed_lines(printed: &str) -> Vec<String> {
    let lines: Vec<_> = printed.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(PRINTED_LINES_MAX)..];
    last.iter().map(|line| format!("it printed: {line}")).collect()
}

/// What a name stands for when it is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Symlink,
    Folder,
    Fifo,
    Socket,
    Device,
    Unknown,
}

impl FileKind {
    fn advice(self) -> &'static str {
        match self {
            Self::Symlink => "make a hard link or a copy (scripts/build_so.sh does)",
            _ => "put a plugin built by scripts/build_so.sh there",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symlink => "a symbolic link",
            Self::Folder => "a folder",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Unknown => "of an unknown kind",
        })
    }
}

/// The plugins there are instead of one that is not: the closest names first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Available {
    pub names: Vec<PluginName>,
    /// How many more there are than `names` says.
    pub more: usize,
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.names.split_first() else {
            return f.write_str("it has no .so files, build one with scripts/build_so.sh");
        };
        write!(f, "it has {first}")?;
        rest.iter().try_for_each(|name| write!(f, ", {name}"))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
