//! Who else is in a document, with names, carets, and what the application adds.
//!
//! A presence payload is one [`Value`]: a map with `n` (name), `c` (colour), `s` (the
//! application's state) and `t` (the caret: `[container, anchor, head]`). Unknown entries are
//! ignored and missing ones read as absent, so versions of an application can meet.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use leptos::prelude::{ArcRwSignal, GetUntracked};
use leptos_sync_engine::{
    ContainerId, Cursor, DocHandle, Entries, FieldValue, PresencePeer, Value,
};

use crate::doc::DocNode;
use crate::local::Local;
use crate::options::User;
use crate::pulse::Topic;
use crate::state::DocState;

/// What this tab shows of itself in one document.
#[derive(Default)]
pub(crate) struct OwnPresence {
    joined: Cell<bool>,
    user: RefCell<User>,
    state: RefCell<Option<Value>>,
    caret: RefCell<Option<Caret>>,
}

/// Where somebody's selection is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Caret {
    pub(crate) text: ContainerId,
    /// Where the selection was begun.
    pub(crate) anchor: Cursor,
    /// Where the caret is.
    pub(crate) head: Cursor,
}

impl OwnPresence {
    pub(crate) fn init_user(&self, user: &ArcRwSignal<User>) {
        if !self.joined.get() {
            *self.user.borrow_mut() = user.get_untracked();
        }
    }

    /// Shows this tab's user from now on.
    pub(crate) fn join(&self, handle: &DocHandle) {
        if !self.joined.replace(true) {
            self.publish(handle);
        }
    }

    /// Shows nothing from now on.
    pub(crate) fn leave(&self, handle: &DocHandle) {
        if self.joined.replace(false) {
            handle.set_presence(None);
        }
    }

    pub(crate) fn set_user(&self, handle: &DocHandle, user: User) {
        *self.user.borrow_mut() = user;
        if self.joined.get() {
            self.publish(handle);
        }
    }

    pub(crate) fn set_caret(&self, handle: &DocHandle, caret: Option<Caret>) {
        if *self.caret.borrow() != caret {
            *self.caret.borrow_mut() = caret;
            self.joined.set(true);
            self.publish(handle);
        }
    }

    /// The textarea of `text` is gone, and a caret in it with it.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "for the textarea"))]
    pub(crate) fn leave_text(&self, handle: &DocHandle, text: &ContainerId) {
        if self.caret.borrow().as_ref().is_some_and(|caret| caret.text == *text) {
            self.set_caret(handle, None);
        }
    }

    fn set_state(&self, handle: &DocHandle, state: Option<Value>) {
        *self.state.borrow_mut() = state;
        self.joined.set(true);
        self.publish(handle);
    }

    fn publish(&self, handle: &DocHandle) {
        let mut entries = Entries::new();
        let user = self.user.borrow();
        entries.insert("n", Value::from(user.name.as_str()));
        entries.insert("c", Value::from(user.colour.as_str()));
        if let Some(state) = &*self.state.borrow() {
            entries.insert("s", state.clone());
        }
        if let Some(caret) = &*self.caret.borrow() {
            entries.insert("t", caret_to_value(caret));
        }
        drop(user);
        handle.set_presence(Some(Value::Map(entries).to_bytes()));
    }
}

fn caret_to_value(caret: &Caret) -> Value {
    Value::List(vec![
        Value::Bytes(caret.text.to_bytes()),
        Value::Bytes(caret.anchor.to_bytes()),
        Value::Bytes(caret.head.to_bytes()),
    ])
}

fn caret_from_value(value: &Value) -> Option<Caret> {
    let Value::List(parts) = value else { return None };
    let [Value::Bytes(text), Value::Bytes(anchor), Value::Bytes(head)] = parts.as_slice() else {
        return None;
    };
    let text = ContainerId::from_bytes(text).ok()?;
    let anchor = Cursor::from_bytes(anchor).ok()?;
    Some(Caret { text, anchor, head: Cursor::from_bytes(head).ok()? })
}

/// Somebody else in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer<T> {
    /// Names this visit: another tab of the same person has another one.
    pub session: u64,
    /// Who the server says it is, if the server knows.
    pub principal: Option<String>,
    /// The name it gives itself, or `Guest`.
    pub name: String,
    /// The colour it gives itself, or one that follows from the session.
    pub colour: String,
    /// What its application shows, if it shows something of this type.
    pub state: Option<T>,
    pub(crate) caret: Option<Caret>,
}

// Told apart also by people who see few colours, and readable under white text.
const COLOURS: [&str; 8] =
    ["#b4246a", "#1d6fb8", "#8a5a00", "#0f766e", "#7c3aed", "#b3361e", "#3f6212", "#4f46e5"];

impl<T: FieldValue> Peer<T> {
    fn read(peer: &PresencePeer) -> Self {
        let value = Value::from_bytes(&peer.payload).unwrap_or_default();
        let empty = Entries::new();
        let entries = if let Value::Map(entries) = &value { entries } else { &empty };
        let text = |key: &str| match entries.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let colour = text("c").filter(|colour| is_plain_colour(colour));
        let chosen = COLOURS[(peer.session % COLOURS.len() as u64) as usize];
        Self {
            session: peer.session,
            principal: peer.principal.clone(),
            name: text("n").unwrap_or_else(|| "Guest".to_owned()),
            colour: colour.unwrap_or_else(|| chosen.to_owned()),
            state: entries.get("s").and_then(T::from_value),
            caret: entries.get("t").and_then(caret_from_value),
        }
    }
}

// It goes into a style attribute of somebody else's page: nothing but a colour may.
fn is_plain_colour(colour: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "#(),.% /-".contains(c);
    colour.len() <= 64 && colour.chars().all(allowed) && !colour.contains("url")
}

/// The others in a document. Reactive.
pub(crate) fn peers_tracked<T: FieldValue>(state: &DocState) -> Vec<Peer<T>> {
    state.pulses.track(|| Topic::Presence);
    let mut peers: Vec<_> = state.handle.peers().iter().map(Peer::read).collect();
    peers.sort_by_key(|peer| peer.session);
    peers
}

/// The others in a document. `Copy`; get it with
/// [`SyncDoc::presence`](crate::SyncDoc::presence).
pub struct Presence<T> {
    node: Local<DocNode>,
    marker: PhantomData<fn() -> T>,
}

impl<T> Clone for Presence<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Presence<T> {}

impl<T> std::fmt::Debug for Presence<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").finish_non_exhaustive()
    }
}

impl<T: FieldValue> Presence<T> {
    pub(crate) fn new(node: Local<DocNode>) -> Self {
        Self { node, marker: PhantomData }
    }

    fn state(&self) -> Option<Rc<DocState>> {
        Some(self.node.get()?.state.clone())
    }

    /// The others, in an order that does not change while they stay. Reactive.
    #[must_use]
    pub fn others(&self) -> Vec<Peer<T>> {
        let Some(state) = self.state() else { return Vec::new() };
        peers_tracked(&state)
    }

    /// Shows `value` to the others, until this tab leaves or shows something else.
    pub fn set(&self, value: &T) {
        if let Some(state) = self.state() {
            state.presence.set_state(&state.handle, Some(value.to_value()));
        }
    }

    /// Shows the others nothing but name and caret.
    pub fn clear(&self) {
        if let Some(state) = self.state() {
            state.presence.set_state(&state.handle, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use leptos_sync_engine::{Doc, PeerId, RowId, Side};

    use super::*;

    fn peer(payload: &Value) -> Peer<u32> {
        let payload = payload.to_bytes();
        Peer::read(&PresencePeer { session: 9, principal: None, payload })
    }

    #[test]
    fn a_caret_reads_back() {
        let mut doc = Doc::new(PeerId(1));
        doc.transact(0, |tx| tx.text("t").insert(0, "hello")).0.expect("in range");
        let caret = Caret {
            text: ContainerId::cell("tasks", RowId::fallback(), "notes"),
            anchor: doc.text("t").cursor(1, Side::Before),
            head: doc.text("t").cursor(3, Side::After),
        };
        assert_eq!(caret_from_value(&caret_to_value(&caret)), Some(caret));
    }

    #[test]
    fn what_a_peer_leaves_out_has_a_stand_in() {
        let guest = peer(&Value::Null);
        assert_eq!((guest.name.as_str(), guest.colour.as_str()), ("Guest", COLOURS[1]));
        assert_eq!((guest.state, guest.caret), (None, None));
    }

    #[test]
    fn a_colour_that_is_more_than_a_colour_is_not_used() {
        for bad in ["red;background:url(x)", "url(x)", "\"", &"a".repeat(65)] {
            let entries = Entries::from([("c", Value::from(bad))]);
            assert_eq!(peer(&Value::Map(entries)).colour, COLOURS[1], "{bad}");
        }
        let entries = Entries::from([("c", Value::from("hsl(20 50% 40%)"))]);
        assert_eq!(peer(&Value::Map(entries)).colour, "hsl(20 50% 40%)");
    }
}
