//! [`Str`], [`List`] and [`Opt`]: text, sequences and absence inside a row, at a fixed width.

use crate::changes::Describe;
use crate::column::{Column, Item, Key, width};
use crate::raw::value_bytes;
use crate::schema::ColumnType;
use std::{fmt, ops};

/// UTF-8 text of at most `N` bytes (`N` up to 255), kept in the row itself. For longer text there is
/// [`Text`](crate::Text).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Str<const N: usize> {
    len: u8,
    /// Zero past `len`, so that equal texts have equal bytes.
    bytes: [u8; N],
}

/// The text or list does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// What the column holds, in bytes (text) or items (list).
    pub capacity: usize,
    /// What was to be put in.
    pub found: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} do not fit a column of {}", self.found, self.capacity)
    }
}

impl std::error::Error for TooLong {}

impl<const N: usize> Str<N> {
    const FITS: () = assert!(N <= 255, "a `Str<N>` holds at most 255 bytes: write `Text` for longer text");

    /// The empty text.
    pub const fn new() -> Self {
        let () = Self::FITS;
        Self { len: 0, bytes: [0; N] }
    }

    /// The whole of `text`.
    ///
    /// # Errors
    /// It has more than `N` bytes.
    pub fn try_new(text: &str) -> Result<Self, TooLong> {
        if text.len() > N {
            return Err(TooLong { capacity: N, found: text.len() });
        }
        Ok(Self::truncated(text))
    }

    /// As much of `text` as fits, cut between two characters.
    pub fn truncated(text: &str) -> Self {
        let mut end = text.len().min(N);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut this = Self::new();
        this.bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        this.len = u8::try_from(end).unwrap_or(u8::MAX);
        this
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked, because the bytes may come from another version of the logic; short texts make that cheap.
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const N: usize> Default for Str<N> {
    fn default() -> Self {
        Self::new()
    }
}
impl<const N: usize> ops::Deref for Str<N> {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}
impl<const N: usize> fmt::Debug for Str<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
impl<const N: usize> fmt::Display for Str<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}
impl<const N: usize> PartialEq<str> for Str<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}
impl<const N: usize> PartialEq<&str> for Str<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}
impl<const N: usize> TryFrom<&str> for Str<N> {
    type Error = TooLong;
    fn try_from(text: &str) -> Result<Self, TooLong> {
        Self::try_new(text)
    }
}

// SAFETY: one byte and `N` bytes, `repr(C)`.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<const N: usize> Column for Str<N> {
    const CHECKED: () = Self::FITS;

    fn column_type() -> ColumnType {
        ColumnType::Str { capacity: width(N) }
    }
}
// SAFETY: no padding; bytes past the length are zero.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<const N: usize> Key for Str<N> {}

/// At most `N` items, kept in the row itself. Reads and writes like a slice.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct List<T, const N: usize> {
    len: u32,
    /// The default past `len`, so that equal lists have equal bytes.
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// The empty list.
    pub fn new() -> Self {
        Self { len: 0, items: [T::default(); N] }
    }

    /// Appends an item.
    ///
    /// # Errors
    /// The list is full; it stays as it was.
    pub fn push(&mut self, item: T) -> Result<(), TooLong> {
        let at = self.len();
        let slot = self.items.get_mut(at).ok_or(TooLong { capacity: N, found: at + 1 })?;
        *slot = item;
        self.len += 1;
        Ok(())
    }

    /// Takes the last item; none from an empty list.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.len().checked_sub(1)?;
        self.len -= 1;
        Some(std::mem::take(&mut self.items[last]))
    }

    /// Takes the item at `index`; the last one moves into its place.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let last = self.len() - 1;
        self.swap(index, last);
        self.pop().expect("the list has an item at index")
    }

    /// Takes all items.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Keeps the items for which `keep` says so, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let old = *self;
        self.clear();
        for item in old.iter().filter(|item| keep(item)) {
            self.items[self.len as usize] = *item;
            self.len += 1;
        }
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T, const N: usize> ops::Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items[..(self.len as usize).min(N)]
    }
}
impl<T, const N: usize> ops::DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..(self.len as usize).min(N)]
    }
}
impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl<T: Eq, const N: usize> Eq for List<T, N> {}
impl<'a, T, const N: usize> IntoIterator for &'a List<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
impl<T: Copy + Default, const N: usize> TryFrom<&[T]> for List<T, N> {
    type Error = TooLong;
    fn try_from(items: &[T]) -> Result<Self, TooLong> {
        let mut list = Self::new();
        let fits = list.items.get_mut(..items.len());
        fits.ok_or(TooLong { capacity: N, found: items.len() })?.copy_from_slice(items);
        list.len = width(items.len());
        Ok(list)
    }
}

// SAFETY: a `u32` and an array of columns, `repr(C)`.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<T: Item, const N: usize> Column for List<T, N> {
    const CHECKED: () = {
        let () = T::CHECKED;
        assert!(size_of::<T>() > 0, "what a `List` holds needs at least one byte");
    };

    fn column_type() -> ColumnType {
        ColumnType::List { of: Box::new(T::column_type()), capacity: width(N) }
    }

    fn blank() -> Option<Vec<u8>> {
        Some(value_bytes(&Self::new()))
    }

    fn describe(describe: &mut Describe) {
        T::describe(describe);
    }
}

/// A value or none: `Option` with a layout that every version agrees on. Made by `From<Option<T>>`, read by [`Opt::get`].
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Opt<T> {
    some: bool,
    /// The default where there is none, so that equal values have equal bytes.
    value: T,
}

impl<T: Copy + Default> Opt<T> {
    /// A value.
    pub fn some(value: T) -> Self {
        Self { some: true, value }
    }

    /// No value.
    pub fn none() -> Self {
        Self { some: false, value: T::default() }
    }

    /// A copy of the value, if there is one.
    pub fn get(&self) -> Option<T> {
        self.some.then_some(self.value)
    }

    /// The value in place, if there is one.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.some.then_some(&mut self.value)
    }

    /// Leaves none and gives what was there.
    pub fn take(&mut self) -> Option<T> {
        std::mem::replace(self, Self::none()).get()
    }

    /// True if there is a value.
    pub fn is_some(&self) -> bool {
        self.some
    }

    /// True if there is none.
    pub fn is_none(&self) -> bool {
        !self.some
    }
}

impl<T: Copy + Default> From<Option<T>> for Opt<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::none, Self::some)
    }
}
impl<T: Copy + Default> From<Opt<T>> for Option<T> {
    fn from(value: Opt<T>) -> Self {
        value.get()
    }
}
impl<T: Copy + Default + PartialEq> PartialEq for Opt<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}
impl<T: Copy + Default + Eq> Eq for Opt<T> {}
impl<T: Copy + Default + fmt::Debug> fmt::Debug for Opt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

// SAFETY: a `bool` and a column, `repr(C)`.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<T: Item> Column for Opt<T> {
    const CHECKED: () = {
        let () = T::CHECKED;
        assert!(size_of::<T>() > 0, "what an `Opt` holds needs at least one byte");
    };

    fn column_type() -> ColumnType {
        ColumnType::Opt { of: Box::new(T::column_type()) }
    }

    fn blank() -> Option<Vec<u8>> {
        Some(value_bytes(&Self::none()))
    }

    fn describe(describe: &mut Describe) {
        T::describe(describe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(Str::<4>::truncated("aäöü"), "aä");
        assert_eq!(Str::<4>::try_new("abcde"), Err(TooLong { capacity: 4, found: 5 }));
        assert_eq!(Str::<5>::try_new("abcde").unwrap(), "abcde");
    }

    #[test]
    fn a_list_forgets_what_left_it() {
        let mut list = List::<u16, 3>::try_from(&[1, 2, 3][..]).unwrap();
        assert_eq!(list.push(4), Err(TooLong { capacity: 3, found: 4 }));
        assert_eq!(list.swap_remove(0), 1);
        assert_eq!(*list, [3, 2]);
        list.retain(|item| *item == 2);
        assert_eq!((&*list, list.items), (&[2][..], [2, 0, 0]));
    }

    #[test]
    fn none_has_one_form() {
        let mut opt = Opt::some(7u32);
        assert_eq!(opt.take(), Some(7));
        assert_eq!((opt.some, opt.value), (false, 0));
    }
}
