//! [`Table`]: rows that the engine owns.

use crate::raw::{InsertError, Rows, View, Writing};
use crate::{Binder, Id, Key, Row, UniqueColumn};
use std::{fmt, ops};

/// A table of the world: a view of rows that the engine owns, for the length of a callback.
///
/// Rows keep their slot, and their [`Id`], for life. Iteration goes in slot order, which is the same on every replay. A new
/// row takes the lowest free slot.
///
/// It stays on the thread of its callback:
/// ```compile_fail
/// # use logic_api::{Row, Table};
/// fn len<T: Row>(rows: &Table<T>) -> usize {
///     std::thread::scope(|scope| scope.spawn(|| rows.len()).join().unwrap())
/// }
/// ```
pub struct Table<T: Row> {
    view: View<T>,
}

/// A row that was not inserted, and why.
#[derive(Debug)]
pub struct Rejected<T> {
    /// As it was given.
    pub row: T,
    /// Why not.
    pub reason: RejectedReason,
}

/// Why a row was not inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectedReason {
    /// Another row has the same value in this key or unique column.
    Duplicate {
        /// The column's name.
        column: String,
    },
    /// The table or the room has reached its limit.
    Full,
    /// The callback is `query`, which cannot change the world.
    ReadOnly,
}

impl fmt::Display for RejectedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { column } => write!(f, "another row has this value of the unique column `{column}`"),
            Self::Full => write!(f, "the table or the room has reached its limit"),
            Self::ReadOnly => write!(f, "a query cannot change the world"),
        }
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T: fmt::Debug> std::error::Error for Rejected<T> {}

impl<T: Row> Table<T> {
    /// The view of the table at this place of the schema.
    ///
    /// # Safety
    /// That table has rows of type `T`, and the result is dropped before the callback returns.
    #[doc(hidden)]
    #[expect(unsafe_code, reason = "called by #[derive(World)], whose schema it follows")]
    #[inline]
    pub unsafe fn bind(binder: &Binder<'_>, number: u32) -> Self {
        // SAFETY: the caller's promise.
        Self { view: unsafe { View::new(binder.call(), number) } }
    }

    /// The number of rows.
    #[inline]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// True if there is no row.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row, if it still lives.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.view.get(id)
    }

    /// The row to write to, if it still lives.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<RowMut<'_, T>> {
        self.view.get_mut(id).map(RowMut)
    }

    /// The row without the care for its keys, for a [`One`](crate::One), which cannot have any.
    #[inline]
    pub(crate) fn get_plain_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        const { assert!(!T::INDEXED, "the row of a One has no key and no unique column: there is only one row") };
        self.view.get_mut(id).map(Writing::into_row)
    }

    /// True if the row still lives.
    pub fn contains(&self, id: Id<T>) -> bool {
        self.get(id).is_some()
    }

    /// The row with this key.
    #[inline]
    pub fn find(&self, key: T::Key) -> Option<&T> {
        self.find_by(T::KEY, key)
    }

    /// The row with this key, to write to.
    #[inline]
    pub fn find_mut(&mut self, key: T::Key) -> Option<RowMut<'_, T>> {
        self.view.find_mut(T::KEY, &key).map(RowMut)
    }

    /// The id of the row with this key.
    #[inline]
    pub fn id_of(&self, key: T::Key) -> Option<Id<T>> {
        self.view.id_of(T::KEY, &key)
    }

    /// The row with this value of a unique column: `find_by(Avatar::BY_NAME, name)`.
    #[inline]
    pub fn find_by<K: Key>(&self, column: UniqueColumn<T, K>, value: K) -> Option<&T> {
        self.view.find(column, &value)
    }

    /// The id of the row with this value of a unique column.
    #[inline]
    pub fn id_by<K: Key>(&self, column: UniqueColumn<T, K>, value: K) -> Option<Id<T>> {
        self.view.id_of(column, &value)
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If a key or unique value is taken, or a limit is reached. [`Table::try_insert`] gives the row back instead.
    #[inline]
    #[track_caller]
    pub fn insert(&mut self, row: T) -> Id<T> {
        match self.try_insert(row) {
            Ok(id) => id,
            Err(rejected) => panic!("{} not inserted: {}", T::NAME, rejected.reason),
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Gives the row back if a key or unique value is taken, or a limit is reached; the table is as it was.
    #[inline]
    pub fn try_insert(&mut self, row: T) -> Result<Id<T>, Rejected<T>> {
        self.view.insert(row).map_err(|(error, row)| Rejected { row, reason: reason::<T>(error) })
    }

    /// Takes a row out; none if it does not live any more.
    #[inline]
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        self.view.remove(id)
    }

    /// Takes the row with this key out.
    #[inline]
    pub fn remove_key(&mut self, key: T::Key) -> Option<T> {
        self.view.remove_by(T::KEY, &key)
    }

    /// Removes the rows for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let gone: Vec<Id<T>> = self.entries().filter(|(_, row)| !keep(row)).map(|(id, _)| id).collect();
        for id in gone {
            self.remove(id);
        }
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.retain(|_| false);
    }

    /// The rows in slot order.
    #[inline]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self.view.rows())
    }

    /// The rows in slot order, to write to.
    #[inline]
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut(self.view.rows_mut())
    }

    /// The rows with their ids, in slot order.
    pub fn entries(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        let mut rows = self.view.rows();
        std::iter::from_fn(move || {
            let (place, row) = rows.next()?;
            Some((rows.id_of(place), row))
        })
    }
}

#[cold]
fn reason<T: Row>(error: InsertError) -> RejectedReason {
    match error {
        InsertError::Full => RejectedReason::Full,
        InsertError::ReadOnly => RejectedReason::ReadOnly,
        InsertError::Duplicate { index } => {
            let schema = T::row_schema();
            let column = schema.indexes().get(index as usize).map_or_else(String::new, |field| field.name.clone());
            RejectedReason::Duplicate { column }
        }
    }
}

impl<T: Row + fmt::Debug> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a, T: Row> IntoIterator for &'a Table<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T: Row> IntoIterator for &'a mut Table<T> {
    type Item = RowMut<'a, T>;
    type IntoIter = IterMut<'a, T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

/// The rows of a table: [`Table::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: Row>(Rows<'a, T, false>);

impl<'a, T: Row> Iterator for Iter<'a, T> {
    type Item = &'a T;
    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        self.0.next().map(|(_, row)| row)
    }
}

/// The rows of a table, to write to: [`Table::iter_mut`].
#[derive(Debug)]
pub struct IterMut<'a, T: Row>(Rows<'a, T, true>);

impl<'a, T: Row> Iterator for IterMut<'a, T> {
    type Item = RowMut<'a, T>;
    #[inline]
    fn next(&mut self) -> Option<RowMut<'a, T>> {
        self.0.next().map(RowMut)
    }
}

/// A row being written to. It reads and writes as the row itself.
///
/// A key or unique column may be written too; the index follows when the `RowMut` goes. One that never goes (`mem::forget`)
/// leaves the row unfound by its new value, and the value free for another row to take.
///
/// # Panics
/// When it goes, if another row has the new value of a unique column. The fault takes the whole input back.
pub struct RowMut<'a, T: Row>(Writing<'a, T>);

impl<T: Row> RowMut<'_, T> {
    /// The row's id.
    pub fn id(&self) -> Id<T> {
        self.0.id()
    }
}

impl<T: Row> ops::Deref for RowMut<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.0.get()
    }
}

impl<T: Row> ops::DerefMut for RowMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T: Row + fmt::Debug> fmt::Debug for RowMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
