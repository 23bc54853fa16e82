//! Derives that join argument structs to the language: `Arguments`, `Exports`, `ArgEnum`, `ArgText`,
//! `ArgObject`.
//!
//! Invariant: the generated code is a list of calls into `::component::eval`; rules live there, not here.

mod arguments;
mod attributes;
mod exports;
mod values;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|e| e.to_compile_error()).into()
}

/// Decodes a body into a struct, or one of several blocks into an enum.
///
/// On fields: none: a required attribute; `#[arg(default)]`: optional, zero; `#[arg(default = EXPR)]`:
/// optional (a string literal is read as a file would be, so `"30s"` makes a `Duration`); a type `Option<T>`
/// is optional without more. `#[arg(block)]` on `T` (parent's default, or `T`'s), `Option<T>` (unset) or
/// `Vec<T>` (repeatable); `#[arg(block, required)]`; `#[arg(label)]`; `#[arg(squash)]` flattens a struct with
/// its own defaults, `#[arg(squash, default = EXPR)]` with those, `#[arg(squash, default)]` with all fields zero; `#[arg(one_of)]` on a `Vec` of
/// such an enum; `#[arg(skip)]` is not part of the body. Also `name = "…"`, `type_name = "…"`,
/// `code_type = "…"`, `stability = experimental | public_preview`, and `no_effect = "why, and what to use
/// instead"` on an optional attribute, a block or a variant that is read and changes nothing: the static pass
/// warns where it is written.
/// On the struct: `#[arguments(validate = path)]` with `fn(&Self) -> Result<(), eval::Invalid>`, and
/// `without_effect = path` with `fn(&Self) -> Vec<eval::Invalid>` for what has no effect with some values only.
/// On an enum's variants (empty, or around one struct): `#[arg(name = "stage.json")]`.
#[proc_macro_derive(Arguments, attributes(arg, arguments))]
pub fn derive_arguments(input: TokenStream) -> TokenStream {
    finish(arguments::derive(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a component's exports; fields may carry `#[arg(name = "…", type_name = "…", code_type = "…")]`.
#[proc_macro_derive(Exports, attributes(arg))]
pub fn derive_exports(input: TokenStream) -> TokenStream {
    finish(exports::derive(&parse_macro_input!(input as DeriveInput)))
}

/// Makes an enum without data an attribute type: one of a list of texts.
///
/// A variant's text is its name in `snake_case` or `#[arg(name = "…")]`, further spellings are
/// `#[arg(alias = "…")]`; `#[arg(default)]` marks what `null` sets (else the first). On the enum:
/// `#[arg(ignore_case)]`, `#[arg(type_name = "…", code_type = "…")]`. Adds `as_str`.
#[proc_macro_derive(ArgEnum, attributes(arg))]
pub fn derive_arg_enum(input: TokenStream) -> TokenStream {
    finish(values::derive_enum(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a type with `FromStr`, `Display` and `Default` an attribute type read from text.
///
/// On the type: `#[arg(type_name = "…", code_type = "string(URL)")]`.
#[proc_macro_derive(ArgText, attributes(arg))]
pub fn derive_arg_text(input: TokenStream) -> TokenStream {
    finish(values::derive_text(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a struct the type of an object-valued attribute: unknown keys are errors, missing keys leave the
/// field's `#[arg(default = EXPR)]` or zero.
#[proc_macro_derive(ArgObject, attributes(arg))]
pub fn derive_arg_object(input: TokenStream) -> TokenStream {
    finish(values::derive_object(&parse_macro_input!(input as DeriveInput)))
}
