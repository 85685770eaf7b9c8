//! Slots for peer ids: two live tabs never write under one id.
//!
//! A slot is a small number that at most one live engine of a profile holds. The peer id that
//! belongs to a slot is kept in storage, so a reloaded tab continues its predecessor's sequence
//! instead of adding one more author to every document.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

/// Hands out slots, each to one holder at a time, also across tabs or processes.
pub trait PeerLeases: 'static {
    /// Takes the lowest free slot, or says that slots cannot be held here; then the engine writes
    /// under a fresh random id each time it starts.
    fn acquire(&self) -> LocalBoxFuture<'static, Option<Lease>>;
}

/// A slot that is held until this is dropped.
pub struct Lease {
    slot: u32,
    _guard: Box<dyn Any>,
}

impl Lease {
    /// A lease of `slot`, given back when `guard` is dropped.
    pub fn new(slot: u32, guard: impl Any) -> Self {
        Self { slot, _guard: Box::new(guard) }
    }

    /// Which slot is held.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// Leases among the engines of one thread that hold clones of this: for programs and tests.
#[derive(Clone, Debug, Default)]
pub struct LocalLeases {
    held: Rc<RefCell<BTreeSet<u32>>>,
}

impl LocalLeases {
    /// A table in which every slot is free.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl PeerLeases for LocalLeases {
    fn acquire(&self) -> LocalBoxFuture<'static, Option<Lease>> {
        let held = self.held.clone();
        async move {
            let slot = (0..).find(|slot| held.borrow_mut().insert(*slot))?;
            Some(Lease::new(slot, Held { slot, held }))
        }
        .boxed_local()
    }
}

/// No leases: every start writes under a fresh id.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLeases;

impl PeerLeases for NoLeases {
    fn acquire(&self) -> LocalBoxFuture<'static, Option<Lease>> {
        async { None }.boxed_local()
    }
}

struct Held {
    slot: u32,
    held: Rc<RefCell<BTreeSet<u32>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.borrow_mut().remove(&self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(leases: &LocalLeases) -> Lease {
        leases.acquire().now_or_never().flatten().expect("local slots never run out")
    }

    #[test]
    fn a_slot_has_one_holder_and_is_free_again_after_it() {
        let leases = LocalLeases::new();
        let first = take(&leases);
        let second = take(&leases.clone());
        assert_eq!((first.slot(), second.slot()), (0, 1));
        drop(first);
        let third = take(&leases);
        assert_eq!(third.slot(), 0);
    }
}
