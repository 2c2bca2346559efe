//! What a player hears of versions that come and go.

use std::sync::Arc;

use logic_api::PlayerId;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use wire::{EngineFrame, tcp};

use super::{First, PicksOnB, Second, get, start, swap_for_good, version};
use crate::metrics::Metrics;
use crate::rooms::{Entry, FromPlayer, RoomDoor, Rooms};
use crate::sessions::Link;

/// The far end of a player's connection.
pub(super) struct Far {
    stream: TcpStream,
    read: Vec<u8>,
    /// What the near end knows of its player.
    player: PlayerId,
    door: RoomDoor,
    link: Arc<Link>,
    said: u32,
}

impl Far {
    pub(super) async fn join(rooms: &Rooms, room: &str, player: u64) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let patience = std::time::Duration::from_secs(3600);
        let (player, link) = (PlayerId(player), Link::to(near, Metrics::new().sessions()));
        let entry = Entry { link: Arc::clone(&link), token: Arc::from(""), patience };
        let admission = rooms.admit(room).await.unwrap();
        let door = admission.join(player, Arc::from([]), Arc::from(""), entry).await.unwrap();
        Far { stream, read: Vec::new(), player, door, link, said: 0 }
    }

    /// As if the near end had read it.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.said += 1;
        self.link.gave(Link::cost(bytes.len()));
        self.door.tell(self.player, &self.link, FromPlayer::Messages(vec![(self.said, bytes.into())]));
    }

    pub(super) async fn ask(&mut self, bytes: &[u8]) -> String {
        self.say(bytes);
        self.hear().await
    }

    /// The next frame, in a few words.
    pub(super) async fn hear(&mut self) -> String {
        loop {
            if let Some((frame, taken)) = tcp::split(&self.read) {
                let heard = match EngineFrame::decode(frame).unwrap().1 {
                    EngineFrame::Message(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                    EngineFrame::Version { name, .. } => format!("version {name}"),
                    EngineFrame::Joined(joined) => format!("joined {}", joined.version_name),
                    other => format!("{other:?}"),
                };
                self.read.drain(..taken);
                return heard;
            }
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "the connection has ended");
        }
    }
}

#[tokio::test]
async fn nothing_is_heard_of_a_version_that_not_every_room_takes() {
    let rooms = start::<First>(0).unwrap();
    let mut players = [Far::join(&rooms, "main", 1).await, Far::join(&rooms, "b", 2).await];
    let name = rooms.logics()[0].1.name().to_owned();
    swap_for_good(&rooms, &version::<PicksOnB>()).await.unwrap_err();
    assert_eq!(get(&rooms, "main", "/").await, "First 1");
    swap_for_good(&rooms, &version::<Second>()).await.unwrap();
    for player in &mut players {
        let heard = [player.hear().await, player.hear().await, player.hear().await];
        assert_eq!(heard, [format!("joined {name}"), format!("version {name}"), "from Second".to_owned()]);
    }
}

#[tokio::test]
async fn whoever_has_nothing_else_to_hear_hears_of_each_version_all_the_same() {
    let rooms = start::<Second>(0).unwrap();
    let mut players = Vec::new();
    for player in 1..=99 {
        players.push(Far::join(&rooms, "main", player).await);
    }
    // One that is quiet, and another before everybody can have heard of it.
    for _ in 0..2 {
        swap_for_good(&rooms, &version::<First>()).await.unwrap();
    }
    let name = rooms.logics()[0].1.name().to_owned();
    for player in &mut players {
        assert!(player.hear().await.starts_with("joined "));
        assert_eq!([player.hear().await, player.hear().await], [(); 2].map(|()| format!("version {name}")));
    }
}
