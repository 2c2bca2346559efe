//! Why a file that was mapped is not a logic that this engine can call.

use serde::{Deserialize, Serialize};

/// Told by the probe's child and by the engine alike. Each text is one line, and says what to do where that is not plain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MapFault {
    #[error("the dynamic linker refuses it: {reason}")]
    Linker { reason: String },
    #[error("its root symbol is not one of this engine's logic_api: build it again")]
    Header,
    #[error("built against logic_api {found}, this engine has {expected}: build it again")]
    Contract { expected: String, found: String },
    #[error("{difference}; build it against this engine's logic_api")]
    Layout { difference: String },
    #[error("its root module cannot be made: {reason}")]
    Root { reason: String },
    #[error("{reason}")]
    Logic { reason: String },
    #[error("the mapped code answers with another build id than its file has: expected {expected}, found {found}")]
    Echo { expected: String, found: String },
}

impl MapFault {
    /// A stable word for programs, in kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Linker { .. } => "not-linkable",
            Self::Header | Self::Contract { .. } => "contract-differs",
            Self::Layout { .. } => "layout-differs",
            Self::Root { .. } | Self::Logic { .. } => "logic-unusable",
            Self::Echo { .. } => "wrong-code",
        }
    }
}
