//! What `#[record(...)]` says on a type, a field or a variant.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, Field, Ident, LitStr, Path, Result, Type, parse_quote};

/// How a field is stored.
pub(crate) enum Kind {
    /// Replaced as a whole; with an expression of type `fn() -> T` if a default was given.
    Plain(Option<TokenStream>),
    Counter,
    Text,
}

/// One checked field of a record.
pub(crate) struct RecordField<'a> {
    pub(crate) field: &'a Field,
    pub(crate) ident: &'a Ident,
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) kind: Kind,
}

/// The path of the `leptos-sync` crate: `::leptos_sync`, or what `crate = path` says.
pub(crate) fn crate_path(attributes: &[Attribute]) -> Result<Path> {
    let mut path: Path = parse_quote!(::leptos_sync);
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                path = meta.value()?.call(Path::parse_mod_style)?;
                return Ok(());
            }
            Err(meta.error("unknown attribute: here only `crate = path` is known"))
        })?;
    }
    Ok(path)
}

/// The name a field of a map, or a variant, is stored under.
pub(crate) fn stored_name(attributes: &[Attribute], ident: &Ident) -> Result<String> {
    let mut name = plain_name(ident);
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                name = meta.value()?.parse::<LitStr>()?.value();
                return Ok(());
            }
            Err(meta.error("unknown attribute: here only `rename = \"name\"` is known"))
        })?;
    }
    Ok(name)
}

/// The identifier without `r#`.
fn plain_name(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
}

/// Reads and checks a record's field.
pub(crate) fn record_field(field: &Field) -> Result<RecordField<'_>> {
    let ident = field.ident.as_ref().ok_or_else(|| {
        Error::new(field.span(), "a record has named fields: they name the columns")
    })?;
    let mut found = Found { name: plain_name(ident), name_span: ident.span(), kinds: Vec::new() };
    for attribute in &field.attrs {
        if attribute.path().is_ident("record") {
            attribute.parse_nested_meta(|meta| found.take(&meta))?;
        }
    }
    let Found { name, name_span, mut kinds } = found;
    if let [_, (second, _), ..] = kinds.as_slice() {
        return Err(Error::new(
            *second,
            "a field is either `counter`, `text`, or plain with a `default`",
        ));
    }
    let kind = kinds.pop().map_or(Kind::Plain(None), |(_, kind)| kind);
    match kind {
        Kind::Counter => expect_type(&field.ty, "i64", "a counter field has the type `i64`")?,
        Kind::Text => expect_type(&field.ty, "String", "a text field has the type `String`")?,
        Kind::Plain(_) => {}
    }
    Ok(RecordField { field, ident, name, name_span, kind })
}

struct Found {
    name: String,
    name_span: Span,
    kinds: Vec<(Span, Kind)>,
}

impl Found {
    fn take(&mut self, meta: &syn::meta::ParseNestedMeta<'_>) -> Result<()> {
        let span = meta.path.span();
        if meta.path.is_ident("counter") {
            self.kinds.push((span, Kind::Counter));
        } else if meta.path.is_ident("text") {
            self.kinds.push((span, Kind::Text));
        } else if meta.path.is_ident("default") {
            let default = if meta.input.peek(syn::Token![=]) {
                let value = meta.value()?.parse::<Expr>()?;
                quote!(|| #value)
            } else {
                quote!(::core::default::Default::default)
            };
            self.kinds.push((span, Kind::Plain(Some(default))));
        } else if meta.path.is_ident("rename") {
            let name = meta.value()?.parse::<LitStr>()?;
            if name.value().is_empty() {
                return Err(Error::new(name.span(), "a field's name may not be empty"));
            }
            (self.name, self.name_span) = (name.value(), name.span());
        } else {
            return Err(meta.error(
                "unknown attribute: a field may be `counter`, `text`, `default`, \
                 `default = expression` or `rename = \"name\"`",
            ));
        }
        Ok(())
    }
}

// A macro sees tokens, not types: an alias of the type is refused, which costs little.
fn expect_type(ty: &Type, name: &str, message: &str) -> Result<()> {
    let matches = match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
        Type::Group(group) => return expect_type(&group.elem, name, message),
        _ => false,
    };
    if matches {
        return Ok(());
    }
    Err(Error::new(ty.span(), format!("{message}, not `{}`", ty.to_token_stream())))
}
