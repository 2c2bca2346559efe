//! `#[row(…)]` and `#[world(…)]`: what the source says of indexes, and of the tables of older versions.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, Ident, LitStr, Result, Token, Type};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Marked {
    No,
    Unique,
    Key,
}

/// Above a field of a row.
pub(crate) struct OfField {
    pub(crate) marked: Marked,
    /// The newest first.
    pub(crate) was: Option<Vec<LitStr>>,
    pub(crate) default: Option<Default>,
    pub(crate) migrate: Option<Expr>,
}

pub(crate) enum Default {
    /// `default`: that of the type.
    OfType(Span),
    /// `default = …`
    Value(Expr),
}

impl OfField {
    pub(crate) fn of(attributes: &[Attribute], name: &Ident) -> Result<Self> {
        let mut this = Self { marked: Marked::No, was: None, default: None, migrate: None };
        each(attributes, "row", |meta| match word(meta).as_deref() {
            Some("key") => this.mark(meta, Marked::Key),
            Some("unique") => this.mark(meta, Marked::Unique),
            Some("was") => put(&mut this.was, meta, |meta| old_names(meta, name)),
            Some("default") => put(&mut this.default, meta, |meta| match meta.input.peek(Token![=]) {
                true => Ok(Default::Value(meta.value()?.parse()?)),
                false => Ok(Default::OfType(meta.path.span())),
            }),
            Some("migrate") => put(&mut this.migrate, meta, function),
            Some("dropped") => Err(meta.error("`#[row(dropped(\"…\"))]` goes above the struct, whose field is gone")),
            _ => Err(meta.error(
                "above a field go `key`, `unique`, `was = \"old name\"`, `default = value` and `migrate = function`, \
                     nothing else",
            )),
        })?;
        Ok(this)
    }

    fn mark(&mut self, meta: &ParseNestedMeta<'_>, marked: Marked) -> Result<()> {
        if !meta.input.is_empty() && !meta.input.peek(Token![,]) {
            return Err(meta.error("`key` and `unique` take no value: write `#[row(key)]` or `#[row(unique)]`"));
        }
        if self.marked != Marked::No {
            return Err(meta.error("a key is unique already: write one of `key` and `unique`"));
        }
        self.marked = marked;
        Ok(())
    }
}

impl Default {
    /// A function that gives the value. The error of a wrong type is told where the value is written.
    pub(crate) fn function(&self, of: &Type) -> TokenStream {
        match self {
            Self::OfType(span) => quote_spanned!(*span=> || -> #of { <#of as ::core::default::Default>::default() }),
            Self::Value(value) => quote_spanned!(value.span()=> || -> #of { #value }),
        }
    }
}

/// Above a row, or above a world, which knows no migration.
#[derive(std::default::Default)]
pub(crate) struct OfStruct {
    pub(crate) dropped: Vec<LitStr>,
    pub(crate) migrate: Option<Expr>,
}

impl OfStruct {
    pub(crate) fn of_row(attributes: &[Attribute], fields: &[String]) -> Result<Self> {
        let mut this = Self::default();
        each(attributes, "row", |meta| {
            match word(meta).as_deref() {
                Some("dropped") => dropped(&mut this.dropped, meta, "field", fields),
                Some("migrate") => put(&mut this.migrate, meta, function),
                Some("was") => Err(meta.error(
                    "a row type may be renamed as one likes: rows are found by their table, so if that has another name, write \
                     `#[world(was = \"…\")]` above it",
                )),
                _ => Err(meta.error(
                    "above a struct go `dropped(\"field\")` and `migrate = function`, nothing else: what is said of a field \
                     goes above the field",
                )),
            }
        })?;
        Ok(this)
    }

    pub(crate) fn of_world(attributes: &[Attribute], tables: &[String]) -> Result<Self> {
        let mut this = Self::default();
        each(attributes, "world", |meta| match word(meta).as_deref() {
            Some("dropped") => dropped(&mut this.dropped, meta, "table", tables),
            _ => Err(meta.error("above a world goes `dropped(\"table\")`, nothing else")),
        })?;
        Ok(this)
    }
}

/// Above a table of a world.
#[derive(std::default::Default)]
pub(crate) struct OfTable {
    /// The newest first.
    pub(crate) was: Option<Vec<LitStr>>,
    pub(crate) migrate: Option<Expr>,
}

impl OfTable {
    pub(crate) fn of(attributes: &[Attribute], name: &Ident) -> Result<Self> {
        let mut this = Self::default();
        each(attributes, "world", |meta| match word(meta).as_deref() {
            Some("was") => put(&mut this.was, meta, |meta| old_names(meta, name)),
            Some("migrate") => put(&mut this.migrate, meta, function),
            _ => Err(meta.error("above a table go `was = \"old name\"` and `migrate = function`, nothing else")),
        })?;
        Ok(this)
    }
}

/// Above a variant of an enum: what it was called, the newest first.
pub(crate) fn of_variant(attributes: &[Attribute], name: &Ident) -> Result<Option<Vec<LitStr>>> {
    let mut was = None;
    each(attributes, "row", |meta| match word(meta).as_deref() {
        Some("was") => put(&mut was, meta, |meta| old_names(meta, name)),
        _ => Err(meta.error("above a variant goes `was = \"old name\"`, nothing else")),
    })?;
    Ok(was)
}

/// Refuses that two claim the same old name.
pub(crate) fn refuse_claimed_twice<'a>(claims: impl Iterator<Item = Option<&'a Vec<LitStr>>>) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for was in claims.flatten().flatten() {
        if seen.contains(&was.value()) {
            return Err(Error::new(
                was.span(),
                format!("`{}` is claimed twice: one name can only become one", was.value()),
            ));
        }
        seen.push(was.value());
    }
    Ok(())
}

fn each(attributes: &[Attribute], name: &str, mut parse: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
        .try_for_each(|attribute| attribute.parse_nested_meta(|meta| parse(&meta)))
}

fn word(meta: &ParseNestedMeta<'_>) -> Option<String> {
    meta.path.get_ident().map(Ident::to_string)
}

fn put<T>(
    place: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    parse: impl FnOnce(&ParseNestedMeta<'_>) -> Result<T>,
) -> Result<()> {
    if place.is_some() {
        return Err(meta.error("this is said twice"));
    }
    *place = Some(parse(meta)?);
    Ok(())
}

/// `was = "old"`, or `was("newer", "older")`.
fn old_names(meta: &ParseNestedMeta<'_>, new: &Ident) -> Result<Vec<LitStr>> {
    let advice = "write the old name in quotes: `was = \"old\"`";
    let told = |error: Error| Error::new(error.span(), advice);
    let names: Vec<LitStr> = if meta.input.peek(syn::token::Paren) {
        let list;
        syn::parenthesized!(list in meta.input);
        list.parse_terminated(|input| input.parse::<LitStr>(), Token![,]).map_err(told)?.into_iter().collect()
    } else {
        vec![meta.value().map_err(|_| meta.error(advice))?.parse().map_err(told)?]
    };
    if names.is_empty() {
        return Err(meta.error(advice));
    }
    let new = syn::ext::IdentExt::unraw(new);
    match names.iter().find(|name| new == name.value()) {
        Some(name) => Err(Error::new(name.span(), "that is the name it has: `was` takes the one that it had")),
        None => Ok(names),
    }
}

fn function(meta: &ParseNestedMeta<'_>) -> Result<Expr> {
    meta.value().map_err(|_| meta.error("write the function that makes new of old: `migrate = function`"))?.parse()
}

fn dropped(names: &mut Vec<LitStr>, meta: &ParseNestedMeta<'_>, what: &str, present: &[String]) -> Result<()> {
    let advice = || format!("write the names of what is gone in quotes: `dropped(\"{what}\")`");
    let list;
    if !meta.input.peek(syn::token::Paren) {
        return Err(meta.error(advice()));
    }
    syn::parenthesized!(list in meta.input);
    let parsed = list.parse_terminated(|input| input.parse::<LitStr>(), Token![,]);
    for name in parsed.map_err(|error| Error::new(error.span(), advice()))? {
        if present.contains(&name.value()) {
            let advice =
                format!("the {what} `{}` is there: what is dropped is one that older versions have", name.value());
            return Err(Error::new(name.span(), advice));
        }
        names.push(name);
    }
    Ok(())
}

/// Errors are told where this stands, but names are those of the derive: the code may have come out of a macro.
pub(crate) fn told_at(of: &Expr) -> Span {
    of.span().resolved_at(Span::call_site())
}
