//! Documents in components: `use_doc` and what can be done with one.

use std::cell::RefCell;
use std::rc::Rc;

use leptos::prelude::{Owner, StoredValue, on_cleanup};
use leptos::reactive::owner::{LocalStorage, WeakOwner};
use leptos::reactive::traits::GetValue;
use leptos_sync_engine::{
    ContainerId, DocId, DocIdError, DocStatus, FieldValue, Record, RowId, SyncState, Transaction,
    insert_record,
};
use litemap::LiteMap;

use crate::collection::{LocalFirstCollection, Row, TableState};
use crate::context::use_sync;
use crate::field::{CounterField, Field, RecordFields};
use crate::local::Local;
use crate::presence::Presence;
use crate::pulse::Topic;
use crate::state::{ChangeEvent, DocState};
use crate::text::{RootText, SyncText};

/// What names a document: a [`DocId`], or a text that may or may not be one.
pub trait IntoDocId {
    /// The id.
    ///
    /// # Errors
    /// [`DocIdError`] says which rule the text breaks.
    fn into_doc_id(self) -> Result<DocId, DocIdError>;
}

impl IntoDocId for DocId {
    fn into_doc_id(self) -> Result<DocId, DocIdError> {
        Ok(self)
    }
}

impl IntoDocId for &DocId {
    fn into_doc_id(self) -> Result<DocId, DocIdError> {
        Ok(self.clone())
    }
}

impl IntoDocId for &str {
    fn into_doc_id(self) -> Result<DocId, DocIdError> {
        DocId::new(self)
    }
}

impl IntoDocId for String {
    fn into_doc_id(self) -> Result<DocId, DocIdError> {
        DocId::new(self)
    }
}

impl IntoDocId for &String {
    fn into_doc_id(self) -> Result<DocId, DocIdError> {
        DocId::new(self)
    }
}

/// One handle's share of a document: the handles made from it live as long as it does.
pub(crate) struct DocNode {
    pub(crate) state: Rc<DocState>,
    owner: Option<WeakOwner>,
    tables: RefCell<LiteMap<String, Local<TableState>>>,
    texts: RefCell<LiteMap<String, Local<RootText>>>,
}

impl DocNode {
    /// Makes a handle that lives as long as the document's, wherever it is asked for: in an event
    /// handler there is no owner, and a handle made there would never go.
    fn owned<T>(&self, make: impl FnOnce() -> T) -> T {
        match self.owner.as_ref().and_then(WeakOwner::upgrade) {
            Some(owner) => owner.with(make),
            None => make(),
        }
    }

    pub(crate) fn table(self: &Rc<Self>, name: &str) -> Local<TableState> {
        if let Some(table) = self.tables.borrow().get(name) {
            return *table;
        }
        let state = Rc::new(TableState::new(self.state.clone(), name));
        let table = self.owned(|| Local::new(state));
        self.tables.borrow_mut().insert(name.to_owned(), table);
        table
    }

    fn text(self: &Rc<Self>, name: &str) -> Local<RootText> {
        if let Some(text) = self.texts.borrow().get(name) {
            return *text;
        }
        let root = RootText { state: self.state.clone(), id: ContainerId::root(name) };
        let text = self.owned(|| Local::new(Rc::new(root)));
        self.texts.borrow_mut().insert(name.to_owned(), text);
        text
    }
}

/// A document: the unit of sync and of permission. `Copy`; lives as long as the component that
/// called [`use_doc`].
#[derive(Clone, Copy)]
pub struct SyncDoc {
    id: StoredValue<Result<DocId, DocIdError>>,
    node: Local<DocNode>,
}

impl std::fmt::Debug for SyncDoc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SyncDoc").field(&self.id.try_get_value()).finish()
    }
}

/// Opens a document, or joins those who have it open already.
///
/// It is there at once; what is stored and what the server has arrive as changes. A text that is
/// no [`DocId`] opens a document that stays empty, takes no writes and says so in
/// [`SyncDoc::error`]; use [`try_use_doc`] for ids that a person typed.
///
/// # Panics
/// If no component above called [`provide_sync`](crate::provide_sync).
pub fn use_doc(id: impl IntoDocId) -> SyncDoc {
    match id.into_doc_id() {
        Ok(id) => open(id),
        Err(error) => {
            leptos::logging::error!("use_doc: {error}");
            SyncDoc { id: StoredValue::new(Err(error)), node: Local::none() }
        }
    }
}

/// As [`use_doc`], but refuses what is no document id.
///
/// # Errors
/// [`DocIdError`] says which rule the id breaks; nothing was opened.
///
/// # Panics
/// If no component above called [`provide_sync`](crate::provide_sync).
pub fn try_use_doc(id: impl IntoDocId) -> Result<SyncDoc, DocIdError> {
    id.into_doc_id().map(open)
}

fn open(id: DocId) -> SyncDoc {
    let node = match use_sync().shared.get() {
        Some(shared) => Local::new(Rc::new(DocNode {
            state: {
                let state = shared.open(&id);
                state.presence.init_user(&shared.user);
                state
            },
            owner: Owner::current().map(|owner| owner.downgrade()),
            tables: RefCell::default(),
            texts: RefCell::default(),
        })),
        None => Local::none(),
    };
    SyncDoc { id: StoredValue::new(Ok(id)), node }
}

impl SyncDoc {
    /// Its id; `None` if the handle is disposed or the id was none.
    #[must_use]
    pub fn id(&self) -> Option<DocId> {
        self.id.try_get_value()?.ok()
    }

    /// Why there is no such document, if its id is none.
    #[must_use]
    pub fn error(&self) -> Option<DocIdError> {
        self.id.try_get_value()?.err()
    }

    pub(crate) fn state(&self) -> Option<Rc<DocState>> {
        Some(self.node.get()?.state.clone())
    }

    /// The rows of a table, as records.
    #[must_use]
    pub fn collection<T: RecordFields>(&self, name: &str) -> LocalFirstCollection<T> {
        let table = self.node.get().map_or(Local::none(), |node| node.table(name));
        LocalFirstCollection::new(table)
    }

    /// The text called `name` at the top of the document.
    #[must_use]
    pub fn text(&self, name: &str) -> SyncText {
        SyncText::root(self.node.get().map_or(Local::none(), |node| node.text(name)))
    }

    /// Makes several edits one change: atomic everywhere, and one step of undo. `None` if there is
    /// no document behind the handle, or inside another `transact`; `edit` was not called then.
    ///
    /// Inside, read and write through the argument. What is written through signals, collections
    /// and texts inside becomes part of the change too, at its end. For several documents, and for
    /// changes that may be given up, there is [`transact_all`](crate::transact_all).
    ///
    /// # Panics
    /// If a signal of the document is read inside.
    pub fn transact<R>(&self, edit: impl FnOnce(&mut Tx<'_, '_>) -> R) -> Option<R> {
        self.state()?.transact(|tx| edit(&mut Tx { tx }))
    }

    /// Takes back this tab's latest change, if there is one. Does nothing inside `transact`.
    pub fn undo(&self) {
        if let Some(state) = self.state().filter(|state| !state.is_in_transaction()) {
            state.handle.undo();
        }
    }

    /// Makes the change again that was taken back last, if there is one. Does nothing inside
    /// `transact`.
    pub fn redo(&self) {
        if let Some(state) = self.state().filter(|state| !state.is_in_transaction()) {
            state.handle.redo();
        }
    }

    /// Whether there is something to undo. Reactive.
    #[must_use]
    pub fn can_undo(&self) -> bool {
        self.state().is_some_and(|state| {
            state.pulses.track(|| Topic::Undo);
            state.history().0
        })
    }

    /// Whether there is something to redo. Reactive.
    #[must_use]
    pub fn can_redo(&self) -> bool {
        self.state().is_some_and(|state| {
            state.pulses.track(|| Topic::Undo);
            state.history().1
        })
    }

    /// Where the document stands with storage and server. Reactive.
    #[must_use]
    pub fn status(&self) -> DocStatus {
        let unknown = DocStatus {
            loaded: false,
            state: SyncState::Connecting,
            pending: 0,
            saved_here: true,
            reason: None,
        };
        self.state().map_or(unknown, |state| state.status())
    }

    /// Whether what is stored on this device has been read. Reactive.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.state().is_some_and(|state| {
            state.pulses.track(|| Topic::Loaded);
            state.handle.is_loaded()
        })
    }

    /// The others in this document, and what each shows of itself. From the first call on, this
    /// tab shows its user to the others too.
    #[must_use]
    pub fn presence<T: FieldValue>(&self) -> Presence<T> {
        if let Some(state) = self.state() {
            state.presence.join(&state.handle);
        }
        Presence::new(self.node)
    }

    /// Calls `listener` after each change, until the calling component goes.
    pub fn on_change(&self, listener: impl FnMut(&ChangeEvent) + 'static) {
        let Some(state) = self.state() else { return };
        keep(state.listen(listener));
    }
}

/// Keeps a value of this thread until the current owner goes; without one, forever.
pub(crate) fn keep<T: 'static>(value: T) {
    let kept = StoredValue::<T, LocalStorage>::new_local(value);
    on_cleanup(move || leptos::prelude::Dispose::dispose(kept));
}

/// An open transaction: edits of one change. Everything that
/// [`Transaction`] can do, and edits through typed handles.
pub struct Tx<'t, 'a> {
    pub(crate) tx: &'t mut Transaction<'a>,
}

impl std::fmt::Debug for Tx<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

impl<'a> std::ops::Deref for Tx<'_, 'a> {
    type Target = Transaction<'a>;

    fn deref(&self) -> &Self::Target {
        self.tx
    }
}

impl std::ops::DerefMut for Tx<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.tx
    }
}

impl Tx<'_, '_> {
    /// Adds a record to a collection of this document.
    pub fn insert_into<T: RecordFields>(
        &mut self,
        collection: LocalFirstCollection<T>,
        record: &T,
    ) -> Option<Row<T>> {
        let table = collection.table.get()?;
        let row = insert_record(self.tx, &table.name, record);
        Some(collection.row(row))
    }

    /// Replaces the value of a field.
    pub fn set<T: FieldValue>(&mut self, field: Field<T>, value: &T) {
        field.write_in(self.tx, value.to_value());
    }

    /// The value of a field as this transaction sees it.
    #[must_use]
    pub fn get<T: FieldValue>(&self, field: Field<T>) -> T {
        field.read_in(self.tx.doc())
    }

    /// Adds to a counter.
    pub fn add(&mut self, counter: CounterField, amount: i64) {
        if let Some(id) = counter.container() {
            self.tx.counter(id).add(amount);
        }
    }

    /// Removes a row.
    pub fn remove<T: RecordFields>(&mut self, row: Row<T>) {
        if let Some(table) = row.raw.table.get() {
            // A row that is not known is not there, which is what was asked for.
            let _ = self.tx.table(&table.name).remove(row.id());
        }
    }

    /// A row as this transaction sees it; `None` if it is removed or is no such record.
    #[must_use]
    pub fn read<T: Record + RecordFields>(&self, row: Row<T>) -> Option<T> {
        let table = row.raw.table.get()?;
        table.record(self.tx.doc(), row.id())
    }

    /// The id of a row's or a document's text, for [`Transaction::text`].
    #[must_use]
    pub fn text_id(&self, text: SyncText) -> Option<ContainerId> {
        text.container()
    }
}

/// Where a row came from, for code that has only its id.
impl<T: RecordFields> From<Row<T>> for RowId {
    fn from(row: Row<T>) -> Self {
        row.id()
    }
}
