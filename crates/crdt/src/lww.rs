//! Last writer wins: the register and the map of registers that maps and tables are built of.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::PeerId;
use crate::stamp::Stamp;
use crate::value::Value;

/// A value that keeps the write with the greatest `(stamp, peer)`, whatever order writes arrive in.
///
/// ```
/// use leptos_sync_crdt::{LwwRegister, PeerId, Stamp};
/// let mut seat = LwwRegister::new("aisle", Stamp(5), PeerId(1));
/// assert!(!seat.write("middle", Stamp(4), PeerId(2))); // older: ignored
/// assert!(seat.write("window", Stamp(5), PeerId(2))); // same stamp: the greater peer wins
/// assert_eq!(*seat.get(), "window");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LwwRegister<V> {
    value: V,
    stamp: Stamp,
    peer: PeerId,
}

impl<V> LwwRegister<V> {
    /// A register that holds its first write.
    pub fn new(value: V, stamp: Stamp, peer: PeerId) -> Self {
        Self { value, stamp, peer }
    }

    /// Takes in a write and says whether it won. Taking the same write again changes nothing.
    pub fn write(&mut self, value: V, stamp: Stamp, peer: PeerId) -> bool {
        let wins = (stamp, peer) > (self.stamp, self.peer);
        if wins {
            *self = Self { value, stamp, peer };
        }
        wins
    }

    /// The winning value.
    pub fn get(&self) -> &V {
        &self.value
    }

    /// When the winning write was made.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Who made the winning write.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl LwwRegister<Value> {
    pub(crate) fn encode(&self, out: &mut Writer) {
        encode_mark(self, out);
        self.value.encode(out);
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (stamp, peer) = decode_mark(input)?;
        Ok(Self { value: Value::decode(input)?, stamp, peer })
    }
}

impl LwwRegister<bool> {
    pub(crate) fn encode(&self, out: &mut Writer) {
        encode_mark(self, out);
        out.u8(u8::from(self.value));
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (stamp, peer) = decode_mark(input)?;
        Ok(Self { value: input.u8()? != 0, stamp, peer })
    }
}

fn encode_mark<V>(register: &LwwRegister<V>, out: &mut Writer) {
    out.varint(register.stamp.0);
    out.u64_le(register.peer.0);
}

fn decode_mark(input: &mut Reader<'_>) -> Result<(Stamp, PeerId), DecodeError> {
    Ok((Stamp(input.varint()?), PeerId(input.u64_le()?)))
}

/// A map whose entries are [`LwwRegister`]s. Removing a key is a write like any other, so a removal
/// and a concurrent set are ordered by `(stamp, peer)` too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LwwMap {
    entries: BTreeMap<Arc<str>, LwwRegister<Option<Value>>>,
}

impl LwwMap {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// Takes in a write of `key` (`None` removes it) and says whether it won.
    pub fn write(
        &mut self,
        key: Arc<str>,
        value: Option<Value>,
        stamp: Stamp,
        peer: PeerId,
    ) -> bool {
        match self.entries.entry(key) {
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().write(value, stamp, peer)
            }
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(LwwRegister::new(value, stamp, peer));
                true
            }
        }
    }

    /// The value of `key`, if it is set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)?.get().as_ref()
    }

    /// The register behind `key`, removed or not.
    #[must_use]
    pub fn register(&self, key: &str) -> Option<&LwwRegister<Option<Value>>> {
        self.entries.get(key)
    }

    /// The keys that are set, with their values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().filter_map(|(key, register)| Some((&**key, register.get().as_ref()?)))
    }

    /// How many keys are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no key is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.entries.len());
        for (key, register) in &self.entries {
            out.str(key);
            encode_mark(register, out);
            out.u8(u8::from(register.value.is_some()));
            if let Some(value) = &register.value {
                value.encode(out);
            }
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entries = BTreeMap::new();
        for _ in 0..input.count(11)? {
            let key = Arc::from(input.str()?);
            let (stamp, peer) = decode_mark(input)?;
            let value = if input.u8()? == 0 { None } else { Some(Value::decode(input)?) };
            entries.insert(key, LwwRegister { value, stamp, peer });
        }
        Ok(Self { entries })
    }
}
