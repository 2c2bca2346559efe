//! What is kept of rooms, as commands find it that only read.

use std::path::PathBuf;

use crate::config::{Config, ConfigError, Flags};
use crate::journal::files::Disk;
use crate::journal::keeper::{ROOMS_FOLDER, room_names};
use crate::journal::log::LogError;

/// The folder of the rooms, and those of them that are meant.
pub(super) struct RoomsFolder {
    pub(super) config: Config,
    path: PathBuf,
    /// At least one.
    pub(super) names: Vec<String>,
}

/// Why there is no room to look at.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{folder} keeps no room{}; it has {known}", .room.as_ref().map_or(String::new(), |room| format!(" {room:?}")))]
    NoRoom { folder: String, room: Option<String>, known: String },
}

impl RoomsFolder {
    /// That of the flags, or of the config. `room` is the one that is meant, if not all are.
    pub(super) fn open(
        data: Option<PathBuf>,
        config: Option<PathBuf>,
        room: Option<&str>,
    ) -> Result<RoomsFolder, FolderError> {
        let config = Config::load(Flags { config, data, ..Flags::default() })?;
        let path = config.data.join(ROOMS_FOLDER);
        let known = room_names(&Disk, &path)?;
        let is_meant = |name: &&String| room.is_none_or(|room| room == name.as_str());
        let names: Vec<String> = known.iter().filter(is_meant).cloned().collect();
        if names.is_empty() {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let (folder, room) = (path.display().to_string(), room.map(str::to_owned));
            return Err(FolderError::NoRoom { folder, room, known });
        }
        Ok(RoomsFolder { config, path, names })
    }

    pub(super) fn of(&self, room: &str) -> PathBuf {
        self.path.join(room)
    }
}
