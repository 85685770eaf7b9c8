//! Transactions over several documents.

use std::cell::RefMut;

use leptos_sync_crdt::{Commit, Doc, DocId, Transaction};

use crate::engine::SyncEngine;
use crate::handle::DocHandle;

/// Why a transaction over several documents was not made. Nothing has changed in any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactError<E> {
    /// The document at this place, counted from 0, is not open in this engine.
    #[error("the document at place {0} is not open")]
    NotOpen(usize),
    /// The document at this place was given before.
    #[error("the document at place {0} was given before")]
    Twice(usize),
    /// The document at this place is being read or changed by whoever called.
    #[error("the document at place {0} is being read or changed")]
    InUse(usize),
    /// What is stored of the document at this place is damaged, so it cannot be stored with the
    /// others. The status says so, too.
    #[error("what is stored of the document at place {0} is damaged")]
    Damaged(usize),
    /// What the closure returned.
    #[error("{0}")]
    Refused(E),
}

impl SyncEngine {
    /// Changes several documents as one step: a card moves from one board's document to
    /// another's, an amount from one account's to another's.
    ///
    /// `edit` gets a transaction for each document, in the order of `docs`. If it returns an error
    /// or panics, nothing has changed in any of them. Otherwise subscribers hear of the changes
    /// when all are made, they are stored in one write, so that after a crash all are there or
    /// none, and other tabs of this device take them in at once. They are one step of undo in each
    /// document.
    ///
    /// Servers and other devices keep each document by itself: there one may be seen before the
    /// other, for the moment between, or for as long as somebody may read or write one only.
    /// Nobody sees half of what was changed in one document. An id of a row or an element means
    /// something in its own document only.
    ///
    /// ```
    /// use leptos_sync_engine::{DocHandle, SyncEngine, TransactError};
    ///
    /// fn pay(
    ///     engine: &SyncEngine,
    ///     from: &DocHandle,
    ///     to: &DocHandle,
    ///     amount: i64,
    /// ) -> Result<(), TransactError<&'static str>> {
    ///     engine.transact_all([from, to], |[from, to]| {
    ///         from.counter("balance").add(-amount);
    ///         to.counter("balance").add(amount);
    ///         let left = from.doc().counter("balance");
    ///         if left < 0 { Err("not enough") } else { Ok(()) }
    ///     })
    /// }
    /// # let _ = pay;
    /// ```
    ///
    /// # Errors
    /// A [`TransactError`]; nothing has changed then.
    pub fn transact_all<const N: usize, R, E>(
        &self,
        docs: [&DocHandle; N],
        edit: impl FnOnce(&mut [Transaction<'_>; N]) -> Result<R, E>,
    ) -> Result<R, TransactError<E>> {
        self.transact_each(&docs, |open| {
            edit(open.try_into().expect("there is a transaction for each document"))
        })
    }

    /// As [`SyncEngine::transact_all`], of as many documents as there happen to be.
    ///
    /// # Errors
    /// A [`TransactError`]; nothing has changed then.
    pub fn transact_each<R, E>(
        &self,
        docs: &[&DocHandle],
        edit: impl FnOnce(&mut [Transaction<'_>]) -> Result<R, E>,
    ) -> Result<R, TransactError<E>> {
        let mut contents = self.borrow_all(docs)?;
        let wall_ms = self.inner.core.borrow().wall_ms(self.inner.now());
        let mut open: Vec<Transaction<'_>> =
            contents.iter_mut().map(|content| content.begin(wall_ms)).collect();
        // What is dropped before it is committed has never been.
        let answer = edit(&mut open).map_err(TransactError::Refused)?;
        let commits: Vec<Option<Commit>> = open.into_iter().map(Transaction::commit).collect();
        drop(contents);
        let ids = docs.iter().map(|doc| doc.id().clone());
        let commits = ids.zip(commits).filter_map(|(id, commit)| Some((id, commit?)));
        let commits: Vec<(DocId, Commit)> = commits.collect();
        if !commits.is_empty() {
            self.inner.with(|core, now| core.committed(now, commits));
        }
        Ok(answer)
    }

    fn borrow_all<'d, E>(
        &self,
        docs: &[&'d DocHandle],
    ) -> Result<Vec<RefMut<'d, Doc>>, TransactError<E>> {
        let core = self.inner.core.borrow();
        let mut contents = Vec::new();
        for (place, doc) in docs.iter().enumerate() {
            if !doc.is_of(&self.inner) {
                return Err(TransactError::NotOpen(place));
            }
            if docs[..place].iter().any(|other| other.id() == doc.id()) {
                return Err(TransactError::Twice(place));
            }
            if !core.can_store(doc.id()) {
                return Err(TransactError::Damaged(place));
            }
            let content = doc.content().try_borrow_mut();
            contents.push(content.map_err(|_| TransactError::InUse(place))?);
        }
        Ok(contents)
    }
}
