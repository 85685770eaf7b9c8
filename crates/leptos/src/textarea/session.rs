//! A textarea and a document's text kept in step.
//!
//! What is typed becomes a small edit, found from the caret where possible, because a whole value
//! is costly to compare at every keystroke. What others edit is spliced into the textarea around
//! the caret. While an input method composes, the textarea is left alone: the first edit of
//! somebody else *holds* it, and when the composition ends both edits are brought together.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos_sync_engine::{ContainerId, Doc, TextDelta, TextError, Transaction};
use wasm_bindgen::JsCast;
use web_sys::{InputEvent, KeyboardEvent};

use super::carets::{Carets, Resizing};
use super::dom::{Area, Listener};
use super::edit::{self, Moment, Splice};
use crate::presence::Caret;
use crate::state::{DocState, Listening, TextNews};

/// Longer pastes go in as several edits of one change.
const PIECE_BYTES: usize = 1 << 20;
/// Carets are published at most this often.
const PUBLISH_MS: u32 = 50;

pub(super) struct Session {
    pub(super) area: Area,
    pub(super) doc: Rc<DocState>,
    pub(super) id: ContainerId,
    pub(super) carets: Carets,
    /// The length of what the textarea shows.
    len16: Cell<usize>,
    /// The text has carriage returns, so that positions here and there differ.
    returns: Cell<bool>,
    before: Cell<Option<Moment>>,
    /// The change under way came from the textarea, which shows it already.
    own: Cell<bool>,
    /// The change under way is an undo by keyboard: the caret goes where it happened.
    undoing: Cell<bool>,
    composition: RefCell<Composition>,
    publishing: RefCell<Option<gloo_timers::callback::Timeout>>,
}

enum Composition {
    None,
    /// An input method composes, and the textarea equals the document.
    Running,
    /// An input method composes, and others have edited the document since.
    Held {
        /// What textarea and document were before that.
        base: String,
        /// Their edits since, or `None` if those are not known one by one.
        deltas: Option<Vec<Vec<TextDelta>>>,
    },
}

/// Ends the session when dropped.
pub(super) struct Mounted {
    session: Rc<Session>,
    _listening: Listening,
    _listeners: Vec<Listener>,
    _resizing: Option<Resizing>,
}

impl Mounted {
    pub(super) fn session(&self) -> &Rc<Session> {
        &self.session
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.session.publishing.borrow_mut().take();
        self.session.doc.presence.leave_text(&self.session.doc.handle, &self.session.id);
    }
}

/// Shows the document's text in the textarea and follows both from now on.
pub(super) fn start(area: Area, carets: Carets, doc: Rc<DocState>, id: ContainerId) -> Mounted {
    let session = Rc::new(Session {
        area,
        doc,
        id,
        carets,
        len16: Cell::new(0),
        returns: Cell::new(false),
        before: Cell::new(None),
        own: Cell::new(false),
        undoing: Cell::new(false),
        composition: RefCell::new(Composition::None),
        publishing: RefCell::default(),
    });
    session.reload();
    let weak = Rc::downgrade(&session);
    let listening = session.doc.listen_text(session.id.clone(), move |news| {
        if let Some(session) = weak.upgrade() {
            session.heard(news);
        }
    });
    let listeners = listeners(&session);
    let resizing = session.carets.follow_size(&session);
    Mounted { session, _listening: listening, _listeners: listeners, _resizing: resizing }
}

fn listeners(session: &Rc<Session>) -> Vec<Listener> {
    let on = |name: &'static str, act: fn(&Rc<Session>, web_sys::Event)| {
        let weak = Rc::downgrade(session);
        Listener::new(&session.area.element, name, move |event| {
            if let Some(session) = weak.upgrade() {
                act(&session, event);
            }
        })
    };
    vec![
        on("beforeinput", |session, event| session.before_input(&event)),
        on("input", |session, event| session.input(&event)),
        on("keydown", |session, event| session.key_down(&event)),
        on("compositionstart", |session, _| {
            *session.composition.borrow_mut() = Composition::Running;
        }),
        on("compositionend", |session, _| session.composition_end()),
        on("scroll", |session, _| session.carets.scrolled()),
        on("select", |session, _| session.publish_soon()),
        on("selectionchange", |session, _| session.publish_soon()),
        on("keyup", |session, _| session.publish_soon()),
        on("mouseup", |session, _| session.publish_soon()),
        on("focus", |session, _| session.publish_soon()),
    ]
}

impl Session {
    fn read<R>(&self, read: impl FnOnce(&Doc) -> R) -> R {
        self.doc.handle.read(read)
    }

    /// The text as the textarea shows it.
    fn shown(&self) -> String {
        self.read(|doc| edit::normalised(&doc.text(&self.id).to_string()).into_owned())
    }

    fn heard(self: &Rc<Self>, news: &TextNews<'_>) {
        match news {
            TextNews::Edited { .. } if self.own.get() => {}
            TextNews::Edited { delta } => {
                if delta.iter().any(|step| matches!(step, TextDelta::Insert(t) if t.contains('\r')))
                {
                    self.returns.set(true);
                }
                if !self.hold(Some(delta)) {
                    self.patch(delta);
                }
            }
            TextNews::Reloaded => {
                if !self.hold(None) {
                    self.reload();
                }
            }
        }
        self.carets.schedule(self);
    }

    /// Whether a composition keeps the textarea from being touched.
    fn hold(&self, delta: Option<&[TextDelta]>) -> bool {
        let known = delta.filter(|_| !self.returns.get()).map(<[_]>::to_vec);
        let mut composition = self.composition.borrow_mut();
        match &mut *composition {
            Composition::None => return false,
            Composition::Running => {
                let base = self.area.value();
                *composition = Composition::Held { base, deltas: known.map(|delta| vec![delta]) };
            }
            Composition::Held { deltas, .. } => match (deltas.as_mut(), known) {
                (Some(deltas), Some(delta)) => deltas.push(delta),
                _ => *deltas = None,
            },
        }
        true
    }

    /// Makes the textarea show the document, whatever it shows.
    fn reload(&self) {
        self.returns.set(self.read(|doc| doc.text(&self.id).to_string().contains('\r')));
        self.show(None);
    }

    /// Makes the textarea show the document by the shortest edit, with the caret at `caret` or
    /// else where it was in the text.
    fn show(&self, caret: Option<usize>) {
        let (value, text) = (self.area.value(), self.shown());
        let selection = self.selection();
        if let Some(splice) = edit::diff(&value, &text, None) {
            let at16 = edit::units(&value, splice.at);
            let end16 = edit::units(&value, splice.at + splice.deleted);
            self.splice(at16, end16 - at16, &splice.inserted);
            self.restore(selection, |at, after| {
                map_unit(at, at16, end16 - at16, units_of(&splice.inserted), after)
            });
        }
        if let Some(caret) = caret.filter(|_| self.area.is_focused()) {
            let caret16 = edit::units(&text, caret);
            self.area.select(caret16, caret16, false);
        }
        self.len16.set(units_of(&text));
    }

    /// Splices an edit into the textarea.
    fn patch(&self, delta: &[TextDelta]) {
        let Some(splices) = self.splices(delta) else {
            let caret = self.undoing.get().then(|| edit::end_of(delta));
            self.show(caret.filter(|_| !self.returns.get()));
            return;
        };
        let selection = self.selection();
        for splice in &splices {
            self.splice(splice.at16, splice.deleted16, splice.inserted);
        }
        if self.undoing.get() {
            let caret16 = self.read(|doc| doc.text(&self.id).scalar_to_utf16(edit::end_of(delta)));
            self.area.select(caret16, caret16, false);
        } else {
            self.restore(selection, |at, after| {
                splices.iter().fold(at, |at, splice| {
                    let inserted16 = units_of(splice.inserted);
                    map_unit(at, splice.at16, splice.deleted16, inserted16, after)
                })
            });
        }
        self.len16.set(self.read(|doc| doc.text(&self.id).len_utf16()));
    }

    /// The edit in UTF-16 units, each step in the text that the steps before left. `None` if it
    /// cannot be told without comparing all of the text.
    fn splices<'d>(&self, delta: &'d [TextDelta]) -> Option<Vec<UnitSplice<'d>>> {
        if self.returns.get() {
            return None;
        }
        self.read(|doc| {
            let text = doc.text(&self.id);
            let (mut inserted16, mut deleted, mut deletions) = (0, 0, 0);
            for step in delta {
                match step {
                    TextDelta::Retain(_) => {}
                    TextDelta::Insert(content) => inserted16 += units_of(content),
                    TextDelta::Delete(len) => {
                        deleted += *len as usize;
                        deletions += 1;
                    }
                }
            }
            // The deleted text is gone; how many units it had follows from the lengths.
            let deleted16 = (self.len16.get() + inserted16).checked_sub(text.len_utf16())?;
            if !(deleted..=2 * deleted).contains(&deleted16)
                || (deletions > 1 && deleted16 != deleted)
            {
                return None;
            }
            let (mut at, mut splices) = (0usize, Vec::new());
            for step in delta {
                let at16 = || text.scalar_to_utf16(at);
                match step {
                    TextDelta::Retain(len) => at += *len as usize,
                    TextDelta::Insert(content) => {
                        let end = at + content.chars().count();
                        // Another answer means that the document is ahead of this edit.
                        if text.slice(at, end) != **content {
                            return None;
                        }
                        splices.push(UnitSplice { at16: at16(), deleted16: 0, inserted: content });
                        at = end;
                    }
                    TextDelta::Delete(len) => splices.push(UnitSplice {
                        at16: at16(),
                        deleted16: if deletions == 1 { deleted16 } else { *len as usize },
                        inserted: "",
                    }),
                }
            }
            Some(splices)
        })
    }

    fn splice(&self, at16: usize, deleted16: usize, inserted: &str) {
        self.area.replace(at16, deleted16, inserted);
        self.carets.spliced(at16, deleted16, inserted);
    }

    /// The selection, if it is ours to keep.
    fn selection(&self) -> Option<(Moment, bool)> {
        self.area.is_focused().then(|| (self.area.moment(), self.area.is_backward()))
    }

    fn restore(&self, selection: Option<(Moment, bool)>, map: impl Fn(usize, bool) -> usize) {
        let Some((old, backward)) = selection else { return };
        let is_range = old.start16 != old.end16;
        let (start, end) = (map(old.start16, is_range), map(old.end16, false));
        let now = self.area.moment();
        if (now.start16, now.end16) != (start, end) {
            self.area.select(start, end.max(start), backward);
        }
    }

    fn before_input(self: &Rc<Self>, event: &web_sys::Event) {
        let kind = event.dyn_ref::<InputEvent>().map(InputEvent::input_type);
        match kind.as_deref() {
            Some("historyUndo") => self.undo(event, true),
            Some("historyRedo") => self.undo(event, false),
            _ => self.before.set(Some(self.area.moment())),
        }
    }

    fn key_down(self: &Rc<Self>, event: &web_sys::Event) {
        let Some(key) = event.dyn_ref::<KeyboardEvent>() else { return };
        let command = (key.ctrl_key() || key.meta_key()) && !key.alt_key();
        if !command || key.is_composing() {
            return;
        }
        match (key.key().to_ascii_lowercase().as_str(), key.shift_key()) {
            ("z", false) => self.undo(event, true),
            ("z", true) | ("y", false) => self.undo(event, false),
            _ => {}
        }
    }

    /// The browser's own undo would take back the edits of others as well.
    fn undo(self: &Rc<Self>, event: &web_sys::Event, back: bool) {
        event.prevent_default();
        if !matches!(*self.composition.borrow(), Composition::None) {
            return;
        }
        self.undoing.set(true);
        if back {
            self.doc.handle.undo();
        } else {
            self.doc.handle.redo();
        }
        self.undoing.set(false);
        self.publish_soon();
    }

    fn input(self: &Rc<Self>, event: &web_sys::Event) {
        let before = self.before.take();
        if matches!(*self.composition.borrow(), Composition::Held { .. }) {
            return;
        }
        let kind = event.dyn_ref::<InputEvent>().map(InputEvent::input_type).unwrap_or_default();
        let composing = !matches!(*self.composition.borrow(), Composition::None);
        let after = self.area.moment();
        let simple = !composing && !self.returns.get() && edit::is_simple(&kind);
        let known = before.filter(|before| simple && before.len16 == self.len16.get());
        if !known.is_some_and(|before| self.take_typed(before, after)) {
            self.take_value(after);
        }
        self.publish_soon();
    }

    /// Takes over an edit that the caret tells; whether it did.
    fn take_typed(self: &Rc<Self>, before: Moment, after: Moment) -> bool {
        let Some(typed) = edit::typed(before, after) else { return false };
        let range = self.read(|doc| {
            let text = doc.text(&self.id);
            let (start16, end16) = (typed.deleted.start, typed.deleted.end);
            let (start, end) = (text.utf16_to_scalar(start16), text.utf16_to_scalar(end16));
            // In the middle of a character: not what was typed.
            let whole =
                text.scalar_to_utf16(start) == start16 && text.scalar_to_utf16(end) == end16;
            (whole && text.len_utf16() == before.len16).then_some((start, end))
        });
        let Some((start, end)) = range else { return false };
        let inserted = self.area.slice(typed.inserted);
        let deleted16 = typed.deleted.len();
        self.write(|tx| replace(tx, &self.id, start, end - start, &inserted));
        self.carets.spliced(typed.deleted.start, deleted16, &inserted);
        self.settle(after.len16);
        true
    }

    /// Takes over whatever differs between textarea and document.
    fn take_value(self: &Rc<Self>, after: Moment) {
        let (text, value) = (self.read(|doc| doc.text(&self.id).to_string()), self.area.value());
        let shown = edit::normalised(&text);
        let caret = edit::scalars(&value, after.end16);
        if let Some(splice) = edit::diff(&shown, &value, Some(caret)) {
            let Splice { at, deleted, inserted } = &splice;
            let (start, end) = if self.returns.get() {
                let place = |position| edit::from_normalised(&text, position);
                (place(*at), place(*at + *deleted))
            } else {
                (*at, *at + *deleted)
            };
            let at16 = edit::units(&shown, *at);
            let deleted16 = edit::units(&shown, *at + *deleted) - at16;
            self.write(|tx| replace(tx, &self.id, start, end - start, inserted));
            self.carets.spliced(at16, deleted16, inserted);
        }
        self.settle(after.len16);
    }

    /// Notes what the textarea shows after one of its own edits.
    fn settle(self: &Rc<Self>, len16: usize) {
        self.len16.set(len16);
        if !self.returns.get() && self.read(|doc| doc.text(&self.id).len_utf16()) != len16 {
            // The edit was refused: the textarea goes back to what the document says.
            self.show(None);
        }
        self.carets.schedule(self);
    }

    fn write(&self, edit: impl FnOnce(&mut Transaction<'_>) -> Result<(), TextError>) {
        self.own.set(true);
        let result = self.doc.handle.transact(edit);
        self.own.set(false);
        if let Err(error) = result {
            leptos::logging::error!("an edit was refused: {error}");
        }
    }

    fn composition_end(self: &Rc<Self>) {
        let ended = self.composition.replace(Composition::None);
        match ended {
            // An `input` event brings what is left, before this event or after it.
            Composition::None | Composition::Running => {}
            Composition::Held { base, deltas } => self.join(&base, deltas),
        }
        self.publish_soon();
    }

    /// Brings together what was composed and what others edited meanwhile, both over `base`.
    fn join(self: &Rc<Self>, base: &str, deltas: Option<Vec<Vec<TextDelta>>>) {
        let value = self.area.value();
        let caret = edit::scalars(&value, self.area.moment().end16);
        let text = self.read(|doc| doc.text(&self.id).to_string());
        let deltas = deltas.unwrap_or_else(|| {
            let theirs = edit::diff(base, &edit::normalised(&text), None);
            theirs.iter().map(edit::delta_of).collect()
        });
        let theirs = |at| deltas.iter().fold(at, |at, delta| edit::map_position(delta, at, false));
        let Some(ours) = edit::diff(base, &value, Some(caret)) else {
            return self.show(Some(theirs(caret)));
        };
        let inserted_len = ours.inserted.chars().count();
        let deleted = ours.at..ours.at + ours.deleted;
        let mut ranges = vec![deleted];
        for delta in &deltas {
            ranges = edit::map_ranges(delta, &ranges);
        }
        let at = theirs(ours.at);
        let place = |position| {
            if self.returns.get() { edit::from_normalised(&text, position) } else { position }
        };
        self.write(|tx| {
            for range in ranges.iter().rev() {
                let (start, end) = (place(range.start), place(range.end));
                tx.text(&self.id).delete(start, end - start)?;
            }
            replace(tx, &self.id, place(at), 0, &ours.inserted)
        });
        let caret = if caret <= ours.at {
            theirs(caret)
        } else if caret <= ours.at + inserted_len {
            at + (caret - ours.at)
        } else {
            let there = theirs(caret - inserted_len + ours.deleted);
            let gone: usize = ranges.iter().map(|r| r.end.min(there) - r.start.min(there)).sum();
            there - gone + inserted_len
        };
        self.show(Some(caret));
        self.carets.schedule(self);
    }

    /// Tells the others where the caret is, a moment later and once.
    fn publish_soon(self: &Rc<Self>) {
        let mut publishing = self.publishing.borrow_mut();
        if publishing.is_some() {
            return;
        }
        let session = Rc::downgrade(self);
        *publishing = Some(gloo_timers::callback::Timeout::new(PUBLISH_MS, move || {
            if let Some(session) = session.upgrade() {
                session.publishing.borrow_mut().take();
                session.publish();
            }
        }));
    }

    fn publish(&self) {
        if !self.area.is_focused() || !matches!(*self.composition.borrow(), Composition::None) {
            return;
        }
        let (now, backward) = (self.area.moment(), self.area.is_backward());
        let caret = self.read(|doc| {
            let text = doc.text(&self.id);
            let place = |at16| {
                if self.returns.get() {
                    let whole = text.to_string();
                    let shown = edit::scalars(&edit::normalised(&whole), at16);
                    edit::from_normalised(&whole, shown)
                } else {
                    text.utf16_to_scalar(at16)
                }
            };
            let cursor = |at16| text.cursor(place(at16), leptos_sync_engine::Side::Before);
            let (start, end) = (cursor(now.start16), cursor(now.end16));
            let (anchor, head) = if backward { (end, start) } else { (start, end) };
            Caret { text: self.id.clone(), anchor, head }
        });
        self.doc.presence.set_caret(&self.doc.handle, Some(caret));
    }

    /// Where a remote caret stands, in the units of the textarea; `None` while the textarea does
    /// not show the document.
    pub(super) fn place16(&self, caret: &Caret) -> Option<usize> {
        if matches!(*self.composition.borrow(), Composition::Held { .. }) {
            return None;
        }
        Some(self.read(|doc| {
            let text = doc.text(&self.id);
            let at = text.resolve(&caret.head);
            if self.returns.get() {
                let whole = text.to_string();
                edit::units(&edit::normalised(&whole), edit::to_normalised(&whole, at))
            } else {
                text.scalar_to_utf16(at)
            }
        }))
    }
}

/// One step of an edit in UTF-16 units.
struct UnitSplice<'a> {
    at16: usize,
    deleted16: usize,
    inserted: &'a str,
}

fn units_of(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Where a unit offset is after a splice. One at the splice stays before what is inserted, or
/// goes after it if `after`.
fn map_unit(at: usize, at16: usize, deleted16: usize, inserted16: usize, after: bool) -> usize {
    if at < at16 || (at == at16 && !after) {
        at
    } else if at < at16 + deleted16 {
        at16
    } else {
        at - deleted16 + inserted16
    }
}

/// Replaces a piece of a text, in pieces if it is long.
fn replace(
    tx: &mut Transaction<'_>,
    id: &ContainerId,
    at: usize,
    deleted: usize,
    inserted: &str,
) -> Result<(), TextError> {
    tx.text(id).delete(at, deleted)?;
    let (mut at, mut rest) = (at, inserted);
    while !rest.is_empty() {
        let piece = &rest[..rest.floor_char_boundary(PIECE_BYTES)];
        tx.text(id).insert(at, piece)?;
        at += piece.chars().count();
        rest = &rest[piece.len()..];
    }
    Ok(())
}
