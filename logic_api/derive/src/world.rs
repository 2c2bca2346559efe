//! `#[derive(World)]`.

use crate::attributes::{OfStruct, OfTable, refuse_claimed_twice, told_at};
use crate::row::old_names;
use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, GenericArgument, Ident, PathArguments, Result, Type, spanned::Spanned};

struct Table<'a> {
    name: &'a Ident,
    of: &'a Type,
    row: &'a Type,
    single: bool,
    said: OfTable,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    if !input.generics.params.is_empty() {
        return Err(Error::new(
            input.generics.span(),
            "a world cannot be generic: its tables are the same for every room, so write their rows out",
        ));
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(name.span(), "a world is a struct whose fields are `Table<T>` and `One<T>`"));
    };
    let tables: Vec<Table> = match &data.fields {
        Fields::Named(fields) => fields.named.iter().map(table).collect::<Result<_>>()?,
        Fields::Unit => Vec::new(),
        Fields::Unnamed(fields) => {
            return Err(Error::new(fields.span(), "a world's tables have names: later versions are matched by them"));
        }
    };
    let names: Vec<String> = tables.iter().map(|table| table.name.unraw().to_string()).collect();
    let dropped = OfStruct::of_world(&input.attrs, &names)?.dropped;
    refuse_claimed_twice(tables.iter().map(|table| table.said.was.as_ref()))?;
    let dropped = (!dropped.is_empty()).then(|| quote!(describe.dropped(&[#(#dropped),*]);));
    let descriptions = tables.iter().zip(&names).map(|(Table { row, said, .. }, name)| {
        let was = old_names(said.was.as_ref());
        let migrate = said
            .migrate
            .iter()
            .map(|function| quote_spanned!(told_at(function)=> describe.table_migration::<_, #row>(#name, #function);));
        quote! {
            <#row as ::logic_api::Column>::describe(describe);
            describe.table(#name, #was);
            #(#migrate)*
        }
    });
    let rows = tables.iter().map(|table| table.row);
    let schemas = tables.iter().map(|Table { name, row, single, .. }| {
        let text = name.unraw().to_string();
        quote! {
            ::logic_api::schema::TableSchema {
                name: ::std::string::String::from(#text),
                single: #single,
                row: <#row as ::logic_api::Row>::row_schema(),
            }
        }
    });
    let bindings = tables.iter().enumerate().map(|(number, Table { name, of, .. })| {
        let number = Literal::u32_suffixed(u32::try_from(number).unwrap_or(u32::MAX));
        // SAFETY comment for readers of the expansion: the table's number is its place in the schema above.
        quote!(#name: unsafe { <#of>::bind(binder, #number) })
    });
    let plain = tables.iter().filter(|table| table.single).map(|table| {
        let row = table.row;
        let advice = "the row of a `One` has no key and no unique column, since there is only one row: write `Table<T>`, or leave \
                      `#[row(…)]` out";
        quote_spanned!(row.span()=> const _: () = ::core::assert!(!<#row as ::logic_api::Row>::INDEXED, #advice);)
    });
    let ones = tables.iter().filter(|table| table.single).map(|table| table.name);
    let construct = if matches!(data.fields, Fields::Unit) { quote!(Self) } else { quote!(Self { #(#bindings),* }) };
    Ok(quote! {
        #(#plain)*

        impl ::logic_api::World for #name {
            const HAS_HEAP: bool = false #(|| <#rows as ::logic_api::Column>::HAS_HEAP)*;

            fn schema() -> ::logic_api::schema::Schema {
                ::logic_api::schema::Schema { tables: ::std::vec![#(#schemas),*] }
            }

            #[inline]
            #[allow(unused_variables, reason = "a world without tables binds none")]
            unsafe fn bind(binder: &::logic_api::Binder<'_>) -> Self {
                #construct
            }

            fn init(&mut self) {
                #(self.#ones.init();)*
            }

            #[allow(unused_variables, reason = "a world without tables has nothing to say of them")]
            fn describe(describe: &mut ::logic_api::changes::Describe) {
                #dropped
                #(#descriptions)*
            }
        }
    })
}

fn table(field: &syn::Field) -> Result<Table<'_>> {
    let advice = || {
        Error::new_spanned(
            &field.ty,
            "a world's fields are `Table<T>` (rows) and `One<T>` (a single row), where `T` is a row: all state is the engine's",
        )
    };
    let name = field.ident.as_ref().ok_or_else(advice)?;
    let Type::Path(path) = &field.ty else {
        return Err(advice());
    };
    let last = path.path.segments.last().ok_or_else(advice)?;
    let single = match last.ident.to_string().as_str() {
        "Table" => false,
        "One" => true,
        _ => return Err(advice()),
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Err(advice());
    };
    let Some(GenericArgument::Type(row)) = arguments.args.first() else {
        return Err(advice());
    };
    Ok(Table { name, of: &field.ty, row, single, said: OfTable::of(&field.attrs, name)? })
}
