//! A line for each record, for people.

use super::{Note, Record, Skipped, VersionMark};
use crate::input::Input;
use std::fmt;

/// Bytes of a message that are shown.
const SHOWN_BYTES_MAX: usize = 48;

impl fmt::Display for VersionMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, sha256 ", self.name, self.version)?;
        self.sha256[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { version, config, .. } => write!(f, "create on {version}, config {}", Bytes(config)),
            Self::Swap { to, drops, .. } if drops.is_empty() => write!(f, "swap to {to}"),
            Self::Swap { to, drops, .. } => write!(f, "swap to {to}, dropping {}", drops.join(", ")),
            Self::Input { input, .. } => show_input(input, f),
            Self::Note(Note::Freeze { fault, .. }) => write!(f, "frozen: {fault}"),
            Self::Note(Note::Hash(hash)) => write!(f, "state hash {hash:016x}"),
            Self::Note(Note::Skipped(skipped)) => write!(f, "{skipped} ended the process: the room goes on without it"),
            Self::Note(Note::Leaving { player, reason }) => {
                write!(f, "player {player} has left, of which the room is still to hear: {reason:?}")
            }
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { record, again: 0 } => write!(f, "record {record}"),
            Self { record, again } => write!(f, "input {again} since the swap, in the rewind of record {record},"),
        }
    }
}

fn show_input(input: &Input, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match input {
        Input::Create { config } => write!(f, "create, config {}", Bytes(config)),
        Input::Join { player, hello, claims } => {
            write!(f, "join of player {player}, hello {}, claims {claims:?}", Bytes(hello))
        }
        Input::Drop { player } => write!(f, "connection of player {player} lost"),
        Input::Reconnect { player } => write!(f, "player {player} is back"),
        Input::Leave { player, reason } => write!(f, "player {player} leaves: {reason:?}"),
        Input::Message { player, number, bytes } => {
            write!(f, "message {number} from player {player}, {}", Bytes(bytes))
        }
        Input::Skip { player, number } => write!(f, "message {number} from player {player} is passed over"),
        Input::Presence { player, is_connected: true } => write!(f, "player {player} is back, unheard by the logic"),
        Input::Presence { player, .. } => write!(f, "connection of player {player} lost, unheard by the logic"),
        Input::Confirm => f.write_str("the version on trial stays"),
        Input::Rewind { without } => {
            f.write_str("the version on trial goes: back to before its swap")?;
            let numbers: Vec<_> = without.iter().map(ToString::to_string).collect();
            if numbers.is_empty() { Ok(()) } else { write!(f, ", without input {} since then", numbers.join(", ")) }
        }
        Input::Tick => f.write_str("tick"),
        Input::Request(request) => {
            write!(f, "{} {:?}", request.method, request.path)?;
            if !request.query.is_empty() {
                write!(f, " query {:?}", request.query)?;
            }
            write!(f, ", body {}", Bytes(&request.body))
        }
        Input::Signal { name, bytes } => write!(f, "signal {name:?}, {}", Bytes(bytes)),
        Input::Swap { to, drops, .. } if drops.is_empty() => write!(f, "swap to {}", to.mark()),
        Input::Swap { to, drops, .. } => write!(f, "swap to {}, dropping {}", to.mark(), drops.join(", ")),
        Input::Terminate { grace } => write!(f, "terminate within {grace:?}"),
        Input::Dispose => f.write_str("dispose"),
    }
}

/// Bytes as text where they are, else as hex; how many there are either way.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())?;
        if self.0.is_empty() {
            return Ok(());
        }
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        match std::str::from_utf8(shown) {
            Ok(text) => write!(f, " {text:?}")?,
            Err(_) => {
                f.write_str(" ")?;
                shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            }
        }
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}
