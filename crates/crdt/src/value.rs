//! What a register, a map entry or a table cell holds.

use crate::codec::{DecodeError, Input, Writer};
use crate::container::ContainerKind;
use crate::entries::Entries;

/// How deep lists and maps may nest inside one another.
pub const MAX_NESTING: usize = 64;

/// A plain value. It is replaced as a whole; for values that merge inside, use a document's
/// containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer, distinct from a float of the same size.
    I64(i64),
    /// A float; every NaN is stored as the one canonical NaN.
    F64(f64),
    /// Text that is replaced as a whole.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map, ordered by the UTF-8 bytes of its keys.
    Map(Entries),
    /// Says that a container of this kind stands here, in the map entry or list element that holds
    /// the value: see [`crate::MapMut::nest`].
    Container(ContainerKind),
}

impl Value {
    /// The value with what is nested deeper than [`MAX_NESTING`], or names a kind that cannot be,
    /// replaced by null.
    pub(crate) fn shallow(mut self) -> Self {
        fn limit(value: &mut Value, depth: usize) {
            match value {
                Value::List(_) | Value::Map(_) if depth == MAX_NESTING => *value = Value::Null,
                Value::List(items) => items.iter_mut().for_each(|item| limit(item, depth + 1)),
                Value::Map(entries) => {
                    entries.values_mut().for_each(|value| limit(value, depth + 1));
                }
                Value::F64(value) if value.is_nan() => *value = f64::NAN,
                Value::Container(kind) if !kind.can_be() => *value = Value::Null,
                _ => {}
            }
        }
        limit(&mut self, 0);
        self
    }

    /// The value as bytes, for a message or a file of the application's own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.encode(&mut out);
        out.into_vec()
    }

    /// Reads what [`Value::to_bytes`] wrote.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not exactly one value.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let value = Self::decode(&mut input);
        input.finish().map(|()| value)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Null => out.u8(0),
            Self::Bool(false) => out.u8(1),
            Self::Bool(true) => out.u8(2),
            Self::I64(value) => {
                out.u8(3);
                out.varint_i64(*value);
            }
            Self::F64(value) => {
                out.u8(4);
                let canonical = if value.is_nan() { f64::NAN } else { *value };
                out.u64_le(canonical.to_bits());
            }
            Self::String(text) => {
                out.u8(5);
                out.str(text);
            }
            Self::Bytes(bytes) => {
                out.u8(6);
                out.bytes(bytes);
            }
            Self::List(items) => {
                out.u8(7);
                out.len(items.len());
                for item in items {
                    item.encode(out);
                }
            }
            Self::Map(entries) => {
                out.u8(8);
                out.len(entries.len());
                for (key, value) in entries.iter() {
                    out.str(key);
                    value.encode(out);
                }
            }
            Self::Container(kind) => {
                out.u8(9);
                out.u8(kind.code());
            }
        }
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Self {
        Self::decode_at(input, 0)
    }

    /// Passes over a value that was decoded before, which limits its depth.
    pub(crate) fn skip(input: &mut Input<'_>) {
        match input.u8() {
            3 => drop(input.varint()),
            4 => drop(input.take(8)),
            5 | 6 => drop(input.bytes()),
            7 => {
                for _ in 0..input.count(1) {
                    Self::skip(input);
                }
            }
            8 => {
                for _ in 0..input.count(2) {
                    input.bytes();
                    Self::skip(input);
                }
            }
            9 => drop(input.u8()),
            _ => {}
        }
    }

    // Recursion is safe here: the depth is checked before each step down.
    fn decode_at(input: &mut Input<'_>, depth: usize) -> Self {
        if depth > MAX_NESTING {
            input.fail(DecodeError::TooDeep);
        }
        match input.u8() {
            0 => Self::Null,
            1 => Self::Bool(false),
            2 => Self::Bool(true),
            3 => Self::I64(input.varint_i64()),
            4 => {
                let bits = input.u64_le();
                let value = f64::from_bits(bits);
                input.ensure(!value.is_nan() || bits == f64::NAN.to_bits(), "not a number");
                Self::F64(value)
            }
            5 => Self::String(input.str().to_owned()),
            6 => Self::Bytes(input.bytes().to_vec()),
            7 => {
                let mut items = Vec::new();
                for _ in 0..input.count(1) {
                    let item = Self::decode_at(input, depth + 1);
                    if input.keeps() {
                        items.push(item);
                    }
                }
                Self::List(items)
            }
            8 => {
                let (mut entries, mut last) = (Entries::new(), None);
                for _ in 0..input.count(2) {
                    let key = input.str();
                    input.ensure(last.replace(key).is_none_or(|last| last < key), "map key order");
                    let value = Self::decode_at(input, depth + 1);
                    if input.keeps() {
                        entries.insert(key, value);
                    }
                }
                Self::Map(entries)
            }
            9 => Self::Container(ContainerKind::decode(input)),
            _ => input.refuse("value kind"),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::I64(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I64(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}
