//! Which types a row may hold, and which of them may be a key.

use crate::changes::Describe;
use crate::{Id, PlayerId, schema::ColumnType};

/// A type that a row may hold: fixed width, no pointer into the plugin, meaningful to the engine and to later versions.
///
/// Implemented here for numbers, `bool`, [`Id`], [`PlayerId`], [`Str`](crate::Str), [`List`](crate::List),
/// [`Opt`](crate::Opt), [`Text`](crate::Text), [`Blob`](crate::Blob) and arrays of these; by `#[derive(Row)]` for nested
/// rows and for fieldless enums.
///
/// # Safety
/// `column_type` describes the layout exactly; a value holds no pointer and no reference, and means the same on every thread.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column of a row",
    label = "not a column type",
    note = "rows hold fixed-width numbers, `bool`, fieldless enums with `#[derive(Row)]`, arrays, nested rows, `Id<T>`, \
            `PlayerId`, `Str<N>`, `List<T, N>`, `Opt<T>`, `Text` and `Blob`",
    note = "instead of `String` write `Str<N>` or `Text`, instead of `Vec<T>` write `List<T, N>` or a table of its own, \
            instead of a pointer or reference write `Id<T>`"
)]
#[expect(unsafe_code, reason = "the engine relies on the layout that an implementation claims")]
pub unsafe trait Column: 'static {
    /// True if a value holds a handle into the engine's heap.
    #[doc(hidden)]
    const HAS_HEAP: bool = false;

    /// Fails to compile where a value cannot be held for a reason that no trait bound can say.
    #[doc(hidden)]
    const CHECKED: () = ();

    /// The type as the schema tells it.
    fn column_type() -> ColumnType;

    /// Of a column that may be empty: the bytes of an empty one, for the engine to fill up longer columns with.
    #[doc(hidden)]
    fn blank() -> Option<Vec<u8>> {
        None
    }

    /// Tells what the source says of older versions of this type, and of those in it.
    #[doc(hidden)]
    fn describe(_describe: &mut Describe) {}
}

/// A column whose values are equal exactly if their bytes are, so that the engine can index it.
///
/// # Safety
/// A value has no padding, and equal values have equal bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key or a unique column",
    label = "not a key type",
    note = "keys are integers, `bool`, fieldless enums, `PlayerId`, `Id<T>`, `Str<N>` or arrays of these; floats are not, \
            because NaN and -0.0 have no one form"
)]
#[expect(unsafe_code, reason = "the engine compares and hashes the bytes")]
pub unsafe trait Key: Column + Copy + PartialEq {}

/// A column that a [`List`](crate::List) or an [`Opt`](crate::Opt) may hold: one that can be copied and has a default, which
/// stands where there is no value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be held by a `List` or an `Opt`",
    label = "not `Copy` and `Default`",
    note = "what they hold is `Copy` and `Default`: write `#[derive(Clone, Copy, Default)]` above a row or an enum",
    note = "`Text` and `Blob` are not: keep them in an array, `[Text; N]`, or in a table of its own"
)]
pub trait Item: Column + Copy + Default {}

#[diagnostic::do_not_recommend]
impl<T: Column + Copy + Default> Item for T {}

macro_rules! plain {
    ($($of:ty => $column:ident),+; keys $($key:ty),+) => {
        $(
            // SAFETY: a primitive of the width that the column type says.
            #[expect(unsafe_code, reason = "an unsafe trait")]
            unsafe impl Column for $of {
                fn column_type() -> ColumnType {
                    ColumnType::$column
                }
            }
        )+
        $(
            // SAFETY: no padding, one byte form per value.
            #[expect(unsafe_code, reason = "an unsafe trait")]
            unsafe impl Key for $key {}
        )+
    };
}

plain! {
    bool => Bool, u8 => U8, u16 => U16, u32 => U32, u64 => U64, u128 => U128, i8 => I8, i16 => I16, i32 => I32,
    i64 => I64, i128 => I128, f32 => F32, f64 => F64, PlayerId => Player;
    keys bool, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, PlayerId
}

// SAFETY: two `u32`, `repr(C)`.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<T: crate::Row> Column for Id<T> {
    fn column_type() -> ColumnType {
        // Only the name: a row may hold an id of its own type, and the whole schema would never end.
        ColumnType::Id { row: T::NAME.into() }
    }
}
// SAFETY: two `u32`, no padding.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<T: crate::Row> Key for Id<T> {}

// SAFETY: an array is its items, one after the other.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<T: Column, const N: usize> Column for [T; N] {
    const HAS_HEAP: bool = T::HAS_HEAP;
    const CHECKED: () = {
        let () = T::CHECKED;
        assert!(size_of::<T>() > 0, "what an array of a row holds needs at least one byte");
    };

    fn column_type() -> ColumnType {
        ColumnType::Array { of: Box::new(T::column_type()), len: width(N) }
    }

    fn blank() -> Option<Vec<u8>> {
        T::blank().map(|item| item.repeat(N))
    }

    fn describe(describe: &mut Describe) {
        T::describe(describe);
    }
}
// SAFETY: no padding between the items of an array.
#[expect(unsafe_code, reason = "an unsafe trait")]
unsafe impl<T: Key, const N: usize> Key for [T; N] {}

/// A size of a type as the schema holds it.
///
/// # Panics
/// Above 4 GiB, which no row can have.
pub(crate) fn width(size: usize) -> u32 {
    u32::try_from(size).expect("a column is smaller than 4 GiB")
}
