//! `#[derive(Record)]`: how a struct is read from a row and written to one, and the signals of
//! its fields.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Path, Result};

use crate::attributes::{Kind, RecordField, crate_path, record_field};

/// Methods that every row has; a field of that name could not be reached.
const RESERVED: [&str; 8] =
    ["id", "remove", "get", "exists", "get_untracked", "collection", "clone", "restore"];

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let krate = crate_path(&input.attrs)?;
    if !input.generics.params.is_empty() {
        return Err(Error::new(
            input.generics.span(),
            "a record has no generic parameters: it names one table layout",
        ));
    }
    let fields = checked_fields(input)?;
    let record = record_impl(input, &krate, &fields);
    let row = row_impl(input, &krate, &fields);
    Ok(quote! {
        #[automatically_derived]
        #record
        #row
    })
}

fn checked_fields(input: &DeriveInput) -> Result<Vec<RecordField<'_>>> {
    let refused = "a record is a struct with named fields: they name the columns";
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields,
            _ => return Err(Error::new(input.ident.span(), refused)),
        },
        Data::Enum(data) => return Err(Error::new(data.enum_token.span, refused)),
        Data::Union(data) => return Err(Error::new(data.union_token.span, refused)),
    };
    let mut errors: Option<Error> = None;
    let mut note = |error: Error| match &mut errors {
        Some(errors) => errors.combine(error),
        None => errors = Some(error),
    };
    let mut checked = Vec::new();
    let mut seen = BTreeMap::new();
    for field in &fields.named {
        match record_field(field) {
            Ok(field) => {
                if RESERVED.iter().any(|name| field.ident == name) {
                    let message = format!(
                        "every row has a method `{0}`; name the field otherwise, and if it must be \
                         stored as {0:?} add `#[record(rename = {0:?})]`",
                        field.ident.to_string()
                    );
                    note(Error::new(field.ident.span(), message));
                }
                if let Some(first) = seen.insert(field.name.clone(), field.ident) {
                    let message = format!("`{first}` is already stored as {:?}", field.name);
                    note(Error::new(field.name_span, message));
                }
                checked.push(field);
            }
            Err(error) => note(error),
        }
    }
    errors.map_or(Ok(checked), Err)
}

fn record_impl(input: &DeriveInput, krate: &Path, fields: &[RecordField<'_>]) -> TokenStream {
    let ident = &input.ident;
    let specs = fields.iter().map(|RecordField { name, kind, .. }| {
        let kind = match kind {
            Kind::Plain(_) => quote!(Plain),
            Kind::Counter => quote!(Counter),
            Kind::Text => quote!(Text),
        };
        quote!(#krate::FieldSpec { name: #name, kind: #krate::FieldKind::#kind })
    });
    let reads = fields.iter().map(|RecordField { field, ident, name, kind, .. }| {
        let ty = &field.ty;
        match kind {
            Kind::Plain(default) => {
                let default = match default {
                    Some(default) => quote!(::core::option::Option::Some(#default)),
                    None => quote!(::core::option::Option::None),
                };
                quote_spanned!(ty.span()=>
                    #ident: #krate::__private::read_field::<#ty>(row, #name, #default)?)
            }
            Kind::Counter => quote!(#ident: #krate::RowSource::counter(row, #name)),
            Kind::Text => quote!(#ident: #krate::RowSource::text(row, #name)),
        }
    });
    let writes = fields.iter().map(|RecordField { field, ident, name, kind, .. }| {
        let ty = &field.ty;
        match kind {
            Kind::Plain(_) => quote_spanned!(ty.span()=>
                #krate::RowSink::value(row, #name, #krate::FieldValue::to_value(&self.#ident));),
            Kind::Counter => quote!(#krate::RowSink::counter(row, #name, self.#ident);),
            Kind::Text => quote!(#krate::RowSink::text(row, #name, &self.#ident);),
        }
    });
    quote! {
        impl #krate::Record for #ident {
            const FIELDS: &'static [#krate::FieldSpec] = &[#(#specs),*];

            fn read(
                row: &dyn #krate::RowSource,
            ) -> ::core::result::Result<Self, #krate::RecordError> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }

            fn write(&self, row: &mut dyn #krate::RowSink) {
                #(#writes)*
            }
        }
    }
}

// The struct of accessors lives in a block of its own, so it takes no name in the caller's module.
fn row_impl(input: &DeriveInput, krate: &Path, fields: &[RecordField<'_>]) -> TokenStream {
    let ident = &input.ident;
    let vis = &input.vis;
    let accessors = format_ident!("{}Fields", ident);
    let methods = fields.iter().map(|RecordField { field, ident, name, kind, .. }| {
        let (vis, ty) = (&field.vis, &field.ty);
        let docs = docs(&field.attrs, name);
        match kind {
            Kind::Plain(default) => {
                let default = match default {
                    Some(default) => quote!(#default),
                    None => quote!(<#ty as #krate::FieldValue>::fallback),
                };
                quote_spanned!(ty.span()=>
                    #docs
                    #vis fn #ident(&self) -> #krate::Field<#ty> {
                        #krate::__private::field(self.0, #name, #default)
                    }
                )
            }
            Kind::Counter => quote! {
                #docs
                #vis fn #ident(&self) -> #krate::CounterField {
                    #krate::__private::counter_field(self.0, #name)
                }
            },
            Kind::Text => quote! {
                #docs
                #vis fn #ident(&self) -> #krate::SyncText {
                    #krate::__private::text_field(self.0, #name)
                }
            },
        }
    });
    let summary = format!("The fields of a `{ident}` row, as signals.");
    quote! {
        const _: () = {
            #[doc = #summary]
            #[derive(::core::clone::Clone, ::core::marker::Copy)]
            #vis struct #accessors(#krate::__private::RowRef);

            #[allow(dead_code)]
            impl #accessors {
                #(#methods)*
            }

            #[automatically_derived]
            impl ::core::convert::From<#krate::__private::RowRef> for #accessors {
                fn from(row: #krate::__private::RowRef) -> Self {
                    Self(row)
                }
            }

            #[automatically_derived]
            impl #krate::RecordFields for #ident {
                type Fields = #accessors;
            }
        };
    }
}

fn docs(attributes: &[Attribute], name: &str) -> TokenStream {
    let docs: Vec<_> =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).collect();
    if docs.is_empty() {
        let text = format!("The field `{name}`.");
        return quote!(#[doc = #text]);
    }
    quote!(#(#docs)*)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn error(input: &DeriveInput) -> String {
        let error = derive(input).expect_err("the input must be refused");
        let messages: Vec<_> = error.into_iter().map(|error| error.to_string()).collect();
        messages.join(" | ")
    }

    #[test]
    fn a_record_with_every_kind_of_field_expands() {
        let tokens = derive(&parse_quote! {
            struct Task {
                title: String,
                #[record(counter)] votes: i64,
                #[record(text)] notes: String,
                #[record(default, rename = "due-date")] due: Option<u32>,
                #[record(default = 3)] weight: u8,
            }
        })
        .expect("a valid record");
        let file: syn::File = syn::parse2(tokens).expect("valid Rust");
        assert_eq!(file.items.len(), 2);
    }

    #[test]
    fn only_structs_with_named_fields_are_records() {
        assert!(
            error(&parse_quote!(
                enum A {
                    B,
                }
            ))
            .contains("a struct with named fields")
        );
        assert!(
            error(&parse_quote!(
                struct A(u8);
            ))
            .contains("a struct with named fields")
        );
        assert!(
            error(&parse_quote!(
                struct A<T> {
                    a: T,
                }
            ))
            .contains("no generic parameters")
        );
    }

    #[test]
    fn counters_and_texts_have_their_types() {
        let found = error(&parse_quote!(
            struct A {
                #[record(counter)]
                a: u8,
                #[record(text)]
                b: i64,
            }
        ));
        assert_eq!(
            found,
            "a counter field has the type `i64`, not `u8` | \
             a text field has the type `String`, not `i64`"
        );
    }

    #[test]
    fn contradictions_and_unknown_words_are_named() {
        let both = error(&parse_quote!(
            struct A {
                #[record(counter, default)]
                a: i64,
            }
        ));
        assert!(both.contains("either `counter`, `text`"), "{both}");
        let unknown = error(&parse_quote!(
            struct A {
                #[record(counted)]
                a: i64,
            }
        ));
        assert!(unknown.contains("unknown attribute"), "{unknown}");
    }

    #[test]
    fn names_must_be_reachable_and_unique() {
        let reserved = error(&parse_quote!(
            struct A {
                id: u8,
            }
        ));
        assert!(reserved.contains("every row has a method `id`"), "{reserved}");
        let twice = error(&parse_quote!(
            struct A {
                a: u8,
                #[record(rename = "a")]
                b: u8,
            }
        ));
        assert_eq!(twice, "`a` is already stored as \"a\"");
    }
}
