//! `#[logic]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, ImplItem, ItemImpl, LitInt, Result, Token, spanned::Spanned};

/// `abi_stable::library::ROOT_MODULE_LOADER_NAME`, where a loader looks for the root module. An attribute takes a literal
/// only; a test of `logic_api` compares the two.
const EXPORT_NAME: &str = "_1as_0lib_1header_0root_bmodule_bloader";

pub(crate) const MISPLACED: &str = "`#[logic]` goes above `impl Logic for …`";

/// What stands in the brackets.
#[derive(Default)]
struct Arguments {
    linked: bool,
    version: Option<LitInt>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        const ADVICE: &str = "write `#[logic]`, or `#[logic(linked)]` to export nothing, for further logics in one program; \
                              a linked one may say `version = 1002`";
        let mut this = Self::default();
        while !input.is_empty() {
            let word: Ident = input.parse().map_err(|error| Error::new(error.span(), ADVICE))?;
            match word.to_string().as_str() {
                "linked" => this.linked = true,
                "version" => {
                    input.parse::<Token![=]>()?;
                    let number: LitInt = input.parse()?;
                    number.base10_parse::<u32>()?;
                    this.version = Some(number);
                }
                _ => return Err(Error::new(word.span(), ADVICE)),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>().map_err(|error| Error::new(error.span(), ADVICE))?;
            }
        }
        match &this.version {
            Some(version) if !this.linked => {
                let advice = "the build says which version a plugin is: `scripts/build_so.sh 1002`";
                Err(Error::new(version.span(), advice))
            }
            _ => Ok(this),
        }
    }
}

pub(crate) fn expand(arguments: TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    let Arguments { linked, version } = syn::parse2(arguments)?;
    let is_logic =
        item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last()).is_some_and(|last| last.ident == "Logic");
    if !is_logic {
        return Err(Error::new(item.self_ty.span(), MISPLACED));
    }
    let of = &item.self_ty;
    let callbacks = item.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) => Some(function.sig.ident.to_string()),
        _ => None,
    });
    let version = match version {
        Some(number) => quote!(::logic_api::Version(#number)),
        None => quote!(::logic_api::raw::version_of_build(::core::option_env!("HOTSEAT_LOGIC_VERSION"))),
    };
    let export = (!linked).then(|| {
        quote! {
            const _: () = {
                #[cfg(panic = "abort")]
                ::core::compile_error!(
                    "a logic must not be built with panic = \"abort\": a panic in it would end the engine, which takes back \
                     what panicked; remove it from the profile"
                );

                #[unsafe(export_name = #EXPORT_NAME)]
                static HEADER: ::logic_api::abi::LibHeader = ::logic_api::raw::lib_header::<#of>();
            };
        }
    });
    Ok(quote! {
        #item

        impl ::logic_api::raw::LogicInfo for #of {
            const VERSION: ::logic_api::Version = #version;
            const NAME: &'static str = match ::core::option_env!("HOTSEAT_LOGIC_NAME") {
                ::core::option::Option::Some(name) => name,
                ::core::option::Option::None => ::core::env!("CARGO_PKG_NAME"),
            };
            const CALLBACKS: &'static [&'static str] = &[#(#callbacks),*];
        }

        #export
    })
}
