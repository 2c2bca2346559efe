//! Why a file is not a plugin, by its structure.

/// Each refusal says what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfFault {
    #[error("not an ELF file: starts with \"{start}\"")]
    NotElf { start: String },
    #[error("the file is cut short: {what} ends at {end}, the file has {bytes} bytes; build it again")]
    Cut { what: String, end: u128, bytes: u64 },
    #[error("built for {found}, this engine runs on {expected}")]
    Machine { found: String, expected: &'static str },
    #[error("{found}, not a shared library: build it as a cdylib (scripts/build_so.sh does)")]
    NotShared { found: &'static str },
    #[error("damaged: {part} {reason}; build it again")]
    Damaged { part: String, reason: String },
    #[error("not a plugin: it does not export {symbol:?}, which #[logic] makes")]
    NoSymbol { symbol: String },
    #[error("no build id: link with -Wl,--build-id=sha1 (scripts/build_so.sh does)")]
    NoBuildId,
}

impl ElfFault {
    pub(super) fn damaged(part: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged { part: part.into(), reason: reason.into() }
    }

    /// A stable word for programs, in kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotElf { .. } => "not-elf",
            Self::Cut { .. } => "cut-short",
            Self::Machine { .. } => "other-machine",
            Self::NotShared { .. } => "not-a-shared-library",
            Self::Damaged { .. } => "damaged",
            Self::NoSymbol { .. } => "no-root-symbol",
            Self::NoBuildId => "no-build-id",
        }
    }
}
