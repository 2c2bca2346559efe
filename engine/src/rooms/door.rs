//! The way from a connection to the room that its player is in.

use std::sync::Arc;

use logic_api::PlayerId;

use crate::rooms::command::{Ask, FromPlayer};
use crate::rooms::registry::Place;
use crate::sessions::Link;

/// A room, to somebody who is in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RoomDoor(pub(super) Arc<Place>);

impl RoomDoor {
    /// What a player's connection brings. A room that is gone has closed it, or is about to.
    pub(crate) fn tell(&self, player: PlayerId, link: &Arc<Link>, what: FromPlayer) {
        let _gone = self.0.send(Ask::FromPlayer { player, link: Arc::clone(link), what });
    }
}
