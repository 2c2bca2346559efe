//! `#[logic]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ImplItem, ItemImpl, Result, spanned::Spanned};

/// `abi_stable::library::ROOT_MODULE_LOADER_NAME`, where a loader looks for the root module. An attribute takes a literal
/// only; a test of `logic_api` compares the two.
const EXPORT_NAME: &str = "_1as_0lib_1header_0root_bmodule_bloader";

pub(crate) fn expand(arguments: &TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    let linked = match arguments.to_string().as_str() {
        "" => false,
        "linked" => true,
        _ => {
            return Err(Error::new(arguments.span(), "write `#[logic]`, or `#[logic(linked)]` to export nothing"));
        }
    };
    let is_logic =
        item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()).is_some_and(|last| last.ident == "Logic");
    if !is_logic {
        return Err(Error::new(item.self_ty.span(), "`#[logic]` goes above `impl Logic for …`"));
    }
    let of = &item.self_ty;
    let callbacks = item.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) => Some(function.sig.ident.to_string()),
        _ => None,
    });
    let export = (!linked).then(|| {
        quote! {
            #[allow(unsafe_code, reason = "the one symbol that the engine looks for")]
            const _: () = {
                #[unsafe(export_name = #EXPORT_NAME)]
                static HEADER: ::logic_api::abi::LibHeader = ::logic_api::raw::lib_header::<#of>();
            };
        }
    });
    Ok(quote! {
        #item

        impl ::logic_api::raw::LogicInfo for #of {
            const VERSION: ::logic_api::Version = ::logic_api::raw::version_of_build(::core::option_env!("HOTSEAT_LOGIC_VERSION"));
            const NAME: &'static str = match ::core::option_env!("HOTSEAT_LOGIC_NAME") {
                ::core::option::Option::Some(name) => name,
                ::core::option::Option::None => ::core::env!("CARGO_PKG_NAME"),
            };
            const CALLBACKS: &'static [&'static str] = &[#(#callbacks),*];
        }

        #export
    })
}
