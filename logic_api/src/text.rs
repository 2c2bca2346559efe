//! [`Text`] and [`Blob`]: columns of any length, whose bytes the engine keeps.

use crate::column::Column;
use crate::raw::HeapValue;
use crate::schema::ColumnType;
use std::{fmt, ops};

/// Text of any length. The row holds a handle, the bytes are in the engine's heap and fork with the world. Works like an
/// owned string that is replaced as a whole: dropping it, or the row it is in, frees the bytes.
///
/// Reads as empty outside a callback, and must not be kept beyond one: its bytes belong to the world, which may be another one
/// (taken back, moved, replayed) at the next callback. The compiler refuses statics and other threads; a `Text` that is leaked
/// (`Box::leak`) or put into a thread-local breaks the contract of [`Logic`](crate::Logic), and what was borrowed from it dangles.
///
/// ```compile_fail
/// static LAST: std::sync::Mutex<Option<logic_api::Text>> = std::sync::Mutex::new(None);
/// ```
///
/// # Panics
/// Making one panics outside a callback, in `query`, and where the room's heap is full.
#[derive(Default)]
#[repr(transparent)]
pub struct Text(HeapValue);

/// Bytes of any length; otherwise as [`Text`].
#[derive(Default)]
#[repr(transparent)]
pub struct Blob(HeapValue);

impl Text {
    /// Keeps a copy of the text.
    ///
    /// # Panics
    /// As the type says.
    #[track_caller]
    pub fn new(text: &str) -> Self {
        Self(HeapValue::new(text.as_bytes()))
    }

    /// The text; empty outside a callback, and for what is no UTF-8.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.bytes()).unwrap_or_default()
    }

    /// Replaces the text.
    ///
    /// # Panics
    /// As for [`Text::new`].
    #[track_caller]
    pub fn set(&mut self, text: &str) {
        *self = Self::new(text);
    }

    /// Appends to the text. Costs a copy of the whole.
    ///
    /// # Panics
    /// As for [`Text::new`].
    #[track_caller]
    pub fn push_str(&mut self, more: &str) {
        *self = Self::new(&[self.as_str(), more].concat());
    }
}

impl Blob {
    /// Keeps a copy of the bytes.
    ///
    /// # Panics
    /// As for [`Text`].
    #[track_caller]
    pub fn new(bytes: &[u8]) -> Self {
        Self(HeapValue::new(bytes))
    }

    /// The bytes; empty outside a callback.
    pub fn as_slice(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Replaces the bytes.
    ///
    /// # Panics
    /// As for [`Text`].
    #[track_caller]
    pub fn set(&mut self, bytes: &[u8]) {
        *self = Self::new(bytes);
    }
}

impl ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}
impl ops::Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}
impl From<&str> for Text {
    #[track_caller]
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
impl From<&[u8]> for Blob {
    #[track_caller]
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}
impl Clone for Text {
    #[track_caller]
    fn clone(&self) -> Self {
        Self::new(self)
    }
}
impl Clone for Blob {
    #[track_caller]
    fn clone(&self) -> Self {
        Self::new(self)
    }
}
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}
impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}
impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

// SAFETY: two `u32`, `repr(C)` inside `repr(transparent)`.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl Column for Text {
    const HAS_HEAP: bool = true;

    fn column_type() -> ColumnType {
        ColumnType::Text
    }
}
// SAFETY: as for `Text`.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl Column for Blob {
    const HAS_HEAP: bool = true;

    fn column_type() -> ColumnType {
        ColumnType::Blob
    }
}
