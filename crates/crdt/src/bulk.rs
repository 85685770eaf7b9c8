//! Taking in an update file: columns go into the log as columns, not block by block.

use crate::apply::apply_cell;
use crate::container::{ContainerIx, ContainerKey, ContainerKind, FOLLOWED};
use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::history::History;
use crate::import::{Import, ImportError, ToMerge, intern_name, row_resolver};
use crate::pack::read_pack;
use crate::search::Search;
use crate::snapshot::read_update;
use crate::sorting::sort_set;
use crate::update::{Column, Parent};

mod order;
mod plan;

use self::plan::{New, Plan};

impl Doc {
    /// Merges an update file, as [`Doc::encode_update`] writes it, in whatever order files come and
    /// any number of times. Unlike [`Doc::import`], it does not list the blocks it applied.
    /// `wall_ms` is the current time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ImportError`]; nothing was applied then. One that depends on what is not here is refused
    /// with [`ImportError::Missing`].
    pub fn import_update(&mut self, wall_ms: u64, bytes: &[u8]) -> Result<Import, ImportError> {
        let update = read_update(bytes).map_err(ImportError::Update)?;
        let plan = Plan::new(&self.history().graph, update, wall_ms)?;
        self.take_update(wall_ms, plan)
    }

    /// Merges an update of [`crate::pack_blocks`], of which nothing is here yet. What is here is
    /// taken for the same by [`Doc::import_update`], which is right for files of one's own; this
    /// one is for what others send, who could have other changes of those names. The blocks of a
    /// pack ([`crate::unpack_blocks`]) can be compared. `wall_ms` is the current time in
    /// milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`ImportError`]; nothing was applied then. One that has what is here is refused with
    /// [`ImportError::Known`].
    pub fn import_pack(&mut self, wall_ms: u64, bytes: &[u8]) -> Result<Import, ImportError> {
        let update = read_pack(bytes).map_err(ImportError::Update)?;
        let plan = Plan::new(&self.history().graph, update, wall_ms)?;
        match plan.first_known() {
            Some(known) => Err(ImportError::Known(known)),
            None => self.take_update(wall_ms, plan),
        }
    }

    fn take_update(&mut self, wall_ms: u64, plan: Plan) -> Result<Import, ImportError> {
        let mut import = Import::default();
        if !plan.new.is_empty() {
            self.commit_update(plan, &mut import);
        }
        // What waited may be ready now.
        let waiting = FOLLOWED.blocks.get().filter(|_| !self.pending.is_empty());
        if let Some(import_all) = waiting {
            let later = import_all(self, wall_ms, Vec::new())?;
            import.patches.extend(later.patches);
            import = Import { patches: import.patches, ..later };
        }
        Ok(import)
    }

    fn commit_update(&mut self, mut plan: Plan, import: &mut Import) {
        let (history, containers) = self.parts_mut();
        let mut columns = std::mem::take(&mut plan.update.columns);
        let all = plan.update.containers.iter();
        let places = all.map(|(kind, id)| containers.intern(*kind, &ContainerKey::Id(id))).gather();
        let order = order::by_branch(&history.graph, &plan);
        let is_as_here = prepare(history, &plan, &order, &mut columns, &places);
        let update = &plan.update;
        let mut texts = ToMerge::new(&history.graph);
        // Where each of the new ones begins here.
        let mut starts = vec![Lv::MAX; plan.new.len()];
        for at in order.iter().map(|at| *at as usize) {
            let New { stretch: number, known } = plan.new[at];
            let stretch = &update.stretches[number as usize];
            let (from, end) = (stretch.start + known, stretch.start + stretch.len);
            let parents = parents_here(&history.graph, &plan, at, &starts);
            let (id, stamp) = (stretch.id.plus(known), stretch.stamp.plus(known));
            let start = history.graph.push(id, end - from, stamp, &parents);
            starts[at] = start;
            let here = |place: Lv| place - from + start;
            if !is_as_here {
                update.transactions(from, end, |place, len, count| {
                    history.note_bounds(here(place), len, count);
                });
            }
            let span = update.spans.count_while(|span| span.1 <= from);
            for (first, upto, place) in update.spans[span..].iter().take_while(|s| s.0 < end) {
                let (first, upto, index) = ((*first).max(from), (*upto).min(end), places[*place]);
                history.note_span(here(first), index);
                let Column { runs, names, ops } = &mut columns[*place];
                if update.containers[*place].0.is_sequence() {
                    let target = history.runs_mut(index);
                    for piece in runs.pieces(first, upto) {
                        let text = runs.content(piece.content);
                        let lv = here(piece.start);
                        target.push_run(lv, piece.pos, piece.len, piece.kind, text, false);
                    }
                    texts.touch(index);
                }
                if update.containers[*place].0 == ContainerKind::Tree {
                    texts.touch(index);
                }
                let first = ops.count_while(|(lv, _)| *lv < first);
                for (lv, op) in ops[first..].iter_mut().take_while(|(lv, _)| *lv < upto) {
                    let lv = here(*lv);
                    let content = &mut containers.get_mut(index).content;
                    let op =
                        std::mem::take(op).map_names(&mut |n| intern_name(content, names.get(n)));
                    let op = op.map_rows(&mut row_resolver(history, index, content, lv));
                    let patches = Some(&mut import.patches);
                    apply_cell(containers, &history.graph, index, lv, &op, patches);
                }
            }
        }
        // Merging needs room, too.
        drop((columns, plan));
        texts.merge(history, containers, &mut import.patches);
    }
}

/// Makes room in the log of a document that has nothing yet. Says whether places in the file are
/// its local versions, in this order: then the file's runs and transactions are the log's.
fn prepare(
    history: &mut History,
    plan: &Plan,
    order: &[u32],
    columns: &mut [Column],
    places: &[ContainerIx],
) -> bool {
    if history.graph.end() > 0 {
        return false;
    }
    let (new, update) = (plan.new.len(), &plan.update);
    let is_as_here = (0..).zip(order).all(|(at, number)| at == *number);
    if is_as_here {
        history.take_bounds(&update.bounds, update.len);
        history.reserve(new, update.parents.len(), 0);
    } else {
        history.reserve(new, update.parents.len(), update.bounds.len());
    }
    for (at, column) in columns.iter_mut().enumerate() {
        if !update.containers[at].0.is_sequence() {
            continue;
        }
        let runs = history.runs_mut(places[at]);
        if is_as_here {
            runs.take_over(std::mem::take(&mut column.runs), 0);
        } else {
            runs.reserve(&column.runs, new);
        }
    }
    is_as_here
}

/// The parents of the first operation of `plan.new[at]`, as local versions.
fn parents_here(graph: &Graph, plan: &Plan, at: usize, starts: &[Lv]) -> Vec<Lv> {
    let here = |parent: Parent| match plan.find_new(parent) {
        Some((at, offset)) => starts[at] + offset,
        None => graph.lv_of(plan.id_of(parent)).expect("dependencies are checked before"),
    };
    let mut parents: Vec<Lv> = plan.parents_of(at).map(here).gather();
    // The author's last operation is always among the ancestors, whatever the file says.
    if let Some(own) = plan.own_of(at).map(here)
        && !parents.contains(&own)
        && !graph.sees(&parents, own)
    {
        parents.push(own);
    }
    sort_set(&mut parents);
    parents
}

#[cfg(test)]
mod tests {
    use crate::cells::CellOp;
    use crate::codec::{DecodeError, Input, Writer, checksum};
    use crate::columns::encode_ints;
    use crate::import::ImportError;
    use crate::packing::Packer;
    use crate::stamp::Stamp;
    use crate::{ContainerId, ContainerKind, Doc, OpId, PeerId};

    /// An update file of one addition each by peers 1, 2 and 1 again, which had seen both.
    fn file(stamps: [u64; 3]) -> Vec<u8> {
        file_by([1, 2], stamps)
    }

    fn file_by(peers: [u64; 2], stamps: [u64; 3]) -> Vec<u8> {
        file_of(peers, &[&[0, 1, 0], &[2, 1, 0], &[1, 1]], &stamps)
    }

    fn file_of(peers: [u64; 2], heads: &[&[u8]], stamps: &[u64]) -> Vec<u8> {
        let count: u8 = heads.iter().map(|head| head[1]).sum();
        let mut out = Writer::new();
        out.len(2);
        peers.iter().for_each(|peer| out.u64_le(*peer));
        out.len(1);
        out.u8(ContainerKind::Counter.code());
        ContainerId::root("c").encode(&mut out);
        // Peer and whether it follows the one before, length, seq if first, stamp, parents.
        out.len(heads.len());
        let mut before = Stamp(0);
        for (head, stamp) in heads.iter().zip(stamps) {
            out.raw(head);
            out.varint(Stamp(*stamp).code_after(before));
            before = Stamp(stamp + u64::from(head[1]));
            if head[0] & 1 == 0 {
                out.len(0);
            }
        }
        // Transactions, then containers.
        out.raw(&[1, 3, count]);
        out.raw(&[1, 0, count]);
        let (mut column, mut ops) = (Writer::new(), Writer::new());
        (0..count).for_each(|_| CellOp::Add(1).encode(&mut ops));
        column.raw(&[0, 0]);
        (0..2).for_each(|_| encode_ints(&[], &mut column));
        column.len(count.into());
        let mut packer = Packer::default();
        packer.add(&mut Input::new(ops.as_slice()), count.into(), &mut |_, number| number);
        packer.finish(&mut column);
        out.bytes(column.as_slice());
        with_checksum(out.as_slice())
    }

    fn with_checksum(chunk: &[u8]) -> Vec<u8> {
        let mut file = Writer::new();
        file.raw(b"LSU2\x01");
        file.bytes(chunk);
        file.u32_le(checksum(chunk));
        file.into_vec()
    }

    #[test]
    fn few_bytes_do_not_claim_to_be_very_many_transactions() {
        let count = 1u64 << 30;
        let mut out = Writer::new();
        out.len(1);
        out.u64_le(1);
        out.len(1);
        out.u8(ContainerKind::Text.code());
        ContainerId::root("t").encode(&mut out);
        // One stretch, of single deletions in a text that has nothing.
        out.raw(&[1, 0]);
        out.varint(count);
        out.raw(&[0, 0, 0, 1, 3]);
        out.varint(count);
        let refused = Doc::new(PeerId(9)).import_update(0, &with_checksum(out.as_slice()));
        let reason = DecodeError::Invalid("transaction length");
        assert_eq!(refused.err(), Some(ImportError::Update(reason)));
    }

    #[test]
    fn an_author_whose_stamps_go_back_within_an_update_is_refused() {
        let mut doc = Doc::new(PeerId(9));
        let refused = doc.import_update(0, &file([9, 3, 6])).expect_err("6 is before 9");
        assert_eq!(refused, ImportError::Stamp { peer: PeerId(1), seq: 1 });
        assert_eq!(doc.counter("c"), 0);
        doc.import_update(0, &file([9, 3, 12])).unwrap();
        assert_eq!(doc.counter("c"), 3);
    }

    #[test]
    fn a_pack_must_not_have_what_is_here() {
        let whole = file([9, 3, 12]);
        let first = file_of([1, 2], &[&[0, 1, 0]], &[9]);
        let mut doc = Doc::new(PeerId(9));
        doc.import_pack(0, &first).unwrap();
        let known = |author, seq| Some(ImportError::Known(OpId::new(PeerId(author), seq)));
        assert_eq!(doc.import_pack(0, &first).err(), known(1, 0));
        assert_eq!(doc.import_pack(0, &whole).err(), known(1, 0));
        assert_eq!(doc.counter("c"), 1);
        doc.import_update(0, &whole).unwrap();
        let longer = file_of([1, 3], &[&[2, 1, 0], &[0, 3, 0]], &[20, 11]);
        assert_eq!(doc.import_pack(0, &longer).err(), known(1, 0));
        doc.import_pack(0, &file_of([3, 4], &[&[0, 1, 0], &[3, 2, 0]], &[20, 30])).unwrap();
        assert_eq!(doc.counter("c"), 6);
    }

    #[test]
    fn an_update_that_writes_an_operation_twice_is_refused() {
        let refused = Doc::new(PeerId(9)).import_update(0, &file_by([1, 1], [3, 9, 12]));
        assert_eq!(refused.err(), Some(ImportError::DuplicatePeer { peer: PeerId(1), seq: 0 }));
    }

    #[test]
    fn an_update_that_tells_known_stamps_otherwise_does_not_move_new_ones() {
        let mut doc = Doc::new(PeerId(9));
        doc.import_update(0, &file([9, 3, 12])).unwrap();
        let mut part = Doc::new(PeerId(8));
        let blocks = doc.blocks_since(&crate::VersionVector::new());
        part.import(0, blocks.into_iter().filter(|block| block.seq() == 0)).unwrap();
        let refused = part.import_update(0, &file([1, 3, 6])).expect_err("6 is before 9");
        assert_eq!(refused, ImportError::Stamp { peer: PeerId(1), seq: 1 });
    }
    #[test]
    fn an_operation_that_is_not_after_what_its_author_had_seen_is_refused() {
        let refused = Doc::new(PeerId(9)).import_update(0, &file([3, 9, 9]));
        assert_eq!(refused.err(), Some(ImportError::Stamp { peer: PeerId(1), seq: 1 }));
        assert!(Doc::new(PeerId(9)).import_update(0, &file([3, 9, 10])).is_ok());
    }

    #[test]
    fn what_follows_a_stretch_of_which_a_part_is_known_is_after_its_end() {
        let two = |stamp| file_of([1, 2], &[&[0, 3, 0], &[3, 1, 0]], &[3, stamp]);
        let mut known = Doc::new(PeerId(9));
        known.import_update(0, &file_of([1, 3], &[&[0, 1, 0], &[2, 1, 0]], &[3, 9])).unwrap();
        let refused = known.import_update(0, &two(5));
        assert_eq!(refused.err(), Some(ImportError::Stamp { peer: PeerId(2), seq: 0 }));
        known.import_update(0, &two(6)).unwrap();
        assert_eq!(known.counter("c"), 5);
    }

    #[test]
    fn an_author_has_seen_its_own_operations_whatever_an_update_says() {
        let mut doc = Doc::new(PeerId(9));
        let update = file_of([1, 2], &[&[0, 1, 0], &[2, 1, 0], &[0, 1]], &[3, 9, 12]);
        doc.import_update(0, &update).unwrap();
        let last = OpId::new(PeerId(1), 1);
        assert_eq!(doc.version_at(&[last]).unwrap().get(PeerId(1)), 2);
        assert_eq!(doc.frontier(), [last, OpId::new(PeerId(2), 0)]);
        // One that follows another's, which follows the author's own, says nothing more.
        let update = file_of([1, 2], &[&[0, 1, 0], &[3, 1, 0], &[1, 1]], &[3, 9, 12]);
        let mut doc = Doc::new(PeerId(9));
        doc.import_update(0, &update).unwrap();
        assert_eq!(doc.frontier(), [last]);
        assert_eq!(doc.encode_update(&crate::VersionVector::new()), update);
    }

    #[test]
    fn an_update_that_cuts_a_known_transaction_otherwise_is_refused() {
        let add = |doc: &mut Doc, times: usize| {
            doc.transact(0, |tx| (0..times).for_each(|_| tx.counter("c").add(1)));
        };
        let (mut apart, mut at_once) = (Doc::new(PeerId(1)), Doc::new(PeerId(1)));
        add(&mut apart, 1);
        add(&mut at_once, 2);
        let mut doc = Doc::new(PeerId(9));
        let update = |doc: &Doc| doc.encode_update(&crate::VersionVector::new());
        doc.import_update(0, &update(&apart)).unwrap();
        let refused = doc.import_update(0, &update(&at_once));
        assert_eq!(refused.err(), Some(ImportError::DuplicatePeer { peer: PeerId(1), seq: 1 }));
        add(&mut apart, 1);
        doc.import_update(0, &update(&apart)).unwrap();
        assert_eq!(doc.counter("c"), 2);
    }
}
