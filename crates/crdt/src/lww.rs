//! Last writer wins: registers and maps.

use std::sync::Arc;

use crate::cell_log::CellLog;
use crate::container::{ContainerId, ContainerKind};
use crate::graph::{Graph, Lv};
use crate::id::PeerId;
use crate::names::{NameIx, Names};
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

/// Whether a write overrules the one that holds. A write that nothing holds against wins.
pub(crate) fn overrules(graph: &Graph, new: Lv, held: Option<Lv>) -> bool {
    held.is_none_or(|held| graph.rank_of(new) > graph.rank_of(held))
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RegisterState {
    pub(crate) winner: Option<Lv>,
}

impl RegisterState {
    /// Takes in a write and says whether it won.
    pub(crate) fn write(&mut self, graph: &Graph, lv: Lv) -> bool {
        let wins = overrules(graph, lv, self.winner);
        if wins {
            self.winner = Some(lv);
        }
        wins
    }
}

/// The write that holds for a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) lv: Lv,
    pub(crate) is_set: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MapState {
    pub(crate) names: Names,
    /// By name; as long as `names`.
    pub(crate) held: Vec<Option<Held>>,
}

impl MapState {
    pub(crate) fn intern(&mut self, key: &str) -> NameIx {
        let key = self.names.intern(key);
        while self.held.len() < self.names.len() {
            self.held.push(None);
        }
        key
    }

    pub(crate) fn held(&self, key: &str) -> Option<Held> {
        self.held[self.names.find(key)? as usize]
    }

    /// Takes in a write and says whether it won.
    pub(crate) fn write(&mut self, graph: &Graph, key: NameIx, lv: Lv, is_set: bool) -> bool {
        let held = &mut self.held[key as usize];
        let wins = overrules(graph, lv, held.map(|held| held.lv));
        if wins {
            *held = Some(Held { lv, is_set });
        }
        wins
    }
}

/// A map of a document, as it is now.
///
/// Merge rule in one sentence: each entry keeps its write with the greatest `(stamp, peer)`, and
/// removing a key is a write like any other.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId};
/// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
/// ada.transact(1_000, |tx| tx.map("settings").set("colour", "red"));
/// ben.transact(9_000, |tx| tx.map("settings").set("colour", "blue"));
/// ada.import(9_000, ben.blocks_since(ada.version()))?;
/// assert_eq!(ada.map("settings").get("colour"), Some("blue".into())); // the later write won
/// # Ok::<(), leptos_sync_crdt::ImportError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LwwMap<'a> {
    pub(crate) content: Option<(&'a ContainerId, &'a CellLog, &'a MapState)>,
}

impl<'a> LwwMap<'a> {
    /// The value of `key`, if it is set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        let (_, log, state) = self.content?;
        log.value(state.held(key)?.lv, None)
    }

    /// The container in the entry `key`, if there is one: see [`crate::MapMut::nest`].
    #[must_use]
    pub fn nested(&self, key: &str) -> Option<(ContainerKind, ContainerId)> {
        match self.get(key)? {
            Value::Container(kind) => Some((kind, self.content?.0.clone().entry(key))),
            _ => None,
        }
    }

    /// Whether `key` is set.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.content.and_then(|(_, _, state)| state.held(key)).is_some_and(|held| held.is_set)
    }

    fn set(&self) -> impl Iterator<Item = (&'a Arc<str>, Held)> + use<'a> {
        self.content.into_iter().flat_map(|(_, _, state)| {
            let held = |name: &NameIx| Some((state.names.get(*name), state.held[*name as usize]?));
            state.names.sorted().filter_map(held).filter(|(_, held)| held.is_set)
        })
    }

    /// The keys that are set, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.set().map(|(key, _)| &**key)
    }

    /// The keys that are set, with their values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Value)> + use<'a> {
        let content = self.content;
        self.set().filter_map(move |(key, held)| Some((&**key, content?.1.value(held.lv, None)?)))
    }

    /// How many keys are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set().count()
    }

    /// Whether no key is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set().next().is_none()
    }
}
