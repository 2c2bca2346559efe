//! `#[derive(Row)]`.

use crate::attributes::{Marked, OfField, OfStruct, of_variant, refuse_claimed_twice, told_at};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Expr, ExprLit, Field, Fields, GenericArgument, Ident, Lit, LitStr,
    PathArguments, PathSegment, Result, Type,
};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(Error::new(
            input.generics.span(),
            "a row cannot be generic: its columns are the same for every version and room",
        ));
    }
    match &input.data {
        Data::Struct(data) => derive_struct(input, &data.fields),
        Data::Enum(data) => derive_enum(input, data),
        Data::Union(_) => {
            Err(Error::new(input.ident.span(), "a union cannot be a row: write a struct with an enum beside it"))
        }
    }
}

fn refuse_attribute(attributes: &[Attribute], advice: &str) -> Result<()> {
    match attributes.iter().find(|attribute| attribute.path().is_ident("row")) {
        Some(attribute) => Err(Error::new_spanned(attribute, advice)),
        None => Ok(()),
    }
}

/// The words inside `#[repr(…)]`.
fn representation(attributes: &[Attribute]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if meta.input.peek(syn::token::Paren) {
                let _argument: proc_macro2::Group = meta.input.parse()?;
            }
            words.extend(meta.path.get_ident().map(Ident::to_string));
            Ok(())
        })?;
    }
    Ok(words)
}

struct Column<'a> {
    name: &'a Ident,
    of: &'a Type,
    said: OfField,
}

impl<'a> Column<'a> {
    fn of(field: &'a Field) -> Result<Self> {
        let name = field.ident.as_ref().ok_or_else(|| Error::new(field.span(), "a row's fields have names"))?;
        refuse_pointers(&field.ty)?;
        let said = OfField::of(&field.attrs, name)?;
        if said.marked != Marked::No {
            refuse_key(&field.ty)?;
        }
        Ok(Self { name, of: &field.ty, said })
    }
}

/// Refuses what people reach for first, with what to write instead. Whatever else is no column fails its trait bound.
fn refuse_pointers(of: &Type) -> Result<()> {
    let refuse = |advice: &str| Err(Error::new_spanned(of, format!("a row holds no pointers: {advice}")));
    match of {
        Type::Ptr(_) | Type::Reference(_) => {
            refuse("write `Id<T>` to refer to a row, or keep the value in the row itself")
        }
        Type::BareFn(_) => refuse("write an enum and match on it; a function's address changes with every version"),
        Type::Array(array) => refuse_pointers(&array.elem),
        Type::Tuple(_) => {
            Err(Error::new_spanned(of, "a tuple has no stable layout: write a struct with `#[derive(Row)]`"))
        }
        Type::Path(path) => match path.path.segments.last().map(|last| last.ident.to_string()).as_deref() {
            Some("Str") => path.path.segments.last().map_or(Ok(()), refuse_wide),
            Some("List" | "Opt") => path.path.segments.last().map_or(Ok(()), refuse_item),
            Some("String") => {
                refuse("instead of `String` write `Str<N>` (up to N bytes, in the row) or `Text` (any length)")
            }
            Some("Vec" | "VecDeque") => refuse(
                "instead of `Vec<T>` write `List<T, N>` (up to N items, in the row), `Blob` (bytes) or a table of its own",
            ),
            Some("HashMap" | "BTreeMap" | "HashSet" | "BTreeSet") => {
                refuse("instead of a map write a table of its own, with `#[row(key)]`")
            }
            Some("Box" | "Rc" | "Arc" | "Cell" | "RefCell") => {
                refuse("keep the value in the row itself, or in a table of its own and write `Id<T>`")
            }
            Some("Option") => Err(Error::new_spanned(of, "`Option` has no stable layout: write `Opt<T>`")),
            Some(size @ ("usize" | "isize")) => {
                let width = if size == "usize" { "u64` or `u32" } else { "i64` or `i32" };
                Err(Error::new_spanned(of, format!("`{size}` depends on the machine: write `{width}`")))
            }
            Some("char") => Err(Error::new_spanned(of, "`char` is not a column: write `u32` or `Str<4>`")),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Refuses a `Str` that is written too wide. One whose width is a constant fails when that is known.
fn refuse_wide(of: &PathSegment) -> Result<()> {
    let PathArguments::AngleBracketed(arguments) = &of.arguments else { return Ok(()) };
    match arguments.args.first() {
        Some(GenericArgument::Const(Expr::Lit(ExprLit { lit: Lit::Int(width), .. })))
            if width.base10_parse::<u8>().is_err() =>
        {
            Err(Error::new_spanned(width, "a `Str<N>` holds at most 255 bytes: write `Text` for longer text"))
        }
        _ => Ok(()),
    }
}

/// Refuses what people try as a key first, with what to write instead. Whatever else is no key fails its trait bound.
fn refuse_key(of: &Type) -> Result<()> {
    let Type::Path(path) = of else { return Ok(()) };
    let advice = match path.path.segments.last().map(|last| last.ident.to_string()).as_deref() {
        Some("f32" | "f64") => {
            "a float cannot be a key: NaN and -0.0 have no one form; write an integer, in units small enough"
        }
        Some("Text") => "a `Text` cannot be a key: its bytes are not in the row; write `Str<N>`",
        Some("Blob") => "a `Blob` cannot be a key: its bytes are not in the row; write `[u8; N]`",
        Some("List") => "a `List` cannot be a key: write an array, `[T; N]`, or a table of its own",
        Some("Opt") => {
            "an `Opt` cannot be a key, since only one row could have none: give rows without one a table of their own"
        }
        _ => return Ok(()),
    };
    Err(Error::new_spanned(of, advice))
}

/// Refuses what a `List` or an `Opt` cannot hold.
fn refuse_item(of: &PathSegment) -> Result<()> {
    let PathArguments::AngleBracketed(arguments) = &of.arguments else { return Ok(()) };
    let Some(GenericArgument::Type(item)) = arguments.args.first() else { return Ok(()) };
    refuse_pointers(item)?;
    let mut innermost = item;
    while let Type::Array(array) = innermost {
        innermost = &array.elem;
    }
    let Type::Path(path) = innermost else { return Ok(()) };
    let Some(last) = path.path.segments.last() else { return Ok(()) };
    if last.ident != "Text" && last.ident != "Blob" {
        return Ok(());
    }
    let text = &last.ident;
    let advice = match of.ident == "Opt" {
        true => {
            format!("an `Opt` cannot hold a `{text}`: write the `{text}` alone, which is empty where there is none")
        }
        false => format!("a `List` cannot hold a `{text}`: write an array, `[{text}; N]`, or a table of its own"),
    };
    Err(Error::new_spanned(item, advice))
}

fn derive_struct(input: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    let name = &input.ident;
    let representation = representation(&input.attrs)?;
    if representation.iter().any(|word| word == "packed") {
        let advice =
            "a packed row cannot be referred to field by field: write `#[repr(C)]` alone, and the widest fields first";
        return Err(Error::new(name.span(), advice));
    }
    if !representation.iter().any(|word| word == "C") {
        let advice =
            format!("the engine and later versions share the layout of rows: write `#[repr(C)]` above `struct {name}`");
        return Err(Error::new(name.span(), advice));
    }
    let Fields::Named(fields) = fields else {
        return Err(Error::new(name.span(), "a row's fields have names: later versions are matched by them"));
    };
    if fields.named.is_empty() {
        return Err(Error::new(name.span(), "a row needs at least one field"));
    }
    let columns: Vec<Column> = fields.named.iter().map(Column::of).collect::<Result<_>>()?;
    let names: Vec<String> = columns.iter().map(|column| column.name.unraw().to_string()).collect();
    let of_struct = OfStruct::of_row(&input.attrs, &names)?;
    refuse_claimed_twice(columns.iter().map(|column| column.said.was.as_ref()))?;
    let description = description(&of_struct, &columns);
    let mut keys = columns.iter().filter(|column| column.said.marked == Marked::Key);
    let key = keys.next();
    if let (Some(first), Some(second)) = (key, keys.next()) {
        let advice = format!("a row has one key, and `{}` is it: write `#[row(unique)]` here", first.name);
        return Err(Error::new(second.name.span(), advice));
    }
    // In index order: the key, then the unique columns as declared (`RowSchema::indexes`).
    let uniques = columns.iter().filter(|column| column.said.marked == Marked::Unique);
    let indexed: Vec<&Column> = key.into_iter().chain(uniques).collect();

    let schema_fields = columns.iter().map(schema_field);
    let heap = columns.iter().map(|column| column.of);
    let checked = columns.iter().map(|column| column.of);
    let tokens = indexed.iter().enumerate().map(|(index, column)| unique_column(name, index, column));
    let (key_type, key_token) = match key {
        Some(column) => (to_tokens(column.of), {
            let by = by_name(column.name);
            quote!(Self::#by)
        }),
        // Never read: `NoKey` has no value to look up.
        None => (quote!(::logic_api::NoKey), quote!(unsafe { ::logic_api::UniqueColumn::new(0, 0) })),
    };
    let key_types = indexed.iter().map(|column| column.of);
    let key_values = match indexed.iter().map(|column| column.name) {
        // A unit written out would be a lint in the crate of the row.
        none if none.len() == 0 => TokenStream::new(),
        names => quote!((#(self.#names,)*)),
    };
    let changes = indexed.iter().enumerate().map(|(index, column)| {
        let (index, place) = (u32_literal(index), syn::Index::from(index));
        let field = column.name;
        quote! {
            if self.#field != before.#place {
                changed(#index, (&raw const before.#place).cast::<u8>());
            }
        }
    });
    let places = indexed.iter().map(|column| {
        let (field, of) = (column.name, column.of);
        quote!((::core::mem::offset_of!(Self, #field), ::core::mem::size_of::<#of>()))
    });
    let text = name.unraw().to_string();
    Ok(quote! {
        const _: () = {
            impl #name {
                #(#tokens)*
            }

            // SAFETY: every field is a column, at the offset that the compiler gives it.
            unsafe impl ::logic_api::Column for #name {
                const HAS_HEAP: bool = false #(|| <#heap as ::logic_api::Column>::HAS_HEAP)*;
                const CHECKED: () = {
                    #(let () = <#checked as ::logic_api::Column>::CHECKED;)*
                    ::core::assert!(::core::mem::size_of::<Self>() > 0, "a row needs at least one byte");
                    ::core::assert!(::core::mem::align_of::<Self>() <= 16, "a row is aligned to 16 bytes at most");
                };

                fn column_type() -> ::logic_api::schema::ColumnType {
                    ::logic_api::schema::ColumnType::Row(<Self as ::logic_api::Row>::row_schema())
                }

                fn describe(describe: &mut ::logic_api::changes::Describe) {
                    describe.row::<Self>(|row| { #description });
                }
            }

            // SAFETY: the indexed columns are those that the schema marks, in its order.
            unsafe impl ::logic_api::Row for #name {
                const NAME: &'static str = #text;
                const INDEXED_COLUMNS: &'static [(usize, usize)] = &[#(#places),*];
                type Key = #key_type;
                type Keys = (#(#key_types,)*);
                const KEY: ::logic_api::UniqueColumn<Self, Self::Key> = #key_token;

                fn row_schema() -> ::logic_api::schema::RowSchema {
                    ::logic_api::schema::RowSchema {
                        name: ::std::string::String::from(#text),
                        size: ::core::mem::size_of::<Self>() as u32,
                        align: ::core::mem::align_of::<Self>() as u32,
                        fields: ::std::vec![#(#schema_fields),*],
                    }
                }

                #[allow(clippy::unused_unit, reason = "a row without indexed columns has no keys")]
                #[inline]
                fn keys(&self) -> Self::Keys {
                    #key_values
                }

                #[allow(unused_variables, reason = "a row without indexed columns has nothing to compare")]
                fn changed_keys(&self, before: &Self::Keys, changed: &mut dyn FnMut(u32, *const u8)) {
                    #(#changes)*
                }
            }

            <#name as ::logic_api::Column>::CHECKED
        };
    })
}

/// The calls that tell what the source says of older versions of the row.
fn description(of_struct: &OfStruct, columns: &[Column<'_>]) -> TokenStream {
    let OfStruct { dropped, migrate } = of_struct;
    let dropped = (!dropped.is_empty()).then(|| quote!(row.dropped(&[#(#dropped),*]);));
    let migrate = migrate.iter().map(|function| quote_spanned!(told_at(function)=> row.migrate::<_, Self>(#function);));
    let fields = columns.iter().map(|Column { of, said, .. }| {
        let was = old_names(said.was.as_ref());
        let default = said.default.iter().map(|default| {
            let value = default.function(of);
            quote!(row.field_default::<#of>(#value);)
        });
        let migrate = said
            .migrate
            .iter()
            .map(|function| quote_spanned!(told_at(function)=> row.field_migration::<_, #of>(#function);));
        quote! {
            <#of as ::logic_api::Column>::describe(row.describe());
            row.field(#was, <#of as ::logic_api::Column>::blank());
            #(#default)*
            #(#migrate)*
        }
    });
    quote! {
        #dropped
        #(#migrate)*
        #(#fields)*
    }
}

pub(crate) fn old_names(of: Option<&Vec<LitStr>>) -> TokenStream {
    let of = of.into_iter().flatten();
    quote!(&[#(#of),*])
}

fn to_tokens(of: &Type) -> TokenStream {
    quote!(#of)
}

fn u32_literal(number: usize) -> proc_macro2::Literal {
    proc_macro2::Literal::u32_suffixed(u32::try_from(number).unwrap_or(u32::MAX))
}

/// `BY_NAME` for a column `name`.
fn by_name(column: &Ident) -> Ident {
    format_ident!("BY_{}", column.unraw().to_string().to_uppercase())
}

fn unique_column(row: &Ident, index: usize, column: &Column<'_>) -> TokenStream {
    let (by, of, field, index) = (by_name(column.name), column.of, column.name, u32_literal(index));
    let doc = format!("The unique column `{field}`, for `Table::find_by`.");
    quote! {
        #[doc = #doc]
        #[allow(dead_code, reason = "a unique column need not be looked up by")]
        pub const #by: ::logic_api::UniqueColumn<#row, #of> =
            // SAFETY: index and offset are those of this column.
            unsafe { ::logic_api::UniqueColumn::new(#index, ::core::mem::offset_of!(#row, #field)) };
    }
}

fn schema_field(column: &Column<'_>) -> TokenStream {
    let (field, of) = (column.name, column.of);
    let text = field.unraw().to_string();
    let unique = match column.said.marked {
        Marked::No => quote!(No),
        Marked::Unique => quote!(Unique),
        Marked::Key => quote!(Key),
    };
    quote! {
        ::logic_api::schema::FieldSchema {
            name: ::std::string::String::from(#text),
            offset: ::core::mem::offset_of!(Self, #field) as u32,
            column: <#of as ::logic_api::Column>::column_type(),
            unique: ::logic_api::schema::Unique::#unique,
        }
    }
}

fn derive_enum(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let name = &input.ident;
    let integer = |word: &String| matches!(word.as_str(), "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64");
    if !representation(&input.attrs)?.iter().any(integer) {
        let advice = format!("an enum in a row needs a fixed width: write `#[repr(u8)]` above `enum {name}`");
        return Err(Error::new(name.span(), advice));
    }
    if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        let advice = "an enum in a row has no fields: write a struct with a fieldless enum and the fields beside it";
        return Err(Error::new_spanned(variant, advice));
    }
    refuse_attribute(
        &input.attrs,
        "`#[row(…)]` goes above a variant, not above the enum, which may be renamed as one likes",
    )?;
    let was: Vec<Option<Vec<LitStr>>> =
        data.variants.iter().map(|variant| of_variant(&variant.attrs, &variant.ident)).collect::<Result<_>>()?;
    refuse_claimed_twice(was.iter().map(Option::as_ref))?;
    let renamed = data.variants.iter().zip(&was).flat_map(|(variant, was)| {
        let name = variant.ident.unraw().to_string();
        was.iter().flatten().map(move |was| quote!((#name, #was)))
    });
    let Some(first) = data.variants.first().map(|variant| &variant.ident) else {
        return Err(Error::new(name.span(), "an enum in a row needs at least one variant"));
    };
    let variants = data.variants.iter().map(|variant| &variant.ident);
    let texts = data.variants.iter().map(|variant| variant.ident.unraw().to_string());
    let text = name.unraw().to_string();
    Ok(quote! {
        const _: () = {
            // SAFETY: a fieldless enum of a fixed width, with these variants.
            unsafe impl ::logic_api::Column for #name {
                fn column_type() -> ::logic_api::schema::ColumnType {
                    ::logic_api::schema::ColumnType::Enum(::logic_api::schema::EnumSchema {
                        name: ::std::string::String::from(#text),
                        size: ::core::mem::size_of::<Self>() as u32,
                        variants: ::std::vec![#((::std::string::String::from(#texts), Self::#variants as i64)),*],
                    })
                }

                fn describe(describe: &mut ::logic_api::changes::Describe) {
                    describe.enumeration::<Self>(&[#(#renamed),*]);
                }
            }

            // SAFETY: no padding, one byte form for each variant.
            unsafe impl ::logic_api::Key for #name {}

            // Only what derives `PartialEq` can be a pattern: an equality of its own might not be that of the bytes.
            const FIRST: #name = #name::#first;
            const fn _is_first(of: &#name) -> bool {
                ::core::matches!(of, &FIRST)
            }
        };
    })
}
