//! Texts that are edited together, as signals.

use std::panic::Location;
use std::rc::Rc;

use leptos::prelude::{DefinedAt, IsDisposed, ReadUntracked, Track};
use leptos_sync_engine::{ContainerId, Doc, TextError};

use crate::field::{FieldGuard, RowRef};
use crate::local::Local;
use crate::pulse::Topic;
use crate::state::DocState;

/// A text at the top of a document.
pub(crate) struct RootText {
    pub(crate) state: Rc<DocState>,
    pub(crate) id: ContainerId,
}

#[derive(Clone, Copy)]
enum Place {
    Root(Local<RootText>),
    Cell(RowRef, &'static str),
}

/// A text edited together, character by character. `Copy`; a signal of the whole text.
///
/// Show and edit it with [`CollaborativeTextarea`](crate::CollaborativeTextarea), or with the
/// methods here. Positions count Unicode scalar values (`char`s).
#[derive(Clone, Copy)]
pub struct SyncText(Place);

impl std::fmt::Debug for SyncText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SyncText").field(&self.container()).finish()
    }
}

impl SyncText {
    pub(crate) fn root(text: Local<RootText>) -> Self {
        Self(Place::Root(text))
    }

    pub(crate) fn cell(row: RowRef, name: &'static str) -> Self {
        Self(Place::Cell(row, name))
    }

    pub(crate) fn container(&self) -> Option<ContainerId> {
        self.locate().map(|(_, id)| id)
    }

    /// The document it is in and its place there; `None` on the server and once disposed.
    pub(crate) fn locate(&self) -> Option<(Rc<DocState>, ContainerId)> {
        match self.0 {
            Place::Root(text) => text.get().map(|text| (text.state.clone(), text.id.clone())),
            Place::Cell(row, name) => Some((row.table.get()?.doc.clone(), row.container(name)?)),
        }
    }

    /// The number of characters. Reactive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.track();
        self.read(|doc, id| doc.text(id).len()).unwrap_or(0)
    }

    /// Whether it has no character. Reactive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The characters from `start` to `end` (exclusive), as far as there are any. Reactive, and
    /// cheap in a long text where the whole is not.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> String {
        self.track();
        self.read(|doc, id| doc.text(id).slice(start, end)).unwrap_or_default()
    }

    /// Inserts `content` before the character at `pos`, or at the end if `pos` is the length.
    ///
    /// # Errors
    /// [`TextError`] if `pos` is past the end or `content` is too long; nothing changed then.
    pub fn insert(&self, pos: usize, content: &str) -> Result<(), TextError> {
        self.splice(pos, 0, content)
    }

    /// Replaces `deleted` characters from `pos` on by `content`, as one change.
    ///
    /// Without a document behind the handle, as on the server, nothing happens. Inside
    /// [`SyncDoc::transact`](crate::SyncDoc::transact) the edit is made at its end, and one that is
    /// refused then is only logged.
    ///
    /// # Errors
    /// [`TextError`] if the range reaches past the end or `content` is too long; nothing changed
    /// then.
    pub fn splice(&self, pos: usize, deleted: usize, content: &str) -> Result<(), TextError> {
        let Some((doc, id)) = self.locate() else { return Ok(()) };
        if doc.is_in_transaction() {
            let content = content.to_owned();
            doc.edit(move |tx| {
                if let Err(error) = tx.text(id).splice(pos, deleted, &content) {
                    leptos::logging::error!("an edit was refused: {error}");
                }
            });
            return Ok(());
        }
        doc.transact(|tx| tx.text(id).splice(pos, deleted, content)).unwrap_or(Ok(()))
    }

    fn read<R>(&self, read: impl FnOnce(&Doc, ContainerId) -> R) -> Option<R> {
        let (state, id) = self.locate()?;
        Some(state.read(|doc| read(doc, id)))
    }
}

impl DefinedAt for SyncText {
    fn defined_at(&self) -> Option<&'static Location<'static>> {
        None
    }
}

impl IsDisposed for SyncText {
    fn is_disposed(&self) -> bool {
        match self.0 {
            Place::Root(text) => text.is_disposed(),
            Place::Cell(row, _) => row.table.is_disposed(),
        }
    }
}

impl Track for SyncText {
    fn track(&self) {
        if let Some((state, id)) = self.locate() {
            state.pulses.track(|| Topic::Container(id));
        }
    }
}

impl ReadUntracked for SyncText {
    type Value = FieldGuard<String>;

    fn try_read_untracked(&self) -> Option<FieldGuard<String>> {
        match self.read(|doc, id| doc.text(id).to_string()) {
            Some(text) => Some(FieldGuard::new(text)),
            None if self.is_disposed() => None,
            None => Some(FieldGuard::new(String::new())),
        }
    }
}
