//! Transactions over several documents.

use leptos_sync_engine::{DocHandle, TransactError};

use crate::doc::{SyncDoc, Tx};
use crate::state::Opened;

/// Changes several documents as one step: all of them, or none if `edit` returns an error.
///
/// On this device the changes are stored in one write, signals and listeners hear of them when all
/// are made, and other tabs take them in at once. Servers and other devices keep each document by
/// itself: there one may be seen a moment before the other. They are one step of undo in each
/// document.
///
/// Inside, read and write through the arguments, one for each document. What is written to these
/// documents through signals, collections and texts inside becomes part of the change too, at its
/// end. A row that moves gets a new id: a row is one of its document.
///
/// ```
/// use leptos_sync::prelude::*;
///
/// #[derive(Clone, Debug, PartialEq, Record)]
/// struct Card {
///     title: String,
/// }
///
/// /// Moves a card to another board's document.
/// fn move_card(row: Row<Card>, from: SyncDoc, to: SyncDoc) -> Result<(), TransactError<()>> {
///     let cards = to.collection::<Card>("cards");
///     transact_all([from, to], |[from, to]| {
///         let card = from.read(row).ok_or(())?;
///         from.remove(row);
///         to.insert_into(cards, &card);
///         Ok(())
///     })
/// }
/// # let _ = move_card;
/// ```
///
/// # Errors
/// A [`TransactError`]; nothing has changed then. Where there is no document behind a handle, as
/// on the server, it is [`TransactError::NotOpen`], and inside a transaction of one of the
/// documents [`TransactError::InUse`].
///
/// # Panics
/// If a signal of one of the documents is read inside.
pub fn transact_all<const N: usize, R, E>(
    docs: [SyncDoc; N],
    edit: impl FnOnce(&mut [Tx<'_, '_>; N]) -> Result<R, E>,
) -> Result<R, TransactError<E>> {
    let mut states = Vec::with_capacity(N);
    for (place, doc) in docs.iter().enumerate() {
        let state = doc.state().ok_or(TransactError::NotOpen(place))?;
        if state.is_in_transaction() {
            return Err(TransactError::InUse(place));
        }
        states.push(state);
    }
    let handles: [&DocHandle; N] = std::array::from_fn(|place| &states[place].handle);
    let engine = handles.first().ok_or(TransactError::NotOpen(0))?.engine();
    engine.transact_all(handles, |open| {
        let opened: Vec<Opened<'_>> = states.iter().map(|state| Opened::new(state)).collect();
        let answer = edit(&mut open.each_mut().map(|tx| Tx { tx }))?;
        for (opened, tx) in opened.into_iter().zip(open) {
            opened.close().into_iter().for_each(|edit| edit(tx));
        }
        Ok(answer)
    })
}
