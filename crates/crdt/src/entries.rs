//! The entries of a map value.

use crate::value::Value;

/// A map that is a [`Value`]: entries in the order of the UTF-8 bytes of their keys, no key twice.
///
/// ```
/// use leptos_sync_crdt::{Entries, Value};
/// let size: Entries = [("width", 3.into()), ("height", 4.into())].into();
/// assert_eq!(size.get("width"), Some(&Value::I64(3)));
/// let keys: Vec<&str> = size.iter().map(|(key, _)| key).collect();
/// assert_eq!(keys, ["height", "width"]);
/// ```
// A sorted vector: the standard library's tree is two kilobytes, compressed, for every app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries(Vec<(String, Value)>);

impl Entries {
    /// No entries.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| (**own).cmp(key))
    }

    /// What an entry holds.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    /// Sets an entry, and returns what it held.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        let key = key.into();
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Entries {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(all: I) -> Self {
        let mut entries = Self::new();
        for (key, value) in all {
            entries.insert(key, value);
        }
        entries
    }
}

impl<K: Into<String>, const N: usize> From<[(K, Value); N]> for Entries {
    fn from(all: [(K, Value); N]) -> Self {
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_keys_and_stand_in_their_order() {
        let mut entries = Entries::new();
        assert!(entries.is_empty());
        for (key, value, before) in [("b", 2, None), ("a", 1, None), ("b", 3, Some(2))] {
            assert_eq!(entries.insert(key, value.into()), before.map(Value::I64));
        }
        assert!(!entries.is_empty());
        let found = ["a", "b", "c"].map(|key| entries.get(key).cloned());
        assert_eq!(found, [Some(1.into()), Some(3.into()), None]);
    }
}
