//! The changes that a *sketch* is made of, each known by what stays when it is written again.
//!
//! What is in a sketch does not tell which changes made it: undo takes things back, moves hide
//! earlier ones. So each change, undo and redo included, is known by its block. Its name may come
//! to be another, but its stamp stays, and the new author's id is a little above the old one: see
//! [`Block::successor`]. With that a sketch has tokens as a ledger has, and the same is promised
//! of them.

use std::collections::{BTreeMap, BTreeSet};

use leptos_sync_crdt::{Block, Doc, PeerId, Stamp, VersionVector};

use crate::ledger::Token;

/// How far above its author's id a change may be: it may be written again a few times, each time
/// at most 2^32 above.
const AUTHORS_APART_MAX: u64 = 1 << 36;

/// Which token each change is.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    by_stamp: BTreeMap<Stamp, Vec<(PeerId, Token)>>,
}

impl Changes {
    /// Notes a change that was just made.
    pub(crate) fn note(&mut self, block: &Block, token: Token) {
        let of_stamp = self.by_stamp.entry(block.header().stamp).or_default();
        of_stamp.push((block.peer(), token));
    }

    fn token(&self, block: &Block) -> Option<Token> {
        let of_stamp = self.by_stamp.get(&block.header().stamp)?;
        let is_author = |author: &PeerId| block.peer().0.wrapping_sub(author.0) < AUTHORS_APART_MAX;
        of_stamp.iter().find(|(author, _)| is_author(author)).map(|(_, token)| *token)
    }

    /// The tokens that a sketch holds, those taken back included.
    ///
    /// # Errors
    /// A sentence that says what cannot be.
    pub(crate) fn read(&self, doc: &Doc) -> Result<BTreeSet<Token>, String> {
        let (left, right) = (doc.counter("left"), doc.counter("right"));
        if left + right != 0 {
            return Err(format!("half a transaction: the counters say {left} and {right}"));
        }
        let mut tokens = BTreeSet::new();
        for block in doc.blocks_since(&VersionVector::new()) {
            let Some(token) = self.token(&block) else {
                return Err(format!("nobody made the change {:?}", block.header()));
            };
            if !tokens.insert(token) {
                return Err(format!("the change {token} is there twice"));
            }
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::OpId;

    use super::*;

    #[test]
    fn a_change_that_is_written_again_keeps_its_token() {
        let mut doc = Doc::new(PeerId(7));
        let mut changes = Changes::default();
        for token in 0..3 {
            let (_, commit) = doc.transact(0, |tx| tx.register("x").set(i64::from(token)));
            changes.note(&doc.block(&commit.expect("it changed something")), token);
        }
        let before = changes.read(&doc).expect("all are known");
        doc.reauthor_all(OpId::new(PeerId(7), 1), &VersionVector::new()).expect("nobody knows it");
        assert_eq!(doc.version().get(PeerId(7)), 1);
        assert_eq!(changes.read(&doc), Ok(before));
        doc.set_peer(PeerId(1 << 40));
        doc.transact(0, |tx| tx.register("x").set(3i64));
        assert!(changes.read(&doc).is_err(), "what nobody made is named");
    }
}
