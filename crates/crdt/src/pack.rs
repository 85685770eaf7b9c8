//! Blocks that follow one another as one update file, and back, without a document.
//!
//! Who keeps or passes on what others wrote has no need of what it shows. A thousand keystrokes,
//! each a block of some forty bytes, are an update of one or two thousand bytes, and the same
//! blocks come out of it: an update has all that is in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::block::{Block, BlockHeader};
use crate::cells::CellOp;
use crate::codec::DecodeError;
use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::id::{OpId, PeerId};
use crate::import::{ToMerge, note_ops};
use crate::names::Names;
use crate::numbers::{self, Numbers};
use crate::op::Body;
use crate::search::Search;
use crate::snapshot::read_update;
use crate::sorting::sort;
use crate::stamp::Stamp;
use crate::update::{Parent, Update};
use crate::version::VersionVector;

/// How many blocks a pack may have, so that no few bytes claim to be very many.
pub const PACK_BLOCKS_MAX: usize = 1 << 13;

/// The update file that [`Doc::import_update`] and [`Doc::import_pack`] read these blocks from.
/// Each must come after what it depends on, and after its author's previous one; those that are
/// not among `blocks` are left to whoever reads it.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId, VersionVector, pack_blocks, unpack_blocks};
/// let mut doc = Doc::new(PeerId(1));
/// for at in 0..1_000 {
///     doc.transact(0, |tx| tx.text("note").insert(at, "a")).0?;
/// }
/// let blocks = doc.blocks_since(&VersionVector::new());
/// let update = pack_blocks(&blocks[500..])?;
/// assert!(update.len() < 100);
/// assert_eq!(unpack_blocks(&update)?, blocks[500..]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What is wrong with the first block that does not decode, or does not come after the one before
/// it of its author; or that there are more than [`PACK_BLOCKS_MAX`].
pub fn pack_blocks(blocks: &[Block]) -> Result<Vec<u8>, DecodeError> {
    if blocks.len() > PACK_BLOCKS_MAX {
        return Err(TOO_MANY);
    }
    let mut doc = Doc::new(PeerId(0));
    let (history, containers) = doc.parts_mut();
    note_outside(&mut history.graph, blocks);
    let start = history.graph.end();
    let mut texts = ToMerge::new(&history.graph);
    let mut ends = VersionVector::new();
    for block in blocks {
        let header = block.header();
        let end = ends.get(header.peer);
        if end != header.seq && end > 0 {
            return Err(DecodeError::Invalid("order of blocks"));
        }
        ends.extend(header.peer, block.end());
        let parents = parents_of(&history.graph, start, header);
        let id = OpId::new(header.peer, header.seq);
        let first = history.graph.push(id, header.len, header.stamp, &parents);
        history.note_bounds(first, header.len, 1);
        note_ops(history, containers, first, block.body()?, &mut texts, None);
    }
    let all = Some((start, history.graph.end())).filter(|(start, end)| start < end);
    Ok(doc.encode_ranges(all.as_slice()))
}

/// Puts what the blocks depend on, and is not in them, into an empty graph: to be named.
fn note_outside(graph: &mut Graph, blocks: &[Block]) {
    let mut firsts: BTreeMap<PeerId, u32> = BTreeMap::new();
    for block in blocks {
        firsts.entry(block.peer()).or_insert(block.seq());
    }
    let is_outside = |dep: &OpId| firsts.get(&dep.peer).is_none_or(|seq| dep.seq < *seq);
    let deps = blocks.iter().flat_map(|block| block.header().deps.iter().copied());
    let outside: BTreeSet<OpId> = deps.filter(is_outside).collect();
    for id in outside {
        graph.push(id, 1, Stamp(0), &[]);
    }
}

/// What a block follows, as far as that has to be said: whoever reads it adds the author's own last
/// operation where nothing else of it has seen that.
fn parents_of(graph: &Graph, start: Lv, header: &BlockHeader) -> Vec<Lv> {
    let mut parents = header.deps.iter().filter_map(|dep| graph.lv_of(*dep)).gather();
    let previous = header.seq.checked_sub(1).map(|seq| OpId::new(header.peer, seq));
    let previous = previous.and_then(|id| graph.lv_of(id)).filter(|lv| *lv >= start);
    if let Some(own) = previous.filter(|own| !graph.sees(&parents, *own)) {
        parents.push(own);
    }
    sort(&mut parents);
    parents
}

const TOO_MANY: DecodeError = DecodeError::Invalid("count of blocks");

/// Reads an update file of at most [`PACK_BLOCKS_MAX`] blocks.
pub(crate) fn read_pack(bytes: &[u8]) -> Result<Update, DecodeError> {
    let update = read_update(bytes)?;
    if update.block_count() > PACK_BLOCKS_MAX { Err(TOO_MANY) } else { Ok(update) }
}

/// The blocks of an update file, each after all of the file that it depends on.
///
/// # Errors
/// What is wrong with the file; one of more than [`PACK_BLOCKS_MAX`] blocks is no pack.
pub fn unpack_blocks(bytes: &[u8]) -> Result<Vec<Block>, DecodeError> {
    let update = read_pack(bytes)?;
    let mut blocks = Vec::new();
    for number in 0..update.stretches.len() {
        let stretch = &update.stretches[number];
        let (first, end) = (stretch.start, stretch.start + stretch.len);
        update.transactions(first, end, |at, len, count| {
            for start in (0..count).map(|i| at + i * len) {
                blocks.push(block_of(&update, number, start, len));
            }
        });
    }
    Ok(blocks)
}

/// The transaction from `start` on, which is in that stretch.
fn block_of(update: &Update, number: usize, start: Lv, len: u32) -> Block {
    let stretch = &update.stretches[number];
    let offset = start - stretch.start;
    let OpId { peer, seq } = stretch.id.plus(offset);
    let mut deps = Vec::new();
    if offset == 0 {
        let ids = update.parents_of(number).iter().map(|parent| match parent {
            Parent::Inside(stretch, offset) => update.stretches[*stretch as usize].id.plus(*offset),
            Parent::Outside(id) => *id,
        });
        deps = ids.filter(|id| id.peer != peer).gather();
        sort(&mut deps);
        deps.dedup();
    }
    let header = BlockHeader { peer, seq, len, stamp: stretch.stamp.plus(offset), deps };
    Block::encode(header, &body_of(update, start, start + len))
}

fn body_of(update: &Update, start: Lv, end: Lv) -> Body {
    let (mut body, mut names) = (Body::default(), Names::default());
    let mut places = Numbers::new();
    let span = update.spans.count_while(|span| span.1 <= start);
    for (first, upto, container) in update.spans[span..].iter().take_while(|span| span.0 < end) {
        let (first, upto) = ((*first).max(start), (*upto).min(end));
        let (place, _) = numbers::number(&mut places, *container as u64);
        let ((kind, id), column) = (&update.containers[*container], &update.columns[*container]);
        body.take(place, (*kind, id), &column.runs, (first, upto), &mut |lv| {
            let at = column.ops.binary_search_by_key(&lv, |(lv, _)| *lv).ok()?;
            let op: CellOp = column.ops[at].1.clone();
            Some(op.map_names(&mut |name| names.intern(column.names.get(name))))
        });
    }
    for name in names.iter() {
        body.names.push(name.clone());
    }
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::histories::{run, step};
    use crate::rebase::tests::shown;

    fn write(peer: u64, known: &[Block], edit: impl FnOnce(&mut crate::Transaction<'_>)) -> Block {
        let mut doc = Doc::new(PeerId(peer));
        doc.import(0, known.iter().cloned()).unwrap();
        let ((), commit) = doc.transact(0, edit);
        doc.block(&commit.expect("something was written"))
    }

    #[test]
    fn blocks_must_follow_one_another() {
        let first = write(1, &[], |tx| tx.counter("c").add(1));
        let second = write(1, std::slice::from_ref(&first), |tx| tx.counter("c").add(1));
        let third = write(1, &[first.clone(), second.clone()], |tx| tx.counter("c").add(1));
        let out_of_order = Err(DecodeError::Invalid("order of blocks"));
        assert_eq!(pack_blocks(&[first.clone(), third.clone()]), out_of_order);
        assert_eq!(pack_blocks(&[second.clone(), first]), out_of_order);
        let last_two = [second, third];
        assert_eq!(unpack_blocks(&pack_blocks(&last_two).unwrap()).unwrap(), last_two);
        assert_eq!(unpack_blocks(&pack_blocks(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_pack_has_at_most_so_many_blocks() {
        let mut doc = Doc::new(PeerId(1));
        let twice = |tx: &mut crate::Transaction<'_>| (0..2).for_each(|_| tx.counter("c").add(1));
        for _ in 0..PACK_BLOCKS_MAX {
            doc.transact(0, twice);
        }
        let start = VersionVector::new();
        let pack = pack_blocks(&doc.blocks_since(&start)).unwrap();
        assert_eq!(unpack_blocks(&pack).map(|blocks| blocks.len()), Ok(PACK_BLOCKS_MAX));
        doc.transact(0, twice);
        assert_eq!(pack_blocks(&doc.blocks_since(&start)), Err(TOO_MANY));
        let update = doc.encode_update(&start);
        assert_eq!(unpack_blocks(&update), Err(TOO_MANY));
        let refused = Doc::new(PeerId(2)).import_pack(0, &update);
        assert_eq!(refused.err(), Some(crate::ImportError::Update(TOO_MANY)));
    }

    #[test]
    fn what_goes_on_is_one_stretch_whoever_wrote_before() {
        let mut blocks = vec![write(1, &[], |tx| tx.counter("c").add(1))];
        let mut doc = Doc::new(PeerId(2));
        doc.import(0, blocks.clone()).unwrap();
        for at in 0..1_000 {
            doc.transact(0, |tx| tx.text("t").insert(at, "x")).0.unwrap();
        }
        blocks = doc.blocks_since(&VersionVector::new());
        assert_eq!(pack_blocks(&blocks).unwrap(), doc.encode_update(&VersionVector::new()));
        // What follows two, of which one was written before by the same author.
        let mut other = Doc::new(PeerId(1));
        other.import(0, blocks).unwrap();
        other.transact(0, |tx| tx.counter("c").add(1));
        let all = other.blocks_since(&VersionVector::new());
        assert_eq!(unpack_blocks(&pack_blocks(&all).unwrap()).unwrap(), all);
        let whole = other.encode_update(&VersionVector::new());
        assert_eq!(pack_blocks(&all).unwrap(), whole, "as a document writes it");
    }

    #[test]
    fn a_block_that_does_not_decode_is_not_packed() {
        let whole = write(1, &[], |tx| tx.counter("c").add(1));
        let header = BlockHeader { len: 2, ..whole.header().clone() };
        let broken = Block::with_body(header, whole.body_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(pack_blocks(&[broken]), Err(DecodeError::Invalid("operation count")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Blocks of any history, cut anywhere, come out of a pack as they were, and make the same
        /// document of what was there before.
        #[test]
        fn packed_blocks_are_the_same_and_show_the_same(
            steps in prop::collection::vec((0usize..3, step()), 1..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut docs: Vec<Doc> = (1..=3).map(|peer| Doc::new(PeerId(peer))).collect();
            for (at, (who, step)) in steps.iter().enumerate() {
                run(&mut docs, *who, step, 1_000 + at as u64 * 700);
            }
            let mut all = Doc::new(PeerId(9));
            for doc in &docs {
                all.import(u64::MAX, doc.blocks_since(all.version())).unwrap();
            }
            let blocks = all.blocks_since(&VersionVector::new());
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(blocks.len() + 1)).collect();
            cuts.extend([0, blocks.len()]);
            cuts.sort_unstable();
            let mut reader = Doc::new(PeerId(8));
            for cut in cuts.windows(2) {
                let part = &blocks[cut[0]..cut[1]];
                let packed = pack_blocks(part).unwrap();
                prop_assert_eq!(&unpack_blocks(&packed).unwrap()[..], part);
                reader.import_update(u64::MAX, &packed).unwrap();
            }
            prop_assert_eq!(shown(&reader), shown(&all));
            let mut read = reader.blocks_since(&VersionVector::new());
            let mut blocks = blocks;
            for all in [&mut read, &mut blocks] {
                all.sort_unstable_by_key(|block| (block.peer(), block.seq()));
            }
            prop_assert_eq!(read, blocks);
        }

        /// What comes out of any update is what a document makes of it.
        #[test]
        fn an_update_has_the_blocks_that_a_document_makes_of_it(
            steps in prop::collection::vec((0usize..3, step()), 1..40),
        ) {
            let mut docs: Vec<Doc> = (1..=3).map(|peer| Doc::new(PeerId(peer))).collect();
            for (at, (who, step)) in steps.iter().enumerate() {
                run(&mut docs, *who, step, 1_000 + at as u64 * 700);
            }
            for doc in &docs {
                let update = doc.encode_update(&VersionVector::new());
                let unpacked = unpack_blocks(&update).unwrap();
                prop_assert_eq!(unpacked, doc.blocks_since(&VersionVector::new()));
            }
        }
    }
}
