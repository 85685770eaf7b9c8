//! Reading the past: versions and frontiers, earlier states, and what changed between two.
//!
//! The log is the truth, so an earlier version is the replay of the part of the log that it names.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::container::{Container, ContainerIx, ContainerKey, Content};
use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::Lv;
use crate::id::{OpId, PeerId, RowId};
use crate::patch::{ListDelta, Patch, RowChange, TextDelta};
use crate::ranges::without;
use crate::search::Search;
use crate::sorting::sort;
use crate::text::{Values, changes, patches_of};
use crate::tree::diff_tree;
use crate::value::Value;
use crate::version::VersionVector;

/// Why an earlier version cannot be read. The document is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PastError {
    /// The version names an operation that is not here.
    #[error("the operation {0} is not here")]
    Unknown(OpId),
    /// The version has an operation and lacks one that its author had seen.
    #[error("the version has {0} without all that it follows")]
    Incomplete(OpId),
    /// The version ends inside a transaction, which is nowhere half.
    #[error("the version ends inside the transaction of {0}")]
    Torn(OpId),
    /// The version is from before [`Doc::history_start`]: that part of the history was trimmed. Or
    /// the document was loaded from a snapshot whose history was of no use.
    #[error("the history before the document's base was trimmed")]
    Truncated,
}

/// A document at one of two versions that are compared.
struct Side {
    doc: Doc,
    heads: Vec<Lv>,
}

impl Doc {
    /// The last operations: those that no other here follows, by peer. With all they follow, they
    /// are the version.
    #[must_use]
    pub fn frontier(&self) -> Vec<OpId> {
        let graph = &self.history().graph;
        let mut frontier = graph.heads().iter().map(|lv| graph.id_of(*lv)).gather();
        sort(&mut frontier);
        frontier
    }

    /// The version that has these operations and all they follow.
    ///
    /// # Errors
    /// [`PastError::Unknown`] if one of them is not here, [`PastError::Truncated`] if they are from
    /// before the document's base.
    pub fn version_at(&self, frontier: &[OpId]) -> Result<VersionVector, PastError> {
        let graph = &self.history().graph;
        let lv_of = |id: &OpId| graph.lv_of(*id).ok_or(PastError::Unknown(*id));
        let mut heads: Vec<Lv> = frontier.iter().map(lv_of).collect::<Result<_, _>>()?;
        sort(&mut heads);
        if !heads.is_empty() && !graph.sees_base(&heads) {
            return Err(PastError::Truncated);
        }
        let [_, seen] = graph.diff(&[], &heads);
        let mut version = VersionVector::new();
        for (start, end) in seen {
            let mut at = start;
            while at < end {
                let stretch = graph.stretch_at(at);
                let upto = stretch.end.min(end);
                let last = graph.id_of(upto - 1);
                version.extend(last.peer, version.get(last.peer).max(last.seq + 1));
                at = upto;
            }
        }
        Ok(version)
    }

    /// The frontier of a version: see [`Doc::frontier`].
    ///
    /// # Errors
    /// [`PastError`] if the version was never one of this document.
    pub fn frontier_of(&self, version: &VersionVector) -> Result<Vec<OpId>, PastError> {
        let ranges = self.check_version(version)?;
        let graph = &self.history().graph;
        let mut frontier = self.heads_of(&ranges).iter().map(|lv| graph.id_of(*lv)).gather();
        sort(&mut frontier);
        Ok(frontier)
    }

    /// The last operations of a version, which are those of `ranges` and all below the base.
    fn heads_of(&self, ranges: &[(Lv, Lv)]) -> Vec<Lv> {
        let graph = &self.history().graph;
        let (mut heads, mut followed) = (Vec::new(), Vec::new());
        for (start, end) in ranges {
            let mut at = *start;
            while at < *end {
                followed.extend(graph.parents_of(at).iter());
                let upto = graph.stretch_at(at).end.min(*end);
                heads.push(upto - 1);
                at = upto;
            }
        }
        if ranges.is_empty() {
            heads.extend(graph.base().checked_sub(1));
        }
        sort(&mut followed);
        heads.retain(|lv| followed.binary_search(lv).is_err());
        heads
    }

    /// Checks that a version is whole; returns its operations as ranges.
    fn check_version(&self, version: &VersionVector) -> Result<Vec<(Lv, Lv)>, PastError> {
        let history = self.history();
        let graph = &history.graph;
        for (peer, count) in version.iter() {
            let Some(seq) = count.checked_sub(1) else { continue };
            let last = OpId::new(peer, seq);
            let lv = graph.lv_of(last).ok_or(PastError::Unknown(last))?;
            // What is below the base ends with a transaction, if it is there at all.
            if lv < graph.base() {
                continue;
            }
            let (start, len) = history.transaction_at(lv);
            if start + len != lv + 1 {
                return Err(PastError::Torn(last));
            }
        }
        self.check_start(version)?;
        let missing = graph.missing_from(version);
        let ranges = without(&graph.missing_from(self.history_start()), &missing);
        for (start, end) in &ranges {
            let mut at = *start;
            while at < *end {
                let parents = graph.parents_of(at);
                if parents.iter().any(|parent| !version.contains(graph.id_of(*parent))) {
                    return Err(PastError::Incomplete(graph.id_of(at)));
                }
                at = graph.stretch_at(at).end.min(*end);
            }
        }
        Ok(ranges)
    }

    /// The document as it was at an earlier version, to be read or edited apart as `peer`.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.text("note").insert(0, "draft")).0?;
    /// let draft = doc.version().clone();
    /// doc.transact(0, |tx| tx.text("note").splice(0, 5, "final")).0?;
    /// assert_eq!(doc.checkout(PeerId(2), &draft)?.text("note").to_string(), "draft");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PastError`] if the version was never one of this document, or is no more.
    pub fn checkout(&self, peer: PeerId, version: &VersionVector) -> Result<Self, PastError> {
        let ranges = self.check_version(version)?;
        self.checkout_ranges(peer, &ranges)
    }

    fn checkout_ranges(&self, peer: PeerId, ranges: &[(Lv, Lv)]) -> Result<Self, PastError> {
        let mut doc = self.at_base(peer);
        if !ranges.is_empty() {
            let update = self.encode_ranges(ranges);
            // A part of the log is a log, unless the document was loaded with an unsound one.
            let imported = doc.import_update(u64::MAX, &update);
            imported.map_err(|_| PastError::Truncated)?;
        }
        Ok(doc)
    }

    /// A copy that goes on by itself as `peer`; both merge as any two replicas do.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.text("note").insert(0, "milk")).0?;
    /// let mut draft = doc.fork(PeerId(2));
    /// draft.transact(0, |tx| tx.text("note").insert(4, ", eggs")).0?;
    /// assert_eq!(doc.text("note").to_string(), "milk");
    /// doc.import(0, draft.blocks_since(doc.version()))?;
    /// assert_eq!(doc.text("note").to_string(), "milk, eggs");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fork(&self, peer: PeerId) -> Self {
        let copy = Self::from_shallow_snapshot(peer, &self.encode_snapshot());
        copy.expect("a snapshot of its own is sound")
    }

    /// What turns the document at one version into the document at another, earlier or later or
    /// beside it. Text that the one has and the other lacks comes without marks: each that it has
    /// is named by a [`Patch::Marks`] of its own.
    ///
    /// ```
    /// use leptos_sync_crdt::{ContainerId, Doc, Patch, PeerId, TextDelta};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.text("note").insert(0, "draft")).0?;
    /// let draft = doc.version().clone();
    /// doc.transact(0, |tx| tx.text("note").insert(5, "!")).0?;
    /// doc.transact(0, |tx| tx.counter("votes").add(1));
    /// let text = |edit| Patch::Text {
    ///     id: ContainerId::root("note"),
    ///     delta: vec![TextDelta::Retain(5), edit],
    /// };
    /// let votes = Patch::Counter { id: ContainerId::root("votes") };
    /// let forward = doc.diff(&draft, doc.version())?;
    /// assert_eq!(forward, [votes.clone(), text(TextDelta::Insert("!".into()))]);
    /// let back = doc.diff(doc.version(), &draft)?;
    /// assert_eq!(back, [votes, text(TextDelta::Delete(1))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PastError`] if either was never a version of this document.
    pub fn diff(&self, from: &VersionVector, to: &VersionVector) -> Result<Vec<Patch>, PastError> {
        let side = |version: &VersionVector| {
            let ranges = self.check_version(version)?;
            let doc = self.checkout_ranges(self.peer(), &ranges)?;
            Ok(Side { doc, heads: self.heads_of(&ranges) })
        };
        let (from, to) = (side(from)?, side(to)?);
        let mut patches = Vec::new();
        for (index, container) in self.containers.iter() {
            self.diff_container(index, container, [&from, &to], &mut patches);
        }
        Ok(patches)
    }

    fn diff_container(
        &self,
        index: ContainerIx,
        container: &Container,
        sides: [&Side; 2],
        patches: &mut Vec<Patch>,
    ) {
        let id = || container.id.clone();
        let key = ContainerKey::Id(&container.id);
        let docs = sides.map(|side| &side.doc);
        match &container.content {
            Content::Register(..) => {
                let [before, after] = docs.map(|doc| doc.register(key.clone()));
                patches.extend((before != after).then(|| Patch::Register { id: id() }));
            }
            Content::Map(_, state) => {
                let maps = docs.map(|doc| doc.map(key.clone()));
                for name in state.names.sorted() {
                    let name = state.names.get(*name);
                    let [before, after] = maps.map(|map| map.get(name));
                    let patch = || Patch::MapEntry { id: id(), key: name.clone() };
                    patches.extend((before != after).then(patch));
                }
            }
            Content::Counter(..) => {
                let [before, after] = docs.map(|doc| doc.counter(key.clone()));
                patches.extend((before != after).then(|| Patch::Counter { id: id() }));
            }
            Content::Table(..) => self.diff_table(container, docs, patches),
            Content::Text(_, state) => {
                let history = self.history();
                let whole = state.whole(&history.graph, history.runs(index));
                let delta = self.diff_sequence(index, &whole, sides, |delta, lv, len, seen| {
                    let step = match seen {
                        [true, true] => TextDelta::Retain(len),
                        [true, false] => TextDelta::Delete(len),
                        _ => TextDelta::Insert(history.runs(index).inserted(lv, len).into()),
                    };
                    push_text(delta, step);
                });
                drop(whole);
                let kept = kept_by(&delta);
                patches.extend(text_patch(delta).map(|delta| Patch::Text { id: id(), delta }));
                let texts = docs.map(|doc| doc.text(key.clone()));
                for name in container.content.names().sorted() {
                    let name = container.content.names().get(*name);
                    let [before, after] = texts.map(|text| text.values_of(name));
                    let changes = changes(&moved(&before, &kept), &after);
                    patches.extend(patches_of(&container.id, name, changes));
                }
            }
            Content::List(..) => self.diff_list(index, container, sides, patches),
            Content::Tree(..) => {
                let [before, after] = docs.map(|doc| doc.tree(key.clone()));
                let changes = diff_tree(&before, &after);
                let is_changed = !changes.is_empty();
                patches.extend(is_changed.then(|| Patch::Tree { id: id(), changes }));
            }
            Content::Unknown(_) => {}
        }
    }

    /// Walks a sequence with all that was ever in it, and tells of each run of ids that either side
    /// shows which of them does.
    fn diff_sequence<T>(
        &self,
        index: ContainerIx,
        whole: &crate::text::Tracker,
        sides: [&Side; 2],
        step: impl Fn(&mut Vec<T>, Lv, u32, [bool; 2]),
    ) -> Vec<T> {
        let (graph, runs) = (&self.history().graph, self.history().runs(index));
        let mut whole = whole.clone();
        let mut delta = Vec::new();
        for (lv, len, seen) in whole.compare_versions(graph, runs, sides.map(|side| &*side.heads)) {
            step(&mut delta, lv, len, seen);
        }
        delta
    }

    fn diff_table(&self, container: &Container, docs: [&Doc; 2], patches: &mut Vec<Patch>) {
        let Some(name) = container.id.root_name() else { return };
        let tables = docs.map(|doc| doc.table(name));
        let known: BTreeSet<RowId> = tables[0].known().collect();
        for row in self.table(name).known() {
            let [before, after] = tables.map(|table| table.contains(row));
            let was_known = known.contains(&row);
            let mut changed = |row: RowId, change| {
                patches.push(Patch::Row { table: name.clone(), row, change });
            };
            match (before, after) {
                (false, true) if was_known => changed(row, RowChange::Restored),
                (false, true) => changed(row, RowChange::Inserted),
                (true, false) => changed(row, RowChange::Removed),
                (true, true) => {
                    for field in differing(tables.map(|table| table.fields(row))) {
                        changed(row, RowChange::Field(field.into()));
                    }
                }
                (false, false) => {}
            }
        }
    }

    fn diff_list(
        &self,
        index: ContainerIx,
        container: &Container,
        sides: [&Side; 2],
        patches: &mut Vec<Patch>,
    ) {
        let Content::List(_, state) = &container.content else { return };
        let history = self.history();
        let graph = &history.graph;
        let whole = state.merger.whole(graph, history.runs(index), state.slots.len());
        let slots = self.diff_sequence(index, &whole, sides, |slots, lv, len, _| {
            slots.extend(lv..lv + len);
        });
        let key = ContainerKey::Id(&container.id);
        let lists =
            sides.map(|side| side.doc.list_of(side.doc.containers.find(container.kind, &key)));
        let (mut delta, mut replaced, mut at) = (Vec::new(), Vec::new(), 0);
        for slot in slots {
            let shown = lists.map(|list| list.shown_at(graph.id_of(slot)));
            match shown {
                [Some(before), Some(after)] => {
                    push_list(&mut delta, ListDelta::Retain(1));
                    replaced.extend((before != after).then_some(at));
                    at += 1;
                }
                [Some(_), None] => push_list(&mut delta, ListDelta::Delete(1)),
                [None, Some(value)] => {
                    push_list(&mut delta, ListDelta::Insert(vec![value]));
                    at += 1;
                }
                [None, None] => {}
            }
        }
        delta.truncate(
            delta.len() - usize::from(matches!(delta.last(), Some(ListDelta::Retain(_)))),
        );
        let (id, kind) = (|| container.id.clone(), container.kind);
        patches.extend((!delta.is_empty()).then(|| Patch::List { id: id(), kind, delta }));
        let replaced = replaced.into_iter();
        patches.extend(replaced.map(|index| Patch::ListElement { id: id(), index }));
    }
}

/// The names of the fields that two rows do not have alike, given by name.
fn differing<'a>(fields: [impl Iterator<Item = (&'a str, Value)>; 2]) -> Vec<&'a str> {
    let [mut old, mut new] = fields.map(Iterator::peekable);
    let mut names = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return names,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        let before = order.is_le().then(|| old.next()).flatten();
        let after = order.is_ge().then(|| new.next()).flatten();
        if before != after {
            names.extend(before.or(after).map(|(name, _)| name));
        }
    }
}

/// What a delta keeps: where it was, and where it is.
fn kept_by(delta: &[TextDelta]) -> Vec<(u32, u32, u32)> {
    let (mut kept, mut old, mut new) = (Vec::new(), 0, 0);
    for step in delta {
        match step {
            TextDelta::Retain(len) => {
                kept.push((old, old + len, new));
                (old, new) = (old + len, new + len);
            }
            TextDelta::Insert(content) => new += content.chars().count() as u32,
            TextDelta::Delete(len) => old += len,
        }
    }
    kept
}

/// Values where what has them is after an edit that keeps this.
fn moved(values: &Values, kept: &[(u32, u32, u32)]) -> Values {
    let mut moved = Values::new();
    for (old, end, new) in kept {
        let first = values.count_while(|(_, until, _)| until <= old);
        for (from, until, value) in values[first..].iter().take_while(|(from, _, _)| from < end) {
            let at = |pos: u32| pos - old + new;
            moved.push((at(*from.max(old)), at(*until.min(end)), value.clone()));
        }
    }
    moved
}

fn push_text(delta: &mut Vec<TextDelta>, step: TextDelta) {
    match (delta.last_mut(), step) {
        (Some(TextDelta::Retain(last)), TextDelta::Retain(len))
        | (Some(TextDelta::Delete(last)), TextDelta::Delete(len)) => *last += len,
        (Some(TextDelta::Insert(last)), TextDelta::Insert(content)) => {
            *last = [&**last, &*content].concat().into();
        }
        (_, step) => delta.push(step),
    }
}

/// The delta without what is kept at its end; none if nothing changes.
fn text_patch(mut delta: Vec<TextDelta>) -> Option<Vec<TextDelta>> {
    if let Some(TextDelta::Retain(_)) = delta.last() {
        delta.pop();
    }
    (!delta.is_empty()).then_some(delta)
}

fn push_list(delta: &mut Vec<ListDelta>, step: ListDelta) {
    match (delta.last_mut(), step) {
        (Some(ListDelta::Retain(last)), ListDelta::Retain(len))
        | (Some(ListDelta::Delete(last)), ListDelta::Delete(len)) => *last += len,
        (Some(ListDelta::Insert(last)), ListDelta::Insert(values)) => last.extend(values),
        (_, step) => delta.push(step),
    }
}
