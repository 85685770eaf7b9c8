//! `#[derive(Record)]` and `#[derive(FieldValue)]` for leptos-sync.
//!
//! The generated code names only items of the `leptos-sync` crate; if an application depends on
//! it under another name, `#[record(crate = other_name)]` on the struct says so.

mod attributes;
mod field_value;
mod record;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a record: a row of a `LocalFirstCollection` whose fields are signals.
///
/// Each field is plain (replaced as a whole) unless an attribute says otherwise:
///
/// - `#[record(counter)]` on an `i64`: concurrent additions all count.
/// - `#[record(text)]` on a `String`: edited together, character by character.
/// - `#[record(default)]` or `#[record(default = expression)]`: what rows that were written
///   before the field existed read.
/// - `#[record(rename = "name")]`: the name it is stored under.
///
/// On the struct, `#[record(crate = path)]` gives the path of the `leptos-sync` crate.
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    record::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a type the value of a plain field, or what a peer shows to the others.
///
/// A struct with named fields is stored as a map, a struct around one value as that value, an
/// enum without data as the name of its variant. A map entry of an unknown name is ignored and a
/// missing one reads as its type's fallback, so fields may be added later. The fallback of an
/// enum is its first variant.
///
/// `#[record(rename = "name")]` on a field or variant gives the name it is stored under.
#[proc_macro_derive(FieldValue, attributes(record))]
pub fn derive_field_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    field_value::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
