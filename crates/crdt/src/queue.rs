//! The order in which blocks are taken in: each after what it depends on.

use std::collections::BinaryHeap;

use crate::block::Block;
use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::Lv;
use crate::id::{OpId, PeerId};
use crate::import::ImportError;
use crate::numbers::{pair, parts};
use crate::op::Body;
use crate::search::Search;
use crate::sorting::{sort, sort_by};
use crate::stamp::Stamp;
use crate::version::VersionVector;

/// An author's part of the blocks.
struct Author {
    peer: PeerId,
    /// Where those are that wait.
    next: usize,
    end: usize,
    /// From which peer on the next block's dependencies are to be looked at: a merge of very many
    /// peers waits for one after the other.
    from: PeerId,
    /// Those that are ready, ascending by seq.
    ready: Vec<Ready>,
    /// Who waits for which of its operations, as [`waiter`]s.
    waiters: BinaryHeap<u64>,
}

/// The seqs of a block that is ready, and the stamp of the first.
struct Ready {
    seq: u32,
    end: u32,
    stamp: Stamp,
}

/// Blocks that are new here, and which of them can be taken in.
#[derive(Default)]
pub(crate) struct Queue {
    /// By author and seq, and whether they came just now; of one name there is one.
    blocks: Vec<(Block, bool)>,
    /// By peer.
    authors: Vec<Author>,
    pub(crate) ready: Vec<(Block, Body)>,
    /// Blocks that waited and turned out invalid.
    pub(crate) rejected: Vec<OpId>,
}

/// An author that waits for an operation of this seq, so that the lowest seq is the greatest.
fn waiter(seq: u32, author: usize) -> u64 {
    !pair(seq, author as u32)
}

fn name(block: &Block) -> (PeerId, u32) {
    (block.peer(), block.seq())
}

impl Queue {
    /// # Errors
    /// [`ImportError::DuplicatePeer`] if two that just came have one name.
    pub(crate) fn new(mut blocks: Vec<(Block, bool)>) -> Result<Self, ImportError> {
        sort_by(&mut blocks, |(a, a_is_new), (b, b_is_new)| {
            (name(a), !a_is_new) < (name(b), !b_is_new)
        });
        let mut twins = blocks.windows(2).filter(|pair| name(&pair[0].0) == name(&pair[1].0));
        if let Some([(a, _), _]) = twins.find(|pair| pair[1].1 && pair[0].0 != pair[1].0) {
            return Err(ImportError::DuplicatePeer { peer: a.peer(), seq: a.seq() });
        }
        let mut queue = Self::default();
        for block in blocks {
            if queue.blocks.last().is_some_and(|(last, _)| name(last) == name(&block.0)) {
                continue;
            }
            let (peer, next) = (block.0.peer(), queue.blocks.len());
            queue.blocks.push(block);
            match queue.authors.last_mut() {
                Some(last) if last.peer == peer => last.end = next + 1,
                _ => queue.authors.push(Author {
                    peer,
                    next,
                    end: next + 1,
                    from: PeerId(0),
                    ready: Vec::new(),
                    waiters: BinaryHeap::new(),
                }),
            }
        }
        Ok(queue)
    }

    fn author(&self, peer: PeerId) -> Option<usize> {
        self.authors.binary_search_by(|author| author.peer.cmp(&peer)).ok()
    }

    /// The stamp of an operation if it is in a block that is ready.
    pub(crate) fn stamp_of(&self, op: OpId) -> Option<Stamp> {
        let ready = &self.authors[self.author(op.peer)?].ready;
        // Mostly, an operation of the last one is asked for.
        let last = ready.last().filter(|last| last.seq <= op.seq);
        let before = || ready.count_while(|block| block.seq <= op.seq).checked_sub(1);
        let block = last.or_else(|| ready.get(before()?))?;
        (op.seq < block.end).then(|| block.stamp.plus(op.seq - block.seq))
    }

    /// The blocks that are not ready, and whether they came just now.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &(Block, bool)> {
        self.authors.iter().flat_map(|author| &self.blocks[author.next..author.end])
    }

    /// Finds out which blocks are ready: an author's one after the other as far as that goes, so
    /// that versions seldom have to be switched when they are merged, and who saw less of what is
    /// here first, so that it is gone through once. `version` becomes what will be in the document.
    ///
    /// # Errors
    /// That of a block which just came and is not sound.
    pub(crate) fn run(
        &mut self,
        doc: &Doc,
        wall_ms: u64,
        version: &mut VersionVector,
    ) -> Result<(), ImportError> {
        let seen = self.authors.iter().map(|author| self.seen_by(doc, author));
        let mut turns = seen.zip(0..).gather();
        sort(&mut turns);
        let mut turns = turns.iter().rev().map(|(_, turn)| *turn).gather();
        while let Some(turn) = turns.pop() {
            self.take_turn(doc, wall_ms, version, turn)?;
            let author = &mut self.authors[turn];
            let upto = version.get(author.peer);
            while let Some(next) = author.waiters.peek() {
                let (seq, other) = parts(!next);
                if seq >= upto {
                    break;
                }
                author.waiters.pop();
                turns.push(other as usize);
            }
        }
        Ok(())
    }

    /// Up to where an author's first block follows what is in the document.
    fn seen_by(&self, doc: &Doc, author: &Author) -> Lv {
        doc.history().graph.latest_of(self.blocks[author.next].0.builds_on())
    }

    /// Takes blocks of one author until one has to wait.
    fn take_turn(
        &mut self,
        doc: &Doc,
        wall_ms: u64,
        version: &mut VersionVector,
        turn: usize,
    ) -> Result<(), ImportError> {
        loop {
            let Author { next, end, from, .. } = self.authors[turn];
            let Some((block, is_new)) = self.blocks[..end].get(next).cloned() else { break };
            if block.header().stamp.is_future(wall_ms) {
                break;
            }
            if let Some(missing) = missing_dep(&block, from, version) {
                if let Some(other) = self.author(missing.peer) {
                    self.authors[turn].from = missing.peer;
                    self.authors[other].waiters.push(waiter(missing.seq, turn));
                }
                break;
            }
            let result = doc.check(&block, version, Some(self));
            let author = &mut self.authors[turn];
            (author.next, author.from) = (next + 1, PeerId(0));
            match result {
                Ok(body) => {
                    let (seq, end) = (block.seq(), block.end());
                    author.ready.push(Ready { seq, end, stamp: block.header().stamp });
                    version.extend(author.peer, end);
                    self.ready.push((block, body));
                }
                Err(error) if is_new => return Err(error),
                Err(_) => self.rejected.push(OpId::new(block.peer(), block.seq())),
            }
        }
        Ok(())
    }
}

/// An operation that a block depends on and a version lacks; it has those of peers below `from`.
pub(crate) fn missing_dep(block: &Block, from: PeerId, version: &VersionVector) -> Option<OpId> {
    let header = block.header();
    let first = header.deps.count_while(|dep| dep.peer < from);
    let previous = header.seq.checked_sub(1).map(|seq| OpId::new(header.peer, seq));
    let mut all = header.deps[first..].iter().copied().chain(previous);
    all.find(|dep| !version.contains(*dep))
}
