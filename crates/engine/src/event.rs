//! What a document tells its subscribers, and the tie that keeps a subscription alive.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use leptos_sync_crdt::Patch;

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It was made here, by this tab's code.
    Local,
    /// Another tab of this device made it.
    OtherTab,
    /// It came from the server.
    Remote,
    /// It was read from the device's storage.
    Storage,
}

/// What happened to a document.
#[derive(Clone, Debug)]
pub enum DocEvent {
    /// What was stored here has been merged in: read everything anew.
    Loaded,
    /// The content changed.
    Changed {
        /// Where the change came from.
        origin: Origin,
        /// What changed, in order.
        patches: Rc<[Patch]>,
    },
    /// [`crate::DocHandle::status`] has a new answer.
    Status,
    /// [`crate::DocHandle::peers`] has a new answer.
    Presence,
}

/// Keeps a callback subscribed; dropping it ends the subscription.
#[must_use = "dropping a subscription ends it at once"]
pub struct Subscription {
    cancel: Option<Box<dyn FnOnce()>>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}

type Callback<E> = Rc<RefCell<dyn FnMut(&E)>>;

/// Callbacks in the order in which they subscribed.
pub(crate) struct Subscribers<E> {
    callbacks: RefCell<Vec<(u64, Callback<E>)>>,
    next_id: Cell<u64>,
}

impl<E: 'static> Subscribers<E> {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { callbacks: RefCell::default(), next_id: Cell::new(0) })
    }

    pub(crate) fn add(self: &Rc<Self>, callback: impl FnMut(&E) + 'static) -> Subscription {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.callbacks.borrow_mut().push((id, Rc::new(RefCell::new(callback))));
        let list: Weak<Self> = Rc::downgrade(self);
        let cancel = move || {
            let Some(list) = list.upgrade() else { return };
            let mut callbacks = list.callbacks.borrow_mut();
            let place = callbacks.iter().position(|(known, _)| *known == id);
            // Dropped after the list is free again: the callback may own another subscription.
            let removed = place.map(|place| callbacks.remove(place));
            drop(callbacks);
            drop(removed);
        };
        Subscription { cancel: Some(Box::new(cancel)) }
    }

    /// Calls everyone who was subscribed when this began. Callbacks may subscribe and unsubscribe.
    pub(crate) fn emit(&self, event: &E) {
        let callbacks: Vec<Callback<E>> =
            self.callbacks.borrow().iter().map(|(_, callback)| callback.clone()).collect();
        for callback in callbacks {
            // Borrowed already only if the callback waits for itself, which `emit` never nests.
            if let Ok(mut callback) = callback.try_borrow_mut() {
                callback(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_may_end_its_own_subscription() {
        let subscribers = Subscribers::<u8>::new();
        let seen = Rc::new(Cell::new(0));
        let own: Rc<RefCell<Option<Subscription>>> = Rc::default();
        let subscription = subscribers.add({
            let (seen, own) = (seen.clone(), own.clone());
            move |event| {
                seen.set(seen.get() + event);
                own.borrow_mut().take();
            }
        });
        *own.borrow_mut() = Some(subscription);
        subscribers.emit(&1);
        subscribers.emit(&1);
        assert_eq!(seen.get(), 1);
    }

    #[test]
    fn the_others_are_called_on_when_one_subscription_ends() {
        let subscribers = Subscribers::<u8>::new();
        let seen: Rc<RefCell<Vec<(u8, u8)>>> = Rc::default();
        let subscribe = |name: u8| {
            let seen = seen.clone();
            subscribers.add(move |event| seen.borrow_mut().push((name, *event)))
        };
        let (_first, second, _third) = (subscribe(1), subscribe(2), subscribe(3));
        subscribers.emit(&7);
        drop(second);
        subscribers.emit(&8);
        assert_eq!(*seen.borrow(), [(1, 7), (2, 7), (3, 7), (1, 8), (3, 8)]);
    }
}
