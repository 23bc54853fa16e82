//! Derives for attribute types: `ArgEnum`, `ArgText`, `ArgObject`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, LitStr};

use crate::attributes::{Arg, attribute_default, refuse_generics, snake_case};

/// `type_name` and `code_type` of the implementation.
fn type_names(arg: &Arg, otherwise: &str) -> TokenStream {
    let type_name = arg.type_name.as_ref().map_or_else(|| otherwise.to_owned(), LitStr::value);
    let code_type = arg.code_type.as_ref().map_or_else(|| type_name.clone(), LitStr::value);
    quote! {
        fn type_name() -> ::std::borrow::Cow<'static, str> {
            ::std::borrow::Cow::Borrowed(#type_name)
        }
        fn code_type() -> ::std::borrow::Cow<'static, str> {
            ::std::borrow::Cow::Borrowed(#code_type)
        }
    }
}

pub fn derive_enum(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new(input.span(), "ArgEnum is for enums"));
    };
    let outer = Arg::read(&input.attrs)?;
    let (mut idents, mut texts, mut forms) = (Vec::new(), Vec::new(), Vec::new());
    let mut zero = None;
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new(variant.span(), "a variant of an ArgEnum is empty"));
        }
        let arg = Arg::read(&variant.attrs)?;
        let text = arg.name.as_ref().map_or_else(|| snake_case(&variant.ident.to_string()), LitStr::value);
        if arg.default.is_some() {
            zero = Some(&variant.ident);
        }
        let aliases = arg.aliases.iter().map(LitStr::value);
        forms.push(std::iter::once(text.clone()).chain(aliases).collect::<Vec<_>>());
        texts.push(text);
        idents.push(&variant.ident);
    }
    let Some(zero) = zero.or(idents.first().copied()) else {
        return Err(syn::Error::new(input.span(), "the enum needs a variant"));
    };
    let name = &input.ident;
    let names = type_names(&outer, "string");
    let ignore_case = outer.ignore_case;
    Ok(quote! {
        impl #name {
            /// How it is written in a file.
            pub const fn as_str(&self) -> &'static str {
                match self { #(Self::#idents => #texts,)* }
            }
        }
        #[automatically_derived]
        impl ::component::eval::ArgValue for #name {
            #names
            fn zero() -> Self {
                Self::#zero
            }
            fn from_value(
                value: &::component::eval::Value,
            ) -> ::core::result::Result<Self, ::component::eval::ValueError> {
                const FORMS: &[&[&str]] = &[#(&[#(#forms),*]),*];
                match ::component::eval::choice(value, FORMS, #ignore_case)? {
                    ::core::option::Option::None => ::core::result::Result::Ok(Self::#zero),
                    ::core::option::Option::Some(index) => {
                        ::core::result::Result::Ok([#(Self::#idents),*].into_iter().nth(index).unwrap_or(Self::#zero))
                    }
                }
            }
            fn to_value(&self) -> ::component::eval::Value {
                ::component::eval::Value::string(self.as_str())
            }
            fn allowed() -> &'static [&'static str] {
                &[#(#texts),*]
            }
        }
    })
}

pub fn derive_text(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    let names = type_names(&Arg::read(&input.attrs)?, "string");
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::component::eval::ArgValue for #name {
            #names
            fn zero() -> Self {
                <Self as ::core::default::Default>::default()
            }
            fn from_value(
                value: &::component::eval::Value,
            ) -> ::core::result::Result<Self, ::component::eval::ValueError> {
                if matches!(value, ::component::eval::Value::Null) {
                    return ::core::result::Result::Ok(<Self as ::core::default::Default>::default());
                }
                let text = <::std::string::String as ::component::eval::ArgValue>::from_value(value)?;
                <Self as ::core::str::FromStr>::from_str(&text)
                    .map_err(|e| ::component::eval::ValueError::invalid(::std::string::ToString::to_string(&e)))
            }
            fn to_value(&self) -> ::component::eval::Value {
                ::component::eval::Value::string(::std::string::ToString::to_string(self))
            }
        }
    })
}

pub fn derive_object(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new(input.span(), "ArgObject is for structs"));
    };
    let (mut idents, mut keys, mut types, mut defaults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for field in &data.fields {
        let arg = Arg::read(&field.attrs)?;
        let ident =
            field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "the field needs a name"))?;
        keys.push(arg.name_of(ident));
        defaults.push(attribute_default(&arg.default.clone().flatten(), &field.ty));
        types.push(&field.ty);
        idents.push(ident);
    }
    let name = &input.ident;
    let names = type_names(&Arg::read(&input.attrs)?, "object");
    Ok(quote! {
        #[automatically_derived]
        impl ::component::eval::ArgValue for #name {
            #names
            fn zero() -> Self {
                Self { #(#idents: <#types as ::component::eval::ArgValue>::zero(),)* }
            }
            fn from_value(
                value: &::component::eval::Value,
            ) -> ::core::result::Result<Self, ::component::eval::ValueError> {
                if matches!(value, ::component::eval::Value::Null) {
                    return ::core::result::Result::Ok(<Self as ::component::eval::ArgValue>::zero());
                }
                let mut fields = ::component::eval::ObjectDecoder::new(value, &[#(#keys),*])?;
                ::core::result::Result::Ok(Self {
                    #(#idents: match fields.field::<#types>(#keys)? {
                        ::core::option::Option::Some(given) => given,
                        ::core::option::Option::None => #defaults,
                    },)*
                })
            }
            fn to_value(&self) -> ::component::eval::Value {
                ::component::eval::Value::object(
                    [#((::std::string::String::from(#keys), ::component::eval::ArgValue::to_value(&self.#idents))),*]
                        .into_iter()
                        .collect(),
                )
            }
        }
    })
}
