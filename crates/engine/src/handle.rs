//! [`DocHandle`]: one user's hold on an open document.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use leptos_sync_crdt::{Commit, Doc, DocId, Transaction};
use leptos_sync_protocol::PresencePeer;
use leptos_sync_storage::planted;

use crate::engine::{Inner, SyncEngine};
use crate::event::{DocEvent, Subscription};
use crate::status::{DocStatus, SyncState};

/// An open document: read it, change it, watch it. Clones are the same hold; when the last one is
/// dropped, the document is closed as soon as its changes are safe.
#[derive(Clone)]
pub struct DocHandle {
    hold: Rc<Hold>,
}

struct Hold {
    inner: Rc<Inner>,
    id: DocId,
    content: Rc<RefCell<Doc>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let id = &self.id;
        self.inner.with(|core, now| core.close(now, id));
    }
}

impl fmt::Debug for DocHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocHandle").field("id", &self.hold.id).finish_non_exhaustive()
    }
}

impl PartialEq for DocHandle {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.hold, &other.hold)
    }
}

impl DocHandle {
    pub(crate) fn new(inner: Rc<Inner>, id: DocId, content: Rc<RefCell<Doc>>) -> Self {
        Self { hold: Rc::new(Hold { inner, id, content }) }
    }

    /// Which document it is.
    #[must_use]
    pub fn id(&self) -> &DocId {
        &self.hold.id
    }

    /// The engine that keeps it.
    #[must_use]
    pub fn engine(&self) -> SyncEngine {
        SyncEngine { inner: self.hold.inner.clone() }
    }

    pub(crate) fn content(&self) -> &RefCell<Doc> {
        &self.hold.content
    }

    pub(crate) fn is_of(&self, engine: &Rc<Inner>) -> bool {
        Rc::ptr_eq(&self.hold.inner, engine)
    }

    /// Whether what was stored on this device is in the content.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.hold.inner.core.borrow().is_loaded(&self.hold.id)
    }

    /// Reads the content.
    ///
    /// # Panics
    /// If called from within a [`DocHandle::transact`] on the same document; read through the
    /// transaction there.
    pub fn read<R>(&self, read: impl FnOnce(&Doc) -> R) -> R {
        let content = self.hold.content.try_borrow();
        read(&content.expect("a document is not read through its handle while it is changed"))
    }

    /// Changes the content as one step: in memory at once, then on this device, then in other tabs
    /// and on the server. If `edit` panics, nothing has changed. [`SyncEngine::transact_all`]
    /// changes several documents at once, and can be refused.
    ///
    /// # Panics
    /// If called from within a read or change of the same document.
    pub fn transact<R>(&self, edit: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        let (answer, commit) = self.change(|doc, wall_ms| doc.transact(wall_ms, edit));
        self.publish(commit);
        answer
    }

    /// Takes back this tab's last change that is not taken back yet; whether there was one.
    ///
    /// # Panics
    /// As [`DocHandle::transact`].
    pub fn undo(&self) -> bool {
        let commit = self.change(Doc::undo).filter(|_| !planted!(UndoStaysInMemory));
        self.publish(commit)
    }

    /// Does again what was last undone; whether there was something.
    ///
    /// # Panics
    /// As [`DocHandle::transact`].
    pub fn redo(&self) -> bool {
        let commit = self.change(Doc::redo);
        self.publish(commit)
    }

    /// Whether [`DocHandle::undo`] would do something.
    #[must_use]
    pub fn can_undo(&self) -> bool {
        self.read(Doc::can_undo)
    }

    /// Whether [`DocHandle::redo`] would do something.
    #[must_use]
    pub fn can_redo(&self) -> bool {
        self.read(Doc::can_redo)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Doc, u64) -> R) -> R {
        let inner = &self.hold.inner;
        let wall_ms = inner.core.borrow().wall_ms(inner.now());
        let content = self.hold.content.try_borrow_mut();
        change(&mut content.expect("a document is changed by one caller at a time"), wall_ms)
    }

    fn publish(&self, commit: Option<Commit>) -> bool {
        let Some(commit) = commit else { return false };
        let id = &self.hold.id;
        self.hold.inner.with(|core, now| core.committed(now, vec![(id.clone(), commit)]));
        true
    }

    /// Calls back with everything that happens to the document.
    pub fn subscribe(&self, callback: impl FnMut(&DocEvent) + 'static) -> Subscription {
        self.hold.inner.subscribe_doc(&self.hold.id, callback)
    }

    /// Where the document stands.
    #[must_use]
    pub fn status(&self) -> DocStatus {
        let status = self.hold.inner.core.borrow().doc_status(&self.hold.id);
        status.unwrap_or(DocStatus {
            loaded: false,
            state: SyncState::Offline,
            pending: 0,
            saved_here: true,
            reason: None,
        })
    }

    /// What others should see of this tab's user here, at most 4 KiB; `None` to be gone.
    pub fn set_presence(&self, payload: Option<Vec<u8>>) {
        let id = &self.hold.id;
        self.hold.inner.with(|core, now| core.set_presence(now, id, payload));
    }

    /// Who else is in the document.
    #[must_use]
    pub fn peers(&self) -> Vec<PresencePeer> {
        self.hold.inner.core.borrow().peers(&self.hold.id)
    }
}
