//! Giving up a transaction: the document is read anew from the log before it.
//!
//! Edits change states that only follow from the whole log, as the winner of a register or the
//! order of a tree's moves. Giving one up is rare, so none of them knows how to go back.

use crate::doc::Doc;
use crate::gather::Gather;
use crate::graph::Lv;
use crate::import::Import;

impl Doc {
    /// Takes back the operations from `start` on, which are a transaction in progress.
    pub(crate) fn roll_back(&mut self, start: Lv) {
        let base = self.history().graph.base();
        let mut before = self.at_base(self.peer());
        if base < start {
            // In the order in which they are here, so that local versions mean what they meant.
            let blocks = self.blocks_in((base, start)).map(|block| {
                let body = block.body().expect("a block of the document's own is sound");
                (block, body)
            });
            before.commit(blocks.gather(), &mut Import::default());
        }
        before.pending = std::mem::take(&mut self.pending);
        before.unknown_chunks = std::mem::take(&mut self.unknown_chunks);
        before.undo = std::mem::take(&mut self.undo);
        before.undo.forget_open();
        before.carry_undo(&self.containers);
        *self = before;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::histories::{assert_is_model, run, step};
    use crate::model::Model;
    use crate::rebase::tests::shown;
    use crate::{PeerId, Transaction, VersionVector, tree};

    /// Something of every kind, as far as there is something to change.
    fn scribble(tx: &mut Transaction<'_>, at: usize) {
        let len = tx.doc().text("x").len();
        tx.text("x").insert(at % (len + 1), "given up").unwrap();
        tx.text("x").delete(at % (len + 4), 4).unwrap();
        tx.text("new").insert(0, "never").unwrap();
        tx.map("m").set("0", "given up");
        tx.map("m").remove("1");
        tx.map("m").set("a key of its own", 1);
        tx.register("r").set("given up");
        tx.counter("c").add(1_000);
        let rows: Vec<_> = tx.doc().table("t").known().collect();
        if let Some(row) = rows.get(at % rows.len().max(1)) {
            tx.table("t").remove(*row).unwrap();
            tx.table("t").restore(*row).unwrap();
            tx.table("t").set(*row, "1", "given up").unwrap();
            tx.table("t").add(*row, "votes", 7).unwrap();
        }
        tx.table("t").insert([("0", 1), ("a field of its own", 2)]);
        let len = tx.doc().movable_list("l").len();
        tx.movable_list("l").insert(at % (len + 1), "given up").unwrap();
        tx.movable_list("l").move_to(0, at % (len + 1)).unwrap();
        tx.list("p").insert(0, "given up").unwrap();
        let first = tx.doc().tree("o").walk().next().map(|(_, node)| node);
        tx.tree("o").create(first, 0).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(
            std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
        ))]

        /// Whatever several people did, and undid, one who gives up a change now and then has what
        /// one has who never began it, and undoes and merges the same.
        #[test]
        fn what_is_given_up_was_never_there(
            steps in prop::collection::vec((any::<Index>(), step(), 0u64..9_000), 1..60),
            given_up in prop::collection::vec((any::<Index>(), any::<usize>()), 1..6),
        ) {
            let docs = || (1..4).map(|peer| Doc::new(PeerId(peer))).collect::<Vec<Doc>>();
            let (mut docs, mut others) = (docs(), docs());
            for (number, (who, step, wall_ms)) in steps.iter().enumerate() {
                for (at, place) in &given_up {
                    if at.index(steps.len()) == number {
                        let mut tx = docs[who.index(3)].begin(*wall_ms);
                        scribble(&mut tx, place % 50);
                    }
                }
                run(&mut docs, who.index(3), step, *wall_ms);
                run(&mut others, who.index(3), step, *wall_ms);
            }
            for (doc, other) in docs.iter_mut().zip(&mut others) {
                prop_assert_eq!(doc.version(), other.version());
                prop_assert_eq!(shown(doc), shown(other));
                prop_assert_eq!(tree::shown(doc, "o"), tree::shown(other, "o"));
                let blocks = doc.blocks_since(&VersionVector::new());
                prop_assert_eq!(&blocks, &other.blocks_since(&VersionVector::new()));
                assert_is_model(doc, &Model::of(&blocks));
                while other.undo(9_000).is_some() {
                    prop_assert!(doc.undo(9_000).is_some());
                    prop_assert_eq!(shown(doc), shown(other));
                }
                prop_assert!(doc.undo(9_000).is_none());
            }
        }
    }

    #[test]
    fn a_panic_gives_up_what_was_written_before_it() {
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("x").insert(0, "kept")).0.unwrap();
        let edit = AssertUnwindSafe(|| {
            doc.transact(0, |tx| {
                tx.text("x").insert(0, "not ").unwrap();
                panic!("in the middle");
            });
        });
        assert!(catch_unwind(edit).is_err());
        assert_eq!(doc.text("x").to_string(), "kept");
        doc.transact(0, |tx| tx.text("x").insert(4, "!")).0.unwrap();
        let mut copy = Doc::new(PeerId(2));
        copy.import(0, doc.blocks_since(&VersionVector::new())).unwrap();
        assert_eq!(copy.text("x").to_string(), "kept!");
        doc.undo(0);
        doc.undo(0);
        assert_eq!((doc.text("x").to_string(), doc.can_undo()), (String::new(), false));
    }

    #[test]
    fn a_trimmed_document_and_what_waits_in_it_outlive_what_is_given_up() {
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("x").insert(0, "a long draft")).0.unwrap();
        doc.transact(0, |tx| tx.counter("c").add(5));
        doc.trim_history(&doc.version().clone()).unwrap();
        doc.transact(2_000, |tx| tx.text("x").insert(12, "!")).0.unwrap();
        let mut other = Doc::new(PeerId(2));
        other.transact(0, |tx| tx.counter("c").add(1));
        let first = other.version().clone();
        other.transact(0, |tx| tx.counter("c").add(1));
        doc.import(0, other.blocks_since(&first)).unwrap();
        assert_eq!(doc.pending_count(), 1);
        let (start, before) = (doc.history_start().clone(), doc.encode_snapshot());
        scribble(&mut doc.begin(0), 3);
        assert_eq!((doc.history_start(), doc.pending_count()), (&start, 1));
        assert_eq!(doc.encode_snapshot(), before);
        doc.undo(0);
        assert_eq!(doc.text("x").to_string(), "a long draft");
        assert_eq!(doc.counter("c"), 5);
    }
}
