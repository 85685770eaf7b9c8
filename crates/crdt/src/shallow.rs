//! Documents that keep no more of their past than they were asked to: what happened before their
//! *base* is trimmed.
//!
//! The base is a version that every operation either belongs to or had seen, so no merge ever
//! reaches behind it. Of what is below it there stay
//!
//! - who wrote what when, as stretches in a line, so that ids and stamps mean what they meant;
//! - the hash of each author's blocks;
//! - the writes that held, and all rows, list elements and tree nodes, since removed ones may
//!   still be brought back by somebody's undo;
//! - what texts and lists showed, by id;
//! - the marks of texts but for those that others cover, and the deleted characters they name.
//!
//! Deleted text, overwritten values, transactions and the order in which all of it happened are
//! gone. What stays, taken in once more, is the document at its base.
//!
//! The chunk `base` of a shallow snapshot:
//!
//! | column | entries |
//! |---|---|
//! | peers | 8 bytes each, little-endian |
//! | stretches | as in [`crate::update`], each following the one before |
//! | hashes | 8 bytes for each peer, little-endian |
//! | containers | how many of the state's first there were |
//! | grounds | of each text and list among them: runs of ids, and what a text showed |
//! | edges | after the ground of a text with deleted characters: what counts as behind them |

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use crate::apply::apply_cell;
use crate::cells::{CellOp, Fields, RowRef};
use crate::codec::{DecodeError, Reader, Writer};
use crate::container::{Container, ContainerIx, ContainerKey, Containers, Content};
use crate::counter::CounterState;
use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::history::History;
use crate::id::{OpId, PeerId};
use crate::import::intern_name;
use crate::numbers::Numbers;
use crate::past::PastError;
use crate::sorting::sort;
use crate::table::TableState;
use crate::text::{Ground, Runs};
use crate::update::{Parent, Peers, Update, encode_stretches, read_peers};
use crate::value::Value;
use crate::version::VersionVector;

/// Why [`Doc::blocks_since`] and the like panic.
pub(crate) const TRUNCATED: &str = "the history that the version lacks was trimmed";

/// What is left of the history below the base, but for its graph and its texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    pub(crate) version: VersionVector,
    /// The containers that were written to, in order of first use.
    pub(crate) containers: Vec<ContainerIx>,
    /// The hash over each peer's blocks.
    chains: Numbers,
}

impl Base {
    /// How far a peer's chain of blocks goes, and its hash.
    pub(crate) fn mark(&self, peer: PeerId) -> (u32, u64) {
        (self.version.get(peer), self.chains.get(peer.0).unwrap_or_default())
    }
}

/// What stays of a container.
struct Rest<'a> {
    container: &'a Container,
    ops: Vec<(Lv, CellOp)>,
    ground: Ground,
    /// A counter's value.
    sum: i64,
}

impl Doc {
    /// The state as it is, with the history from `version` on: from the latest version at or below
    /// it, to be exact, that every operation here either belongs to or had seen, and that no
    /// transaction crosses. Until then, what was done at once cannot be told from its order.
    ///
    /// Read it with [`Doc::from_shallow_snapshot`]. A replica with changes of its own that were
    /// made without having seen all of that version brings them along by [`Doc::rebase`].
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PastError, PeerId, VersionVector};
    /// let mut doc = Doc::new(PeerId(1));
    /// doc.transact(0, |tx| tx.text("note").insert(0, "a long draft")).0?;
    /// doc.transact(0, |tx| tx.text("note").splice(0, 12, "done")).0?;
    ///
    /// let shallow = doc.encode_shallow_snapshot(doc.version())?;
    /// let copy = Doc::from_shallow_snapshot(PeerId(2), &shallow)?;
    /// assert_eq!(copy.text("note").to_string(), "done");
    /// assert_eq!(copy.history_start(), doc.version());
    /// let all = copy.try_blocks_since(&VersionVector::new());
    /// assert_eq!(all, Err(PastError::Truncated));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PastError::Unknown`] if the version has something that is not here,
    /// [`PastError::Truncated`] if it is from before [`Doc::history_start`].
    pub fn encode_shallow_snapshot(&self, version: &VersionVector) -> Result<Vec<u8>, PastError> {
        Ok(self.trimmed(version)?.as_ref().unwrap_or(self).encode_snapshot())
    }

    /// Forgets the history before `version`, as [`Doc::encode_shallow_snapshot`] does, and returns
    /// the version from which on it is known now. Undo of edits from before that is forgotten.
    ///
    /// # Errors
    /// As [`Doc::encode_shallow_snapshot`]; the document is as it was then.
    pub fn trim_history(&mut self, version: &VersionVector) -> Result<VersionVector, PastError> {
        if let Some(mut trimmed) = self.trimmed(version)? {
            trimmed.pending = std::mem::take(&mut self.pending);
            trimmed.undo = std::mem::take(&mut self.undo);
            trimmed.carry_undo(&self.containers);
            *self = trimmed;
        }
        Ok(self.history_start().clone())
    }

    /// Checks that all a version lacks is known.
    pub(crate) fn check_start(&self, version: &VersionVector) -> Result<(), PastError> {
        let is_known = version.covers(self.history_start());
        is_known.then_some(()).ok_or(PastError::Truncated)
    }

    /// The document without its history before a version, if there is any.
    fn trimmed(&self, version: &VersionVector) -> Result<Option<Self>, PastError> {
        let graph = &self.history().graph;
        let end = self.base_at(version)?;
        if end == graph.base() {
            return Ok(None);
        }
        let earlier = (end < graph.end())
            .then(|| self.checkout(self.peer(), graph.line(end).version()))
            .transpose()?;
        // What is checked out may be in another order.
        let at = earlier.as_ref().unwrap_or(self);
        let line = at.history().graph.line(end);
        let hash = |(peer, count)| Some((peer, at.chain_hash_at(peer, count)?));
        let mut chains = Numbers::new();
        for (peer, hash) in at.version().iter().filter_map(hash) {
            chains.insert(peer.0, hash);
        }
        let rest = at.history().used().into_iter().map(|index| at.rest(index)).gather();
        let mut doc = Self::of_rest(self.peer(), line, chains, rest);
        if end < graph.end() {
            let since = self.encode_ranges(&[(end, graph.end())]);
            doc.import_update(u64::MAX, &since).map_err(|_| PastError::Truncated)?;
        }
        doc.unknown_chunks.clone_from(&self.unknown_chunks);
        Ok(Some(doc))
    }

    /// The base for a history from `version` on.
    fn base_at(&self, version: &VersionVector) -> Result<Lv, PastError> {
        let history = self.history();
        let graph = &history.graph;
        for (peer, count) in version.iter() {
            let known = graph.version().get(peer);
            if count > known {
                return Err(PastError::Unknown(OpId::new(peer, known)));
            }
        }
        self.check_start(version)?;
        let missing = graph.missing_from(version);
        let mut limit = missing.first().map_or(graph.end(), |(start, _)| *start);
        loop {
            match graph.critical_before(limit).filter(|lv| *lv >= graph.base()) {
                None => return Ok(graph.base()),
                Some(lv) => {
                    let (start, len) = history.transaction_at(lv);
                    if start + len == lv + 1 {
                        return Ok(lv + 1);
                    }
                    limit = start;
                }
            }
        }
    }

    /// The document at its base, to go on from as `peer`: empty unless it was trimmed.
    pub(crate) fn at_base(&self, peer: PeerId) -> Self {
        let history = self.history();
        let base = history.graph.base();
        if base == 0 {
            return Self::new(peer);
        }
        let rest = history.base.containers.iter().map(|index| {
            let container = self.containers.get(*index);
            let log = container.content.cells();
            let ops = log.ops(0, base).gather();
            let ground = history.runs(*index).ground().clone();
            let later = log.ops(base, Lv::MAX);
            let sum = match &container.content {
                Content::Counter(_, state) => later.fold(state.value(), |sum, (_, op)| match op {
                    CellOp::Add(delta) => sum.wrapping_sub(delta),
                    _ => sum,
                }),
                _ => 0,
            };
            Rest { container, ops, ground, sum }
        });
        Self::of_rest(peer, history.graph.line(base), history.base.chains.clone(), rest.gather())
    }

    /// What stays of a container if all that is here becomes the base.
    fn rest(&self, index: ContainerIx) -> Rest<'_> {
        let history = self.history();
        let container = self.containers.get(index);
        let mut ops = self.held(&container.content);
        let (mut ground, mut sum) = (Ground::new(), 0);
        match &container.content {
            Content::Text(log, state) => {
                let (graph, runs) = (&history.graph, history.runs(index));
                let lasting = state.lasting(log, graph, runs);
                let mark = |lv: &Lv| Some((*lv, log.get(*lv)?));
                ops = lasting.marks.iter().filter_map(mark).gather();
                ground = lasting.ground;
            }
            Content::List(_, state) => {
                ground = Ground::of_slots(state.slots.iter().map(|(slot, _)| slot));
            }
            Content::Counter(_, state) => sum = state.value(),
            _ => {}
        }
        Rest { container, ops, ground, sum }
    }

    /// The writes of a container that hold, without what was overwritten of them. What a counter
    /// was given is in its sum; a text's marks are chosen with its characters.
    fn held(&self, content: &Content) -> Vec<(Lv, CellOp)> {
        let graph = &self.history().graph;
        let log = content.cells();
        if matches!(content, Content::Counter(..) | Content::Text(..)) {
            return Vec::new();
        }
        let mut hold: Vec<Lv> = match content {
            Content::Register(_, state) => state.winner.into_iter().gather(),
            Content::Map(_, state) => {
                let set = state.held.iter().flatten().filter(|held| held.is_set);
                set.map(|held| held.lv).gather()
            }
            Content::Table(_, state) => {
                let fates = state.fates.iter().map(|(_, fate)| (fate >> 1) as Lv);
                state.written.iter().map(|(_, lv)| lv as Lv).chain(fates).gather()
            }
            Content::List(_, state) => state.held().gather(),
            _ => Vec::new(),
        };
        sort(&mut hold);
        let holds = |(lv, op): &(Lv, CellOp)| match (content, op) {
            (Content::Unknown(_), _) | (_, CellOp::Insert { .. }) => true,
            (Content::List(..), CellOp::Set(_)) => true,
            (Content::Tree(log, state), op) => state.get(log, graph).holds(*lv, op),
            _ => hold.binary_search(lv).is_ok(),
        };
        let strip = |(lv, op): (Lv, CellOp)| match (content, op) {
            (Content::Table(_, state), op) => (lv, strip_row(state, lv, op)),
            (Content::List(_, state), CellOp::Set(_)) if state.holder(lv) != lv => {
                (lv, CellOp::Set(Value::Null))
            }
            (_, op) => (lv, op),
        };
        log.ops(0, Lv::MAX).filter(holds).map(strip).gather()
    }

    /// A document of which no more is left than this.
    fn of_rest(peer: PeerId, graph: Graph, chains: Numbers, rest: Vec<Rest<'_>>) -> Self {
        let mut doc = Self::new(peer);
        let base = Base { version: graph.version().clone(), containers: Vec::new(), chains };
        *doc.history_mut() = History::on(graph, base);
        for Rest { container, ops, ground, sum } in rest {
            let key = ContainerKey::Id(&container.id);
            let (history, containers) = doc.parts_mut();
            let index = containers.intern(container.kind, &key);
            history.base.containers.push(index);
            let names = container.content.names();
            for (lv, op) in ops {
                let content = &mut containers.get_mut(index).content;
                let op = op.map_names(&mut |name| intern_name(content, names.get(name)));
                match content {
                    // It is worked out from the whole log.
                    Content::Tree(log, _) => log.push(lv, &op),
                    _ => apply_cell(containers, &history.graph, index, lv, &op, None),
                }
            }
            match &mut containers.get_mut(index).content {
                Content::Text(_, state) => state.start_from(ground.text()),
                Content::List(_, state) => state.stand_on(&ground),
                Content::Counter(_, state) => *state = CounterState::new(sum),
                _ => {}
            }
            *history.runs_mut(index) = Runs::on(ground);
        }
        doc
    }
}

/// A write of rows without the values that were overwritten.
fn strip_row(state: &TableState, lv: Lv, op: CellOp) -> CellOp {
    let strip = |row: Lv, mut fields: Fields| {
        fields.retain(|(field, _)| state.holder(row, *field) == lv);
        fields
    };
    match op {
        CellOp::Insert { fields } => CellOp::Insert { fields: strip(lv, fields) },
        CellOp::Restore { row: RowRef::Known(known), fields } => {
            let fields = strip(known, fields);
            CellOp::Restore { row: RowRef::Known(known), fields }
        }
        other => other,
    }
}

/// Appends what is below the base; see the module's documentation.
pub(crate) fn encode_base(history: &History, containers: &Containers, out: &mut Writer) {
    let mut peers = Peers::new(&history.graph);
    let stretches = encode_stretches(&history.graph, &[(0, history.graph.base())], &mut peers);
    out.len(peers.list.len());
    peers.list.iter().for_each(|peer| out.u64_le(peer.0));
    out.raw(stretches.as_slice());
    peers.list.iter().for_each(|peer| out.u64_le(history.base.mark(*peer).1));
    out.len(history.base.containers.len());
    for index in &history.base.containers {
        let container = containers.get(*index);
        let now = match &container.content {
            Content::Text(_, state) => Some(state.rope.text()),
            _ => None,
        };
        if container.kind.is_sequence() {
            history.runs(*index).ground().encode(now.as_deref(), out);
        }
    }
}

/// Reads what [`encode_base`] wrote, for containers as the snapshot's state has them.
pub(crate) fn decode_base(bytes: &[u8], containers: &Containers) -> Result<History, DecodeError> {
    let mut input = Reader::new(bytes);
    let peers = input.read(read_peers)?;
    let mut line = Update::default();
    input.read(|input| line.read_stretches(input, &peers))?;
    let mut graph = Graph::default();
    for (number, stretch) in line.stretches.iter().enumerate() {
        let follows = match line.parents_of(number) {
            [] => stretch.start == 0,
            [Parent::Inside(before, offset)] => {
                line.stretches[*before as usize].start + offset + 1 == stretch.start
            }
            _ => false,
        };
        if !follows || stretch.id.seq != graph.version().get(stretch.id.peer) {
            return Err(DecodeError::Invalid("base"));
        }
        graph.push_on_heads(stretch.id.peer, stretch.len, stretch.stamp);
    }
    if graph.end() == 0 {
        return Err(DecodeError::Invalid("base"));
    }
    graph.close_base();
    let mut base = Base { version: graph.version().clone(), ..Base::default() };
    for peer in peers {
        base.chains.insert(peer.0, input.u64_le()?);
    }
    let count = usize::try_from(input.varint()?).ok().filter(|count| *count <= containers.len());
    let count = count.ok_or(DecodeError::Invalid("container"))?;
    base.containers = (0..count as ContainerIx).gather();
    let end = graph.end();
    let mut history = History::on(graph, base);
    for index in 0..count as ContainerIx {
        let Container { kind, content, .. } = containers.get(index);
        let now = match content {
            Content::Text(_, state) => Some(state.rope.text()),
            _ => None,
        };
        if kind.is_sequence() {
            let ground = input.read(|input| Ground::decode(input, now.as_deref(), end))?;
            // What makes a slot is logged.
            let logged = content.cells().len_max() as u64;
            if kind.is_list() && ground.len() > logged {
                return Err(DecodeError::Invalid("slots"));
            }
            *history.runs_mut(index) = Runs::on(ground);
        }
    }
    input.finish()?;
    Ok(history)
}
