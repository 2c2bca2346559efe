//! What a plugin says of itself.

use crate::{Logic, Version, abi::CONTRACT, schema::Schema};
use serde::{Deserialize, Serialize};

/// A plugin's account of itself, read by the engine when it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`CONTRACT`] of the `logic_api` that it was built with.
    pub contract: u32,
    pub version: Version,
    pub name: String,
    /// The callbacks that it defines, by name.
    pub callbacks: Vec<String>,
    pub schema: Schema,
}

impl Manifest {
    pub(crate) fn of<L: Logic>() -> Self {
        Self {
            contract: CONTRACT,
            version: L::VERSION,
            name: L::NAME.into(),
            callbacks: L::CALLBACKS.iter().map(|name| (*name).into()).collect(),
            schema: L::schema(),
        }
    }

    /// Reads what `LogicTable::manifest` wrote.
    ///
    /// # Errors
    /// The bytes are no manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}
