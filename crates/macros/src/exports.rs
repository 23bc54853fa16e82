//! `#[derive(Exports)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields};

use crate::attributes::{Arg, docs, refuse_generics};

pub fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_generics(input)?;
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        _ => return Err(syn::Error::new(input.span(), "exports are a struct")),
    };
    if matches!(fields, Fields::Unnamed(_)) {
        return Err(syn::Error::new(fields.span(), "the fields need names"));
    }
    let name = &input.ident;
    let (mut values, mut schemas) = (Vec::new(), Vec::new());
    for field in fields {
        let arg = Arg::read(&field.attrs)?;
        let ident =
            field.ident.as_ref().ok_or_else(|| syn::Error::new(field.span(), "the field needs a name"))?;
        let (text, doc, written) = (arg.name_of(ident), docs(&field.attrs), &field.ty);
        values.push(quote! {
            (::std::string::String::from(#text), ::component::eval::ArgValue::to_value(&self.#ident))
        });
        let type_name = arg.type_name.as_ref().map(|t| quote!(.with_type_name(#t)));
        let code_type = arg.code_type.as_ref().map(|t| quote!(.with_code_type(#t)));
        schemas.push(quote! {
            ::component::eval::ExportSchema::of::<#written>(#text, #doc) #type_name #code_type
        });
    }
    Ok(quote! {
        #[automatically_derived]
        impl ::component::eval::Exports for #name {
            fn to_value(&self) -> ::component::eval::Value {
                ::component::eval::Value::object([#(#values),*].into_iter().collect())
            }
            fn schema() -> &'static [::component::eval::ExportSchema] {
                static SCHEMA: ::std::sync::LazyLock<::std::vec::Vec<::component::eval::ExportSchema>> =
                    ::std::sync::LazyLock::new(|| ::std::vec![#(#schemas),*]);
                &SCHEMA
            }
        }
    })
}
