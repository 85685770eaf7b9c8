//! `#[derive(FieldValue)]`: maps, newtypes and names of variants as values.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, FieldsNamed, Ident, Path, Result, Type};

use crate::attributes::{crate_path, stored_name};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let krate = crate_path(&input.attrs)?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a derived field value has no generic parameters: implement the trait by hand",
        ));
    }
    let body = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => map(&krate, fields)?,
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                newtype(&krate, &fields.unnamed[0].ty)
            }
            _ => {
                return Err(Error::new(
                    input.ident.span(),
                    "a field value is a struct with named fields or around one value, \
                     or an enum without data",
                ));
            }
        },
        Data::Enum(data) => variants(&krate, &input.ident, data)?,
        Data::Union(data) => {
            return Err(Error::new(data.union_token.span, "a union is no field value"));
        }
    };
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #krate::FieldValue for #ident {
            #body
        }
    })
}

fn newtype(krate: &Path, ty: &Type) -> TokenStream {
    quote! {
        fn to_value(&self) -> #krate::Value {
            #krate::FieldValue::to_value(&self.0)
        }

        fn from_value(value: &#krate::Value) -> ::core::option::Option<Self> {
            <#ty as #krate::FieldValue>::from_value(value).map(Self)
        }

        fn fallback() -> Self {
            Self(<#ty as #krate::FieldValue>::fallback())
        }
    }
}

fn map(krate: &Path, fields: &FieldsNamed) -> Result<TokenStream> {
    let mut idents = Vec::new();
    let mut types = Vec::new();
    let mut names = Vec::new();
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        names.push(stored_name(&field.attrs, ident)?);
        idents.push(ident);
        types.push(&field.ty);
    }
    Ok(quote! {
        fn to_value(&self) -> #krate::Value {
            #krate::__private::map_value([
                #((#names, #krate::FieldValue::to_value(&self.#idents))),*
            ])
        }

        fn from_value(value: &#krate::Value) -> ::core::option::Option<Self> {
            let #krate::Value::Map(entries) = value else { return ::core::option::Option::None };
            ::core::option::Option::Some(Self {
                #(#idents: match entries.get(#names) {
                    ::core::option::Option::Some(value) => {
                        <#types as #krate::FieldValue>::from_value(value)?
                    }
                    ::core::option::Option::None => <#types as #krate::FieldValue>::fallback(),
                }),*
            })
        }

        fn fallback() -> Self {
            Self { #(#idents: <#types as #krate::FieldValue>::fallback()),* }
        }
    })
}

fn variants(krate: &Path, ident: &Ident, data: &DataEnum) -> Result<TokenStream> {
    let mut idents = Vec::new();
    let mut names = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "a derived enum has no data: implement the trait by hand",
            ));
        }
        names.push(stored_name(&variant.attrs, &variant.ident)?);
        idents.push(&variant.ident);
    }
    let Some(first) = idents.first() else {
        return Err(Error::new(ident.span(), "an enum without variants has no values"));
    };
    Ok(quote! {
        fn to_value(&self) -> #krate::Value {
            #krate::Value::from(match self { #(Self::#idents => #names),* })
        }

        fn from_value(value: &#krate::Value) -> ::core::option::Option<Self> {
            let #krate::Value::String(name) = value else { return ::core::option::Option::None };
            match name.as_str() {
                #(#names => ::core::option::Option::Some(Self::#idents),)*
                _ => ::core::option::Option::None,
            }
        }

        fn fallback() -> Self {
            Self::#first
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn structs_newtypes_and_plain_enums_expand() {
        let inputs: [DeriveInput; 3] = [
            parse_quote!(
                struct A {
                    a: u8,
                    #[record(rename = "x")]
                    b: String,
                }
            ),
            parse_quote!(
                struct A(u8);
            ),
            parse_quote!(
                enum A {
                    B,
                    #[record(rename = "c")]
                    C,
                }
            ),
        ];
        for input in inputs {
            let tokens = derive(&input).expect("a valid value");
            syn::parse2::<syn::ItemImpl>(tokens).expect("valid Rust");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let inputs: [DeriveInput; 4] = [
            parse_quote!(
                struct A(u8, u8);
            ),
            parse_quote!(
                enum A {}
            ),
            parse_quote!(
                enum A {
                    B(u8),
                }
            ),
            parse_quote!(
                struct A<T>(T);
            ),
        ];
        for input in inputs {
            assert!(derive(&input).is_err());
        }
    }
}
