//! What a room is called, and how one is asked for.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::config::ROOM_NAME_BYTES_MAX;

/// The number of a room. It is never given twice in one process, unlike a name, which is free again when its room is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// The name or the label of a room: 1 to [`ROOM_NAME_BYTES_MAX`] of `[a-z0-9._-]`, with no leading dot, so that it is a file's
/// name and a part of a URL as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// `None` for what is no name.
    #[must_use]
    pub fn parse(text: &str) -> Option<RoomName> {
        let is_accepted = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let is_name =
            (1..=ROOM_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_accepted) && !text.starts_with('.');
        is_name.then(|| RoomName(text.into()))
    }

    /// What [`RoomName::parse`] takes, for errors.
    #[must_use]
    pub fn accepted() -> String {
        format!("1 to {ROOM_NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-', without a leading dot")
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For a room of which nothing is known but its number, and its label if it has one.
    pub(super) fn generated(label: Option<&RoomName>, id: RoomId) -> RoomName {
        let label = label.map_or("room", RoomName::as_str);
        // ASCII, so any byte is the end of a character; the longest number has 20 digits.
        let kept = &label[..label.len().min(ROOM_NAME_BYTES_MAX - 21)];
        RoomName(format!("{kept}-{}", id.0).into())
    }
}

/// Its hash and its order are those of its text.
impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which room a player wants: `name`, `*` or `*label`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Named(RoomName),
    /// The oldest room that has a free seat and, if it is given, this label.
    Free(Option<RoomName>),
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Option<Wanted> {
        match text.strip_prefix('*') {
            Some("") => Some(Wanted::Free(None)),
            Some(label) => RoomName::parse(label).map(|label| Wanted::Free(Some(label))),
            None => RoomName::parse(text).map(Wanted::Named),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Named(name) => write!(formatter, "{name}"),
            Wanted::Free(None) => formatter.write_str("*"),
            Wanted::Free(Some(label)) => write!(formatter, "*{label}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, is_name: bool) {
        assert_eq!(RoomName::parse(text).is_some(), is_name, "{text:?}");
        assert_eq!(Wanted::parse(text).is_some(), is_name, "{text:?}");
        assert_eq!(Wanted::parse(&format!("*{text}")).is_some(), is_name || text.is_empty(), "*{text:?}");
    }

    #[test]
    fn a_name_fits_a_file_and_a_url() {
        for name in ["a", "main", "0", "a.b_c-d", "-", "a..b", &"x".repeat(64)] {
            check(name, true);
        }
        for name in ["", ".", "..", ".a", "A", "a b", "a/b", "ü", "a\0", "a*", &"x".repeat(65)] {
            check(name, false);
        }
    }

    #[test]
    fn a_generated_name_is_a_name() {
        let longest = RoomName::parse(&"x".repeat(64));
        for label in [None, longest.as_ref()] {
            let name = RoomName::generated(label, RoomId(u64::MAX));
            assert_eq!(RoomName::parse(name.as_str()), Some(name));
        }
        assert_eq!(RoomName::generated(None, RoomId(7)).as_str(), "room-7");
        assert_eq!(RoomName::generated(RoomName::parse("duel").as_ref(), RoomId(8)).as_str(), "duel-8");
    }
}
