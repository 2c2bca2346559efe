//! The way from a connection to the room that its player is in.

use std::sync::Arc;
use std::time::Duration;

use logic_api::PlayerId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::rooms::command::{Ask, FromPlayer};
use crate::rooms::error::RoomError;
use crate::rooms::outlet::Entered;
use crate::rooms::registry::Place;
use crate::sessions::Link;

/// A room, to somebody who is in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RoomDoor(pub(super) Arc<Place>);

impl RoomDoor {
    /// Where the connections of the room's players are served: whoever reads there need not wake anybody for the room.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// The door, once the room has let the player in.
    ///
    /// # Errors
    /// It has not, or its answer did not come in time.
    pub(super) async fn entered(
        self,
        player: PlayerId,
        link: &Arc<Link>,
        answer: oneshot::Receiver<Entered>,
        patience: Duration,
    ) -> Result<RoomDoor, RoomError> {
        // What is not answered is taken back with the receiver, which is dropped here.
        let answered = timeout(patience, answer).await;
        let Ok(entered) = answered else {
            // It may be done, and only its answer be under way.
            self.tell(player, link, FromPlayer::Gone);
            return Err(RoomError::Stuck { room: self.0.name(), waited_ms: patience.as_millis() });
        };
        entered.map_err(|_| self.0.ended())??;
        Ok(self)
    }

    /// What a player's connection brings. A room that is gone has closed it, or is about to.
    pub(crate) fn tell(&self, player: PlayerId, link: &Arc<Link>, what: FromPlayer) {
        let _gone = self.0.send(Ask::FromPlayer { player, link: Arc::clone(link), what });
    }
}
