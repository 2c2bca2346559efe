//! The macros of `logic_api`: `#[derive(Row)]`, `#[derive(World)]`, `#[logic]`. Use them through that crate, which documents them.

mod attributes;
mod logic;
mod row;
mod world;

use proc_macro::TokenStream;
use proc_macro2::Span;
use syn::{DeriveInput, ItemImpl, parse_macro_input};

/// Makes a struct a row, or a fieldless enum a column.
///
/// A struct needs `#[repr(C)]` and named fields. `#[row(key)]` on at most one field, and `#[row(unique)]` on any, has the
/// engine keep an index; each such field `name` gives a constant `BY_NAME` for `Table::find_by`. In a nested row these words mean
/// nothing: the indexes of a table are those of its own row.
///
/// What became of older versions of the row: `#[row(was = "old")]` above a field that had another name
/// (`#[row(was("newer", "older"))]`: others, one after the other), `#[row(default = value)]`
/// (or `#[row(default)]`, that of its type) above one that is new, `#[row(migrate = function)]` above one whose value is made of
/// the old row by `fn(&OldRow) -> Field`; above the struct `#[row(dropped("field"))]` for fields that may go, and
/// `#[row(migrate = function)]` for a `fn(&OldRow) -> Row`. `OldRow` is a row like this one, with the fields that the function
/// reads. `docs/schema.md` has the rules.
///
/// An enum needs `#[repr(u8)]` (or another integer), no fields in its variants, and derived `Clone`, `Copy` and `PartialEq`. `#[row(was = "Old")]` goes
/// above a variant that had another name.
#[proc_macro_derive(Row, attributes(row))]
pub fn row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    row::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a struct a world: each field is a `Table<T>` or a `One<T>`.
///
/// What became of the tables of older versions: `#[world(was = "old")]` above one that had another name,
/// `#[world(migrate = function)]` above one whose rows are made all at once by `fn(&[OldRow]) -> Vec<Row>`, a new one for each;
/// above the struct `#[world(dropped("table"))]` for tables that may go. `docs/schema.md` has the rules.
#[proc_macro_derive(World, attributes(world))]
pub fn world(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    world::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Goes above `impl Logic for …` and exports its function table, so that the crate, built as a `cdylib`, is a plugin. Version
/// and name are those of the build: `scripts/build_so.sh` sets them.
///
/// `#[logic(linked)]` exports nothing: for further logics in one program, in tests say. There, `#[logic(linked, version = 1002)]`
/// gives a version of its own.
#[proc_macro_attribute]
pub fn logic(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let Ok(item) = syn::parse::<ItemImpl>(item) else {
        return syn::Error::new(Span::call_site(), logic::MISPLACED).to_compile_error().into();
    };
    logic::expand(arguments.into(), &item).unwrap_or_else(|error| error.to_compile_error()).into()
}
