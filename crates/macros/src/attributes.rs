//! What stands in `#[arg(…)]`, `#[arguments(…)]` and doc comments.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, ExprLit, ExprPath, GenericArgument, Ident, Lit, LitStr, Meta, PathArguments, Type,
};

/// The contents of all `#[arg(…)]` of one item.
#[derive(Default)]
pub struct Arg {
    pub block: bool,
    pub required: bool,
    pub label: bool,
    pub squash: bool,
    pub one_of: bool,
    pub skip: bool,
    pub ignore_case: bool,
    /// `default`, or `default = EXPR`.
    pub default: Option<Option<Expr>>,
    pub name: Option<LitStr>,
    pub aliases: Vec<LitStr>,
    pub type_name: Option<LitStr>,
    pub code_type: Option<LitStr>,
    pub stability: Option<Ident>,
    pub no_effect: Option<LitStr>,
}

impl Arg {
    pub fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut arg = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("arg")) {
            attribute.parse_nested_meta(|meta| arg.take(&meta))?;
        }
        Ok(arg)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match word.as_str() {
            "block" => self.block = true,
            "required" => self.required = true,
            "label" => self.label = true,
            "squash" => self.squash = true,
            "one_of" => self.one_of = true,
            "skip" => self.skip = true,
            "ignore_case" => self.ignore_case = true,
            "default" if meta.input.peek(syn::Token![=]) => self.default = Some(Some(meta.value()?.parse()?)),
            "default" => self.default = Some(None),
            "name" => self.name = Some(meta.value()?.parse()?),
            "alias" => self.aliases.push(meta.value()?.parse()?),
            "type_name" => self.type_name = Some(meta.value()?.parse()?),
            "code_type" => self.code_type = Some(meta.value()?.parse()?),
            "stability" => self.stability = Some(meta.value()?.parse()?),
            "no_effect" => self.no_effect = Some(meta.value()?.parse()?),
            _ => {
                return Err(meta.error(
                    "known are: default, block, required, label, squash, one_of, skip, name, type_name, \
                     code_type, stability, no_effect; on enums alias, ignore_case",
                ));
            }
        }
        Ok(())
    }

    /// The name in the file.
    pub fn name_of(&self, ident: &Ident) -> String {
        self.name.as_ref().map_or_else(|| ident.unraw().to_string(), LitStr::value)
    }

    /// What marks a schema as that of something without effect.
    pub fn no_effect(&self) -> Option<TokenStream> {
        self.no_effect.as_ref().map(|why| quote!(.with_no_effect(#why)))
    }

    /// The path of the stability level, if one is given.
    pub fn stability(&self) -> syn::Result<Option<TokenStream>> {
        let Some(level) = &self.stability else { return Ok(None) };
        let variant = match level.to_string().as_str() {
            "experimental" => quote!(Experimental),
            "public_preview" => quote!(PublicPreview),
            "generally_available" => quote!(GenerallyAvailable),
            _ => {
                return Err(syn::Error::new(
                    level.span(),
                    "levels are experimental, public_preview, generally_available",
                ));
            }
        };
        Ok(Some(quote!(::component::eval::Stability::#variant)))
    }
}

/// What stands in `#[arguments(…)]`: functions that look at a struct as a whole.
#[derive(Default)]
pub struct Rules {
    pub validate: Option<ExprPath>,
    pub without_effect: Option<ExprPath>,
}

impl Rules {
    pub fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut rules = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("arguments")) {
            attribute.parse_nested_meta(|meta| {
                let rule = if meta.path.is_ident("validate") {
                    &mut rules.validate
                } else if meta.path.is_ident("without_effect") {
                    &mut rules.without_effect
                } else {
                    return Err(meta.error("known are: validate = path, without_effect = path"));
                };
                *rule = Some(meta.value()?.parse()?);
                Ok(())
            })?;
        }
        Ok(rules)
    }
}

/// The doc comment as one text, lines joined.
pub fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|a| a.path().is_ident("doc")).filter_map(|a| match &a.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> = lines.map(|l| l.strip_prefix(' ').unwrap_or(&l).trim_end().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

/// How a type holds its content.
pub enum Shape<'t> {
    One(&'t Type),
    Option(&'t Type),
    List(&'t Type),
}

/// Reads `Option<T>` and `Vec<T>` off the written type.
pub fn shape(written: &Type) -> Shape<'_> {
    let Type::Path(path) = written else { return Shape::One(written) };
    let Some(last) = path.path.segments.last() else { return Shape::One(written) };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Shape::One(written) };
    match (last.ident.to_string().as_str(), arguments.args.first()) {
        ("Option", Some(GenericArgument::Type(inner))) => Shape::Option(inner),
        ("Vec", Some(GenericArgument::Type(inner))) => Shape::List(inner),
        _ => Shape::One(written),
    }
}

/// The value of a default for an attribute of that type: a string literal is read as a file's would be.
pub fn attribute_default(default: &Option<Expr>, written: &Type) -> TokenStream {
    match default {
        None => quote!(<#written as ::component::eval::ArgValue>::zero()),
        Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => {
            quote!(::component::eval::literal::<#written>(#text))
        }
        Some(other) => other.to_token_stream(),
    }
}

/// Derives are for types without parameters: their schema is one static.
pub fn refuse_generics(input: &syn::DeriveInput) -> syn::Result<()> {
    match input.generics.params.first() {
        Some(parameter) => Err(syn::Error::new(parameter.span(), "a type with parameters has no one schema")),
        None => Ok(()),
    }
}

/// `CamelCase` → `camel_case`.
pub fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
