//! One open document as the reactive layer sees it: who reads what, and who listens.
//!
//! All handles to a document share one [`DocState`], and it follows the engine with one
//! subscription. Patches become notifications of exactly the topics they name.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use leptos_sync_engine::{
    ContainerId, Doc, DocEvent, DocHandle, DocStatus, Origin, Patch, RowChange, RowId,
    Subscription, TextDelta, Transaction,
};
use litemap::LiteMap;

use crate::presence::OwnPresence;
use crate::pulse::{Pulses, Topic, Triggers};

/// A text that changes in more places at once, as when much of it arrives, is shown anew.
const TEXT_EDITS_MAX: usize = 64;

/// Something that follows the rows of a table, such as a live query.
pub(crate) trait RowWatcher {
    /// These rows may have changed, come or gone.
    fn rows_changed(&self, doc: &Doc, rows: &BTreeSet<RowId>, triggers: &mut Triggers);
    /// Anything may have changed.
    fn reload(&self, doc: &Doc, triggers: &mut Triggers);
}

/// What a text's listener hears.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "for the textarea"))]
pub(crate) enum TextNews<'a> {
    /// The text was edited.
    Edited { delta: &'a [TextDelta] },
    /// The text may be another one altogether.
    Reloaded,
}

type Watchers = Vec<Weak<dyn RowWatcher>>;
type TextListener = Rc<dyn Fn(&TextNews<'_>)>;
type ChangeListener = Rc<RefCell<dyn FnMut(&ChangeEvent)>>;
pub(crate) type Deferred = Box<dyn FnOnce(&mut Transaction<'_>)>;

/// A change of a document, for [`SyncDoc::on_change`](crate::SyncDoc::on_change).
#[derive(Clone, Debug)]
pub struct ChangeEvent {
    /// Who made it: this tab, another tab, or somebody else.
    pub origin: Origin,
    /// What changed, in order.
    pub patches: Rc<[Patch]>,
}

/// What all handles to one document share.
pub(crate) struct DocState {
    pub(crate) handle: DocHandle,
    pub(crate) pulses: Pulses,
    pub(crate) presence: OwnPresence,
    watchers: RefCell<LiteMap<Arc<str>, Watchers>>,
    texts: RefCell<Vec<(u64, ContainerId, TextListener)>>,
    listeners: RefCell<Vec<(u64, ChangeListener)>>,
    next_id: Cell<u64>,
    history: Cell<(bool, bool)>,
    // The edits that setters made while `transact` runs, to become part of its change.
    deferred: RefCell<Option<Vec<Deferred>>>,
    subscription: RefCell<Option<Subscription>>,
}

impl DocState {
    pub(crate) fn new(handle: DocHandle) -> Rc<Self> {
        let state = Rc::new(Self {
            handle,
            pulses: Pulses::default(),
            presence: OwnPresence::default(),
            watchers: RefCell::default(),
            texts: RefCell::default(),
            listeners: RefCell::default(),
            next_id: Cell::new(0),
            history: Cell::new((false, false)),
            deferred: RefCell::default(),
            subscription: RefCell::default(),
        });
        let weak = Rc::downgrade(&state);
        let subscription = state.handle.subscribe(move |event| {
            if let Some(state) = weak.upgrade() {
                state.heard(event);
            }
        });
        *state.subscription.borrow_mut() = Some(subscription);
        state
    }

    /// Reads the document.
    ///
    /// # Panics
    /// If called inside [`DocState::transact`].
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Doc) -> R) -> R {
        assert!(
            !self.is_in_transaction(),
            "inside `transact` a document is read through the transaction, not through signals"
        );
        self.handle.read(read)
    }

    /// Whether [`DocState::transact`] is running.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.deferred.borrow().is_some()
    }

    /// Makes one change; inside another `transact` the edit becomes part of that one.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Transaction<'_>) + 'static) {
        if let Some(deferred) = self.deferred.borrow_mut().as_mut() {
            deferred.push(Box::new(edit));
            return;
        }
        self.handle.transact(edit);
    }

    /// Makes one change and returns what `edit` returned; `None` inside another `transact`.
    pub(crate) fn transact<R>(&self, edit: impl FnOnce(&mut Transaction<'_>) -> R) -> Option<R> {
        if self.is_in_transaction() {
            return None;
        }
        let result = self.handle.transact(|tx| {
            let open = Opened::new(self);
            let result = edit(tx);
            for edit in open.close() {
                edit(tx);
            }
            result
        });
        Some(result)
    }

    /// Whether there is something to undo, and to redo.
    pub(crate) fn history(&self) -> (bool, bool) {
        (self.handle.can_undo(), self.handle.can_redo())
    }

    pub(crate) fn status(&self) -> DocStatus {
        self.pulses.track(|| Topic::Status);
        self.handle.status()
    }

    pub(crate) fn watch(&self, table: &Arc<str>, watcher: Weak<dyn RowWatcher>) {
        self.watchers.borrow_mut().entry(table.clone()).or_default().push(watcher);
    }

    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "for the textarea"))]
    pub(crate) fn listen_text(
        self: &Rc<Self>,
        id: ContainerId,
        listener: impl Fn(&TextNews<'_>) + 'static,
    ) -> Listening {
        let key = self.take_id();
        self.texts.borrow_mut().push((key, id, Rc::new(listener)));
        Listening { state: Rc::downgrade(self), key }
    }

    pub(crate) fn listen(
        self: &Rc<Self>,
        listener: impl FnMut(&ChangeEvent) + 'static,
    ) -> Listening {
        let key = self.take_id();
        self.listeners.borrow_mut().push((key, Rc::new(RefCell::new(listener))));
        Listening { state: Rc::downgrade(self), key }
    }

    fn take_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    fn heard(&self, event: &DocEvent) {
        let mut triggers = Triggers::default();
        match event {
            DocEvent::Loaded => self.reloaded(&mut triggers),
            DocEvent::Changed { patches, .. } => {
                self.changed(patches, &mut triggers);
                self.history_changed(&mut triggers);
            }
            DocEvent::Status => self.pulses.collect(&Topic::Status, &mut triggers),
            DocEvent::Presence => self.pulses.collect(&Topic::Presence, &mut triggers),
        }
        triggers.notify();
        if let DocEvent::Changed { origin, patches } = event {
            let event = ChangeEvent { origin: *origin, patches: patches.clone() };
            let listeners: Vec<_> =
                self.listeners.borrow().iter().map(|(_, listener)| listener.clone()).collect();
            for listener in listeners {
                if let Ok(mut listener) = listener.try_borrow_mut() {
                    listener(&event);
                }
            }
        }
    }

    fn reloaded(&self, triggers: &mut Triggers) {
        let watchers: Vec<_> = self.watchers.borrow().values().flatten().cloned().collect();
        self.handle.read(|doc| {
            for watcher in watchers.iter().filter_map(Weak::upgrade) {
                watcher.reload(doc, triggers);
            }
        });
        let texts: Vec<_> =
            self.texts.borrow().iter().map(|(_, _, listener)| listener.clone()).collect();
        for listener in texts {
            listener(&TextNews::Reloaded);
        }
        self.history.set(self.history());
        self.pulses.collect_all(triggers);
    }

    fn changed(&self, patches: &[Patch], triggers: &mut Triggers) {
        let mut rows: LiteMap<&Arc<str>, BTreeSet<RowId>> = LiteMap::new();
        for patch in patches {
            if let Some((table, row)) = row_of(patch) {
                rows.entry(table).or_default().insert(row);
            }
            self.collect(patch, triggers);
        }
        for (table, rows) in &rows {
            for row in rows {
                self.pulses.collect(&Topic::Row((*table).clone(), *row), triggers);
            }
            self.tell_watchers(table, rows, triggers);
        }
        let mut edits: BTreeMap<&ContainerId, Vec<&[TextDelta]>> = BTreeMap::new();
        for patch in patches {
            if let Patch::Text { id, delta } = patch {
                edits.entry(id).or_default().push(delta);
            }
        }
        for (id, deltas) in edits {
            // A view that follows each of very many edits takes longer than one that looks again.
            if deltas.len() > TEXT_EDITS_MAX {
                self.tell_texts(id, &TextNews::Reloaded);
                continue;
            }
            for delta in deltas {
                self.tell_texts(id, &TextNews::Edited { delta });
            }
        }
    }

    fn collect(&self, patch: &Patch, triggers: &mut Triggers) {
        match patch {
            Patch::Row { table, row, change } => match change {
                RowChange::Field(field) => {
                    let topic = Topic::Field(table.clone(), *row, field.clone());
                    self.pulses.collect(&topic, triggers);
                }
                // A row that came or went; what its fields read may differ from before.
                _ => {
                    self.pulses.collect(&Topic::Table(table.clone()), triggers);
                    self.pulses.collect(&Topic::Alive(table.clone(), *row), triggers);
                    self.pulses.collect_fields(table, *row, triggers);
                }
            },
            Patch::Counter { id } | Patch::Text { id, .. } | Patch::Marks { id, .. } => {
                self.pulses.collect(&Topic::Container(id.clone()), triggers);
            }
            _ => {}
        }
    }

    fn tell_watchers(&self, table: &Arc<str>, rows: &BTreeSet<RowId>, triggers: &mut Triggers) {
        let alive: Vec<_> = {
            let mut watchers = self.watchers.borrow_mut();
            let Some(list) = watchers.get_mut(table) else { return };
            list.retain(|watcher| watcher.strong_count() > 0);
            list.iter().filter_map(Weak::upgrade).collect()
        };
        self.handle.read(|doc| {
            for watcher in alive {
                watcher.rows_changed(doc, rows, triggers);
            }
        });
    }

    fn tell_texts(&self, id: &ContainerId, news: &TextNews<'_>) {
        let listeners: Vec<_> = {
            let texts = self.texts.borrow();
            let of_text = texts.iter().filter(|(_, text, _)| text == id);
            of_text.map(|(_, _, listener)| listener.clone()).collect()
        };
        for listener in listeners {
            listener(news);
        }
    }

    fn history_changed(&self, triggers: &mut Triggers) {
        let now = self.history();
        if self.history.replace(now) != now {
            self.pulses.collect(&Topic::Undo, triggers);
        }
    }
}

impl Drop for DocState {
    fn drop(&mut self) {
        // Nothing here shows the document any more: to the others its user is gone.
        self.presence.leave(&self.handle);
    }
}

/// Which row of which table a patch concerns.
fn row_of(patch: &Patch) -> Option<(&Arc<str>, RowId)> {
    match patch {
        Patch::Row { table, row, .. } => Some((table, *row)),
        Patch::Counter { id: ContainerId::Cell { table, row, .. } }
        | Patch::Text { id: ContainerId::Cell { table, row, .. }, .. }
        | Patch::Marks { id: ContainerId::Cell { table, row, .. }, .. } => Some((table, *row)),
        _ => None,
    }
}

/// The span of a `transact` in which edits are deferred; ends also when the closure panics.
pub(crate) struct Opened<'a>(&'a DocState);

impl<'a> Opened<'a> {
    pub(crate) fn new(state: &'a DocState) -> Self {
        *state.deferred.borrow_mut() = Some(Vec::new());
        Self(state)
    }

    pub(crate) fn close(self) -> Vec<Deferred> {
        self.0.deferred.borrow_mut().take().unwrap_or_default()
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.deferred.borrow_mut().take();
    }
}

/// Keeps a listener; dropping it ends the listening.
pub(crate) struct Listening {
    state: Weak<DocState>,
    key: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(state) = self.state.upgrade() else { return };
        // Dropped after the lists are free again: a listener may own another `Listening`.
        let mut texts = state.texts.borrow_mut();
        let text = texts.iter().position(|(key, _, _)| *key == self.key);
        let text = text.map(|place| texts.remove(place));
        drop(texts);
        let mut listeners = state.listeners.borrow_mut();
        let listener = listeners.iter().position(|(key, _)| *key == self.key);
        let listener = listener.map(|place| listeners.remove(place));
        drop(listeners);
        drop((text, listener));
    }
}
