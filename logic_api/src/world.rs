//! What `#[derive(World)]` makes of a struct.

use crate::changes::Describe;
use crate::raw::CallRef;
use crate::schema::Schema;

/// A struct whose fields are the tables of a world. Derive it; do not write it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a world",
    label = "not a world",
    note = "write `#[derive(World)]` above `struct {Self}`; its fields are `Table<T>` and `One<T>`"
)]
pub trait World: Sized {
    /// True if a row somewhere holds a `Text` or a `Blob`.
    #[doc(hidden)]
    const HAS_HEAP: bool;

    /// The tables as the schema tells them.
    fn schema() -> Schema;

    /// The views of the tables for one callback.
    ///
    /// # Safety
    /// The tables of the call have this world's schema, and the result is dropped before the callback returns.
    #[doc(hidden)]
    #[expect(unsafe_code, reason = "implemented by the derive, called by the entries")]
    unsafe fn bind(binder: &Binder<'_>) -> Self;

    /// Gives every `One<T>` that has no row its default.
    #[doc(hidden)]
    fn init(&mut self);

    /// Tells what the source says of the tables of older versions.
    #[doc(hidden)]
    fn describe(_describe: &mut Describe) {}
}

/// The call whose tables are being bound.
#[derive(Debug)]
pub struct Binder<'a>(CallRef<'a>);

impl<'a> Binder<'a> {
    #[inline]
    pub(crate) fn new(call: CallRef<'a>) -> Self {
        Self(call)
    }

    #[inline]
    pub(crate) fn call(&self) -> CallRef<'a> {
        self.0
    }
}
