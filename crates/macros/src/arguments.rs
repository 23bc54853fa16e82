//! `#[derive(Arguments)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DeriveInput, Expr, Field, Fields, Ident, Type};

use crate::attributes::{Arg, Rules, Shape, attribute_default, docs, refuse_generics, shape, snake_case};

pub fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    match &input.data {
        Data::Struct(data) => derive_struct(input, &data.fields),
        Data::Enum(data) => derive_enum(input, data),
        Data::Union(_) => Err(syn::Error::new(input.span(), "a union cannot hold arguments")),
    }
}

/// What one field adds to each generated function.
struct Parts {
    default: TokenStream,
    zero: TokenStream,
    apply: TokenStream,
    schema: TokenStream,
    encode: TokenStream,
}

fn derive_struct(input: &DeriveInput, fields: &Fields) -> syn::Result<TokenStream> {
    let named: Vec<&Field> = match fields {
        Fields::Named(named) => named.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => return Err(syn::Error::new(fields.span(), "the fields need names")),
    };
    let mut parts = Vec::new();
    let mut label: Option<&Ident> = None;
    for field in named {
        let arg = Arg::read(&field.attrs)?;
        let ident =
            field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "the field needs a name"))?;
        if arg.label && label.replace(ident).is_some() {
            return Err(syn::Error::new(field.span(), "a block has one label"));
        }
        parts.push((ident, field_parts(field, ident, &arg)?));
    }
    Ok(implementation(input, &parts, label, &Rules::read(&input.attrs)?))
}

fn implementation(
    input: &DeriveInput,
    parts: &[(&Ident, Parts)],
    label: Option<&Ident>,
    rules: &Rules,
) -> TokenStream {
    let name = &input.ident;
    let doc = docs(&input.attrs);
    let idents: Vec<_> = parts.iter().map(|(i, _)| i).collect();
    let defaults = parts.iter().map(|(_, p)| &p.default);
    let zeros = parts.iter().map(|(_, p)| &p.zero);
    let applies = parts.iter().map(|(_, p)| &p.apply);
    let schemas = parts.iter().map(|(_, p)| &p.schema);
    let encodes = parts.iter().map(|(_, p)| &p.encode);
    let labelled = label.is_some();
    let label = label.map(|field| {
        quote! {
            fn set_label(&mut self, label: &str) {
                self.#field = ::core::convert::From::from(label);
            }
            fn label(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
            }
        }
    });
    let validate = rules.validate.as_ref().map(|path| {
        quote! {
            fn validate(&self) -> ::core::result::Result<(), ::component::eval::Invalid> {
                #path(self)
            }
        }
    });
    let without_effect = rules.without_effect.as_ref().map(|path| {
        quote! {
            fn without_effect(&self) -> ::std::vec::Vec<::component::eval::Invalid> {
                #path(self)
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl ::component::eval::Arguments for #name {
            fn defaults() -> Self {
                Self { #(#idents: #defaults,)* }
            }
            fn zero() -> Self {
                Self { #(#idents: #zeros,)* }
            }
            fn apply(&mut self, body: &mut ::component::eval::BodyDecoder<'_>) {
                let _ = &body;
                #(#applies)*
            }
            fn schema() -> &'static ::component::eval::BodySchema {
                static SCHEMA: ::std::sync::LazyLock<::component::eval::BodySchema> =
                    ::std::sync::LazyLock::new(|| {
                        let defaults = <#name as ::component::eval::Arguments>::defaults();
                        let fields = ::component::eval::Arguments::fields(&defaults);
                        ::component::eval::BodySchema::new(#doc, #labelled, fields)
                    });
                &SCHEMA
            }
            fn fields(&self) -> ::std::vec::Vec<::component::eval::FieldSchema> {
                let mut out = ::std::vec::Vec::new();
                let _: &mut ::std::vec::Vec<::component::eval::FieldSchema> = &mut out;
                #(#schemas)*
                out
            }
            fn encode(&self, out: &mut ::std::vec::Vec<::component::eval::Item>) {
                let _ = &out;
                #(#encodes)*
            }
            #label
            #validate
            #without_effect
        }
    }
}

fn field_parts(field: &Field, ident: &Ident, arg: &Arg) -> syn::Result<Parts> {
    let kinds = [arg.block, arg.label, arg.squash, arg.one_of, arg.skip];
    if kinds.iter().filter(|k| **k).count() > 1 {
        return Err(syn::Error::new(
            field.span(),
            "block, label, squash, one_of and skip exclude each other",
        ));
    }
    if arg.no_effect.is_some() && (arg.label || arg.squash || arg.one_of || arg.skip) {
        return Err(syn::Error::new(field.span(), "no_effect is for an attribute, a block or a variant"));
    }
    let doc = docs(&field.attrs);
    let written = &field.ty;
    if arg.required && !(arg.block || arg.one_of) {
        return Err(syn::Error::new(field.span(), "an attribute without a default is required anyway"));
    }
    if arg.block {
        block(written, ident, arg, &doc)
    } else if arg.squash {
        Ok(squash(written, ident, arg))
    } else if arg.one_of {
        one_of(field, ident, arg)
    } else if arg.label || arg.skip {
        let empty = quote!(::core::default::Default::default());
        let default = arg.default.clone().flatten().map_or(empty.clone(), |e| e.into_token_stream());
        let nothing = TokenStream::new;
        Ok(Parts { default, zero: empty, apply: nothing(), schema: nothing(), encode: nothing() })
    } else {
        attribute(written, ident, arg, &doc)
    }
}

fn attribute(written: &Type, ident: &Ident, arg: &Arg, doc: &str) -> syn::Result<Parts> {
    let name = arg.name_of(ident);
    let required = arg.default.is_none() && !matches!(shape(written), Shape::Option(_));
    let zero = quote!(<#written as ::component::eval::ArgValue>::zero());
    if required && arg.no_effect.is_some() {
        let message = "what has no effect cannot be required: give it a default";
        return Err(syn::Error::new(ident.span(), message));
    }
    let default = arg.default.as_ref().map_or(zero.clone(), |d| attribute_default(d, written));
    let type_name = arg.type_name.as_ref().map(|t| quote!(.with_type_name(#t)));
    let code_type = arg.code_type.as_ref().map(|t| quote!(.with_code_type(#t)));
    let stability = arg.stability()?.map(|level| quote!(.with_stability(#level)));
    let no_effect = arg.no_effect();
    Ok(Parts {
        default,
        zero,
        apply: quote!(body.attribute(#name, &mut self.#ident);),
        schema: quote! {
            out.push(::component::eval::FieldSchema::Attribute(
                ::component::eval::AttributeSchema::of::<#written>(#name, #doc, #required, &self.#ident)
                    #type_name #code_type #stability #no_effect
            ));
        },
        encode: quote!(::component::eval::Item::push_attribute(out, #name, #required, &self.#ident);),
    })
}

fn block(written: &Type, ident: &Ident, arg: &Arg, doc: &str) -> syn::Result<Parts> {
    let name = arg.name_of(ident);
    let given: Option<&Expr> = arg.default.as_ref().and_then(Option::as_ref);
    let (inner, default, zero, absent, apply, encode) = match shape(written) {
        Shape::List(inner) => (
            inner,
            quote!(::std::vec::Vec::new()),
            quote!(::std::vec::Vec::new()),
            quote!(Empty),
            quote!(body.blocks(#name, &mut self.#ident);),
            quote!(for block in &self.#ident { ::component::eval::Item::push_block(out, #name, block); }),
        ),
        Shape::Option(inner) => (
            inner,
            quote!(::core::option::Option::None),
            quote!(::core::option::Option::None),
            quote!(Unset),
            quote!(body.optional_block(#name, &mut self.#ident);),
            quote!(if let ::core::option::Option::Some(block) = &self.#ident {
                ::component::eval::Item::push_block(out, #name, block);
            }),
        ),
        Shape::One(inner) => (
            inner,
            quote!(<#inner as ::component::eval::Arguments>::defaults()),
            quote!(<#inner as ::component::eval::Arguments>::zero()),
            quote!(Defaults),
            quote!(body.block(#name, &mut self.#ident);),
            quote!(::component::eval::Item::push_block(out, #name, &self.#ident);),
        ),
    };
    let repeated = matches!(shape(written), Shape::List(_)).then(|| quote!(.repeated()));
    let no_effect = arg.no_effect();
    let absent = match (arg.required, given.is_some()) {
        (true, _) => quote!(Error),
        (false, true) => quote!(Defaults),
        (false, false) => absent,
    };
    Ok(Parts {
        default: given.map_or(default, ToTokens::to_token_stream),
        zero,
        apply,
        schema: quote! {
            out.push(::component::eval::FieldSchema::Block(
                ::component::eval::BlockSchema::of::<#inner>(#name, #doc, ::component::eval::Absent::#absent)
                    #repeated #no_effect
            ));
        },
        encode,
    })
}

fn squash(written: &Type, ident: &Ident, arg: &Arg) -> Parts {
    let zero = quote!(<#written as ::component::eval::Arguments>::zero());
    let default = match &arg.default {
        Some(Some(given)) => given.to_token_stream(),
        Some(None) => zero.clone(),
        None => quote!(<#written as ::component::eval::Arguments>::defaults()),
    };
    Parts {
        default,
        zero,
        apply: quote!(::component::eval::Arguments::apply(&mut self.#ident, body);),
        schema: quote!(out.extend(::component::eval::Arguments::fields(&self.#ident));),
        encode: quote!(::component::eval::Arguments::encode(&self.#ident, out);),
    }
}

fn one_of(field: &Field, ident: &Ident, arg: &Arg) -> syn::Result<Parts> {
    let Shape::List(inner) = shape(&field.ty) else {
        return Err(syn::Error::new(field.ty.span(), "one_of needs a Vec of an enum that derives Arguments"));
    };
    let group = arg.name_of(ident);
    let empty = quote!(::std::vec::Vec::new());
    Ok(Parts {
        default: empty.clone(),
        zero: empty,
        apply: quote!(body.one_of(&mut self.#ident);),
        schema: quote!(out.extend(::component::eval::BlockSchema::group::<#inner>(#group));),
        encode: quote!(for one in &self.#ident { ::component::eval::OneOf::encode(one, out); }),
    })
}

fn derive_enum(input: &DeriveInput, data: &DataEnum) -> syn::Result<TokenStream> {
    let name = &input.ident;
    let (mut blocks, mut decodes, mut encodes) = (Vec::new(), Vec::new(), Vec::new());
    for variant in &data.variants {
        let arg = Arg::read(&variant.attrs)?;
        let ident = &variant.ident;
        let text = arg.name.as_ref().map_or_else(|| snake_case(&ident.to_string()), |n| n.value());
        let doc = docs(&variant.attrs);
        let inner = match &variant.fields {
            Fields::Unit => quote!(::component::eval::NoArguments),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => fields.unnamed[0].ty.to_token_stream(),
            _ => return Err(syn::Error::new(variant.span(), "a variant is empty or holds one struct")),
        };
        let no_effect = arg.no_effect();
        blocks.push(quote! {
            ::component::eval::BlockSchema::of::<#inner>(#text, #doc, ::component::eval::Absent::Empty) #no_effect
        });
        if matches!(variant.fields, Fields::Unit) {
            decodes.push(
                quote!(#text => { block.body::<#inner>(); ::core::option::Option::Some(Self::#ident) }),
            );
            encodes.push(quote! {
                Self::#ident => ::component::eval::Item::push_block(out, #text, &::component::eval::NoArguments),
            });
        } else {
            decodes
                .push(quote!(#text => ::core::option::Option::Some(Self::#ident(block.body::<#inner>())),));
            encodes
                .push(quote!(Self::#ident(inner) => ::component::eval::Item::push_block(out, #text, inner),));
        }
    }
    if data.variants.is_empty() {
        return Err(syn::Error::new(Span::call_site(), "the enum needs a variant"));
    }
    Ok(quote! {
        #[automatically_derived]
        impl ::component::eval::OneOf for #name {
            fn blocks() -> ::std::vec::Vec<::component::eval::BlockSchema> {
                ::std::vec![#(#blocks),*]
            }
            fn decode(
                name: &str,
                block: &mut ::component::eval::BlockDecoder<'_, '_>,
            ) -> ::core::option::Option<Self> {
                match name {
                    #(#decodes)*
                    _ => ::core::option::Option::None,
                }
            }
            fn encode(&self, out: &mut ::std::vec::Vec<::component::eval::Item>) {
                match self {
                    #(#encodes)*
                }
            }
        }
    })
}
