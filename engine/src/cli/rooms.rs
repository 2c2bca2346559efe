//! `engine rooms`: what there is, and what comes and goes.

use clap::Subcommand;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cli::client::Engine;
use crate::cli::{ClientError, ClientFlags, table};
use crate::status::{NewRoom, PlayerStatus, RoomChange, RoomStatus};

/// What is to be done with the rooms.
#[derive(Debug, Subcommand)]
pub enum RoomsCommand {
    /// Open a room on the version that is running.
    New {
        /// Its name [default: one that is made up].
        name: Option<String>,
        /// What the logic's `create` gets.
        #[arg(long, value_name = "TEXT")]
        create: Option<String>,
        /// By which players can ask for any room of a kind: as *LABEL.
        #[arg(long)]
        label: Option<String>,
        /// Its seats [default: players_max of the config].
        #[arg(long, value_name = "N")]
        players_max: Option<u64>,
        /// Ticks per second [default: tick_hz of the config].
        #[arg(long, value_name = "N")]
        tick_hz: Option<u64>,
        /// Keep players out for now.
        #[arg(long)]
        locked: bool,
        /// Let it go when nobody is in it.
        #[arg(long)]
        dispose_when_empty: bool,
        /// How long it then stays empty before it goes [default: room_linger_ms of the config].
        #[arg(long, value_name = "MS", requires = "dispose_when_empty")]
        linger_ms: Option<u64>,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Keep players out of a room; those who are in stay.
    Lock {
        name: String,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Let players into a room again.
    Unlock {
        name: String,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// End a room, and wait until it is gone.
    Close {
        name: String,
        /// How long it goes on for those who are in [default: terminate_grace_ms of the config].
        #[arg(long, value_name = "MS")]
        grace_ms: Option<u64>,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Show who is in a room.
    Players {
        name: String,
        /// Print the engine's JSON instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Take a player out of a room for good. Their token is of no use any more; to join anew is not forbidden.
    Kick {
        name: String,
        /// The number of the player, as `engine rooms players` shows it.
        player: u64,
        /// What they are told, and the logic [default: that an operator did it].
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        client: ClientFlags,
    },
}

/// Does it, or lists the rooms; the text says what happened.
///
/// # Errors
/// [`ClientError`] if no engine answers or it refuses.
pub fn rooms(command: Option<RoomsCommand>, json: bool, client: &ClientFlags) -> Result<String, ClientError> {
    const ALL: &str = "/api/v1/rooms";
    let one = |name: &str| format!("{ALL}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC_BUT_MARKS));
    match command {
        None => {
            let answer = Engine::find(client)?.ask("GET", ALL, ())?;
            let rooms: Vec<RoomStatus> = answer.parse()?;
            Ok(if json { answer.body } else { table::room_list(&rooms) })
        }
        Some(RoomsCommand::New {
            name,
            create: config,
            label,
            players_max,
            tick_hz,
            locked,
            dispose_when_empty,
            linger_ms,
            client,
        }) => {
            let new = NewRoom { name, config, players_max, locked, label, dispose_when_empty, linger_ms, tick_hz };
            let room: RoomStatus = Engine::find(&client)?.ask("POST", ALL, body(&new))?.parse()?;
            Ok(format!("opened {}: {} seats, {} ticks a second\n", room.name, room.players_max, room.tick_hz))
        }
        Some(RoomsCommand::Lock { name, client }) => {
            let change = RoomChange { locked: Some(true), ..RoomChange::default() };
            Engine::find(&client)?.ask("PATCH", &one(&name), body(&change))?;
            Ok(format!("{name} is locked\n"))
        }
        Some(RoomsCommand::Unlock { name, client }) => {
            let change = RoomChange { locked: Some(false), ..RoomChange::default() };
            Engine::find(&client)?.ask("PATCH", &one(&name), body(&change))?;
            Ok(format!("{name} is open\n"))
        }
        Some(RoomsCommand::Close { name, grace_ms, client }) => {
            let grace = grace_ms.map_or_else(String::new, |ms| format!("?grace_ms={ms}"));
            Engine::find(&client)?.ask("DELETE", &format!("{}{grace}", one(&name)), ())?;
            Ok(format!("{name} is closed\n"))
        }
        Some(RoomsCommand::Players { name, json, client }) => {
            let answer = Engine::find(&client)?.ask("GET", &format!("{}/players", one(&name)), ())?;
            let players: Vec<PlayerStatus> = answer.parse()?;
            Ok(if json { answer.body } else { table::player_list(&players) })
        }
        Some(RoomsCommand::Kick { name, player, reason, client }) => {
            let reason = reason.map(|reason| format!("?reason={}", utf8_percent_encode(&reason, NON_ALPHANUMERIC)));
            let target = format!("{}/players/{player}{}", one(&name), reason.unwrap_or_default());
            Engine::find(&client)?.ask("DELETE", &target, ())?;
            Ok(format!("{player} is out of {name}\n"))
        }
    }
}

/// What a room's name may hold stays as it is: the engine compares names as they come.
const NON_ALPHANUMERIC_BUT_MARKS: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

fn body<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the types have string keys only")
}
