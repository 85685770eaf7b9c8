//! Typed rows: how a Rust struct becomes the fields of a table's row, and comes back.
//!
//! [`Record`] is what `#[derive(Record)]` implements; [`FieldValue`] is what the type of a plain
//! field implements. Both speak [`Value`] only: where the values live is said by a [`RowSource`]
//! or a [`RowSink`], so the same derived code serves a document, a test and a server.

use std::collections::BTreeMap;

use leptos_sync_crdt::{OpId, PeerId, RowId, Value};

/// How a field of a record is stored and merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Replaced as a whole; of two concurrent writes the later wins.
    Plain,
    /// A sum: concurrent additions all count.
    Counter,
    /// Text edited together, character by character.
    Text,
}

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// The name it is stored under.
    pub name: &'static str,
    /// How it merges.
    pub kind: FieldKind,
}

/// Why a row could not be read as a record. The row itself is intact and keeps syncing; another
/// version of the application may be able to read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The row has no such field, and the type states no default for it.
    #[error("the row has no field {0:?}")]
    MissingField(&'static str),
    /// The field holds a value of another type.
    #[error("the field {0:?} holds another type")]
    WrongType(&'static str),
}

/// Where a record's fields are read from.
pub trait RowSource {
    /// The value of a plain field, `None` if it was never written.
    fn value(&self, field: &'static str) -> Option<Value>;
    /// The sum of a counter field.
    fn counter(&self, field: &'static str) -> i64;
    /// The whole text of a text field.
    fn text(&self, field: &'static str) -> String;
}

/// Where a new record's fields are written to.
pub trait RowSink {
    /// Takes the value of a plain field.
    fn value(&mut self, field: &'static str, value: Value);
    /// Takes the first amount of a counter field.
    fn counter(&mut self, field: &'static str, amount: i64);
    /// Takes the first text of a text field.
    fn text(&mut self, field: &'static str, text: &str);
}

/// A struct that is stored as a row. Implement it with `#[derive(Record)]`.
pub trait Record: Clone + 'static {
    /// Its fields, in the order of declaration.
    const FIELDS: &'static [FieldSpec];

    /// Reads all fields.
    ///
    /// # Errors
    /// [`RecordError`] names the first field that is missing or of another type.
    fn read(row: &dyn RowSource) -> Result<Self, RecordError>;

    /// Writes all fields.
    fn write(&self, row: &mut dyn RowSink);
}

/// A type that a plain field can have.
///
/// ```
/// use leptos_sync_engine::{FieldValue, Value};
///
/// #[derive(Clone, PartialEq, Debug)]
/// struct Percent(u8);
///
/// impl FieldValue for Percent {
///     fn to_value(&self) -> Value {
///         self.0.to_value()
///     }
///     fn from_value(value: &Value) -> Option<Self> {
///         u8::from_value(value).filter(|percent| *percent <= 100).map(Self)
///     }
///     fn fallback() -> Self {
///         Self(0)
///     }
/// }
/// assert_eq!(Percent::from_value(&Percent(7).to_value()), Some(Percent(7)));
/// assert_eq!(Percent::from_value(&101.into()), None);
/// ```
pub trait FieldValue: Clone + 'static {
    /// The value to store.
    fn to_value(&self) -> Value;

    /// Reads a stored value back; `None` if it is of another type or out of range.
    fn from_value(value: &Value) -> Option<Self>;

    /// What a field reads as while its row does not exist or holds another type.
    fn fallback() -> Self;

    /// How a list of these is stored. Only bytes differ from a plain list.
    #[doc(hidden)]
    fn list_to_value(items: &[Self]) -> Value {
        Value::List(items.iter().map(Self::to_value).collect())
    }

    /// Reads a list of these back.
    #[doc(hidden)]
    fn list_from_value(value: &Value) -> Option<Vec<Self>> {
        match value {
            Value::List(items) => items.iter().map(Self::from_value).collect(),
            _ => None,
        }
    }
}

/// Reads one plain field, for the derive macro.
///
/// # Errors
/// [`RecordError`] when the value is of another type, or missing while there is no `default`.
#[doc(hidden)]
pub fn read_field<T: FieldValue>(
    row: &dyn RowSource,
    field: &'static str,
    default: Option<fn() -> T>,
) -> Result<T, RecordError> {
    match (row.value(field), default) {
        (Some(value), _) => T::from_value(&value).ok_or(RecordError::WrongType(field)),
        (None, Some(default)) => Ok(default()),
        (None, None) => Err(RecordError::MissingField(field)),
    }
}

impl FieldValue for Value {
    fn to_value(&self) -> Value {
        self.clone()
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }

    fn fallback() -> Self {
        Self::Null
    }
}

impl FieldValue for () {
    fn to_value(&self) -> Value {
        Value::Null
    }

    fn from_value(value: &Value) -> Option<Self> {
        matches!(value, Value::Null).then_some(())
    }

    fn fallback() -> Self {}
}

impl FieldValue for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn fallback() -> Self {
        false
    }
}

macro_rules! integer {
    ($($int:ty),*) => {$(
        impl FieldValue for $int {
            fn to_value(&self) -> Value {
                Value::I64(i64::from(*self))
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::I64(value) => Self::try_from(*value).ok(),
                    _ => None,
                }
            }

            fn fallback() -> Self {
                0
            }
        }
    )*};
}

integer!(i8, i16, i32, i64, u16, u32);

impl FieldValue for u8 {
    fn to_value(&self) -> Value {
        Value::I64(i64::from(*self))
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::I64(value) => Self::try_from(*value).ok(),
            _ => None,
        }
    }

    fn fallback() -> Self {
        0
    }

    fn list_to_value(items: &[Self]) -> Value {
        Value::Bytes(items.to_vec())
    }

    fn list_from_value(value: &Value) -> Option<Vec<Self>> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

// The upper half of the range is stored as the negative number with the same bits, because a
// stored integer is signed.
macro_rules! wide_unsigned {
    ($($int:ty),*) => {$(
        impl FieldValue for $int {
            fn to_value(&self) -> Value {
                Value::I64((*self as u64).cast_signed())
            }

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::I64(value) => Self::try_from(value.cast_unsigned()).ok(),
                    _ => None,
                }
            }

            fn fallback() -> Self {
                0
            }
        }
    )*};
}

wide_unsigned!(u64, usize);

impl FieldValue for f64 {
    fn to_value(&self) -> Value {
        Value::F64(*self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::F64(value) => Some(*value),
            _ => None,
        }
    }

    fn fallback() -> Self {
        0.0
    }
}

impl FieldValue for f32 {
    fn to_value(&self) -> Value {
        Value::F64(f64::from(*self))
    }

    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|value| value as Self)
    }

    fn fallback() -> Self {
        0.0
    }
}

impl FieldValue for String {
    fn to_value(&self) -> Value {
        Value::String(self.clone())
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn fallback() -> Self {
        Self::new()
    }
}

impl FieldValue for char {
    fn to_value(&self) -> Value {
        Value::String((*self).into())
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::String(text) = value else { return None };
        let mut chars = text.chars();
        chars.next().filter(|_| chars.next().is_none())
    }

    fn fallback() -> Self {
        ' '
    }
}

/// `None` is stored as nothing, so an option inside an option reads back as the outer `None`.
impl<T: FieldValue> FieldValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn fallback() -> Self {
        None
    }
}

/// A list; `Vec<u8>` is stored as bytes.
impl<T: FieldValue> FieldValue for Vec<T> {
    fn to_value(&self) -> Value {
        T::list_to_value(self)
    }

    fn from_value(value: &Value) -> Option<Self> {
        T::list_from_value(value)
    }

    fn fallback() -> Self {
        Self::new()
    }
}

impl<T: FieldValue> FieldValue for BTreeMap<String, T> {
    fn to_value(&self) -> Value {
        Value::Map(self.iter().map(|(key, value)| (key.clone(), value.to_value())).collect())
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::Map(entries) = value else { return None };
        let read = |(key, value): (&str, &Value)| Some((key.to_owned(), T::from_value(value)?));
        entries.iter().map(read).collect()
    }

    fn fallback() -> Self {
        Self::new()
    }
}

/// A reference to another row, stored as its readable name.
impl FieldValue for RowId {
    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }

    fn from_value(value: &Value) -> Option<Self> {
        let Value::String(text) = value else { return None };
        let (peer, seq) = text.split_once('.')?;
        let peer = PeerId(u64::from_str_radix(peer, 16).ok()?);
        Some(Self(OpId::new(peer, seq.parse().ok()?)))
    }

    fn fallback() -> Self {
        Self(OpId::new(PeerId(0), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FieldValue + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(T::from_value(&value.to_value()), Some(value));
    }

    #[test]
    fn every_type_reads_back_what_it_stored() {
        check(());
        check(Value::I64(3));
        check(true);
        check(-5i8);
        check(200u8);
        check(u32::MAX);
        check(u64::MAX);
        check(usize::MAX);
        check(i64::MIN);
        check(1.5f32);
        check(f64::MAX);
        check('ß');
        check("hé🙂".to_owned());
        check(Some(3u16));
        check(None::<String>);
        check(vec![1i32, 2]);
        check(vec![1u8, 2]);
        check(BTreeMap::from([("a".to_owned(), vec![true])]));
        check(RowId(OpId::new(PeerId(u64::MAX), 7)));
    }

    #[test]
    fn a_field_without_a_row_reads_as_nothing() {
        assert_eq!(Value::fallback(), Value::Null);
        assert_eq!((i64::fallback(), u8::fallback(), f64::fallback()), (0, 0, 0.0));
        assert_eq!((String::fallback(), char::fallback()), (String::new(), ' '));
        assert_eq!((bool::fallback(), Option::<u8>::fallback()), (false, None));
        assert_eq!(RowId::fallback(), RowId(OpId::new(PeerId(0), 0)));
    }

    #[test]
    fn a_number_that_does_not_fit_is_not_read() {
        assert_eq!(
            (u8::from_value(&Value::I64(256)), i8::from_value(&Value::I64(-129))),
            (None, None)
        );
        assert_eq!(7u8.to_value(), Value::I64(7));
    }

    #[test]
    fn bytes_are_stored_as_bytes() {
        assert_eq!(vec![1u8, 2].to_value(), Value::Bytes(vec![1, 2]));
    }

    #[test]
    fn another_type_or_range_is_refused() {
        assert_eq!(u8::from_value(&Value::I64(256)), None);
        assert_eq!(bool::from_value(&Value::I64(1)), None);
        assert_eq!(<()>::from_value(&Value::I64(1)), None);
        assert_eq!(char::from_value(&"ab".into()), None);
        assert_eq!(Vec::<i32>::from_value(&Value::List(vec![Value::Null])), None);
        assert_eq!(RowId::from_value(&"zz.1".into()), None);
    }

    #[test]
    fn a_missing_field_needs_a_default() {
        struct Empty;
        impl RowSource for Empty {
            fn value(&self, _: &'static str) -> Option<Value> {
                None
            }
            fn counter(&self, _: &'static str) -> i64 {
                0
            }
            fn text(&self, _: &'static str) -> String {
                String::new()
            }
        }
        assert_eq!(read_field::<u8>(&Empty, "a", None), Err(RecordError::MissingField("a")));
        assert_eq!(read_field::<u8>(&Empty, "a", Some(|| 9)), Ok(9));
    }
}
