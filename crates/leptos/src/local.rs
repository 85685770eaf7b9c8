//! `Copy` handles to values of one thread, which the server never makes.
//!
//! A document's state is not `Send`, because it shares memory without locks; Leptos wants handles
//! that are. On the server, where rendering moves between threads, there is nothing behind a
//! handle, so no value can be met on a thread it does not belong to.

use std::rc::Rc;

use leptos::reactive::owner::{ArenaItem, LocalStorage};
use leptos::reactive::traits::IsDisposed;

/// A handle to a value in the arena, or to nothing on the server.
pub(crate) struct Local<T: ?Sized + 'static>(Option<ArenaItem<Rc<T>, LocalStorage>>);

impl<T: ?Sized> Clone for Local<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Local<T> {}

impl<T: ?Sized> PartialEq for Local<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: ?Sized> Local<T> {
    /// The handle without a value.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Keeps `value` until the current reactive owner goes.
    pub(crate) fn new(value: Rc<T>) -> Self {
        Self(Some(ArenaItem::new_local(value)))
    }

    /// The value, unless there is none or its owner is gone.
    pub(crate) fn get(self) -> Option<Rc<T>> {
        self.0?.try_get_value()
    }

    /// Whether there was a value and its owner is gone.
    pub(crate) fn is_disposed(self) -> bool {
        self.0.is_some_and(|item| item.is_disposed())
    }
}
