//! The small numbers by which things are named.

use serde::{Deserialize, Serialize};
use std::{fmt, hash, marker::PhantomData};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($of:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub $of);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A player, for as long as the session lasts: not a connection, which may come and go. 0 names nobody.
    PlayerId(u64)
}
number! {
    /// Ticks since the room was created.
    Tick(u64)
}
number! {
    /// The version of a logic: `game.1001.so` is version 1001.
    Version(u32)
}
number! {
    /// A timer that the logic has set and that has not fired yet.
    TimerId(u64)
}

/// A row of a `Table<T>`. It stays valid for the row's life; once the row is removed it names nothing, even after the
/// slot is used again. The default names nothing.
#[repr(C)]
pub struct Id<T> {
    slot: u32,
    generation: u32,
    row: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation, row: PhantomData }
    }

    /// Page in the upper 16 bits, slot within the page in the lower ones.
    pub(crate) const fn slot(self) -> u32 {
        self.slot
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }

    /// The id as one number, to send to clients.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The id that `to_bits` gave. Any number is safe: one that names no row finds none.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
    pub const fn from_bits(bits: u64) -> Self {
        Self::new(bits as u32, (bits >> 32) as u32)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> Default for Id<T> {
    fn default() -> Self {
        Self::new(0, 0)
    }
}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.slot, self.generation).cmp(&(other.slot, other.generation))
    }
}
impl<T> hash::Hash for Id<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.to_bits().hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({}:{})", self.slot, self.generation)
    }
}
