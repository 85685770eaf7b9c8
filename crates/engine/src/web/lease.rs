//! Peer slots held by Web Locks: the browser frees them when a tab ends, however it ends.
//!
//! web-sys hides the Web Locks API behind an unstable flag, so its one call is made by name.

use std::cell::RefCell;
use std::rc::Rc;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};

use crate::lease::{Lease, PeerLeases};

/// More tabs than this of one profile share no slots; the further ones use fresh ids.
const SLOTS_MAX: u32 = 256;

/// Slots of one database, each a Web Lock named `leptos-sync/<database>/peer/<slot>`.
#[derive(Clone, Debug)]
pub struct WebLeases {
    database: String,
}

impl WebLeases {
    /// Leases for the tabs that share the database of that name.
    #[must_use]
    pub fn new(database: impl Into<String>) -> Self {
        Self { database: database.into() }
    }
}

impl PeerLeases for WebLeases {
    fn acquire(&self) -> LocalBoxFuture<'static, Option<Lease>> {
        let database = self.database.clone();
        async move {
            let locks = LockManager::of_window()?;
            for slot in 0..SLOTS_MAX {
                let name = format!("leptos-sync/{database}/peer/{slot}");
                if let Some(guard) = locks.try_hold(&name).await? {
                    return Some(Lease::new(slot, guard));
                }
            }
            None
        }
        .boxed_local()
    }
}

struct LockManager {
    manager: JsValue,
    request: Function,
}

impl LockManager {
    /// `navigator.locks`, which an insecure context does not have.
    fn of_window() -> Option<Self> {
        let navigator = web_sys::window()?.navigator();
        let manager = Reflect::get(&navigator, &"locks".into()).ok().filter(JsValue::is_object)?;
        let request = Reflect::get(&manager, &"request".into()).ok()?.dyn_into().ok()?;
        Some(Self { manager, request })
    }

    /// Holds the lock if nobody does: `Some(None)` says taken, `None` that locks do not work.
    async fn try_hold(&self, name: &str) -> Option<Option<HeldLock>> {
        let (answer, answered) = oneshot::channel();
        let answer = Rc::new(RefCell::new(Some(answer)));
        let granted = answer.clone();
        let callback = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            let answer = granted.borrow_mut().take();
            if lock.is_null() {
                answer.map(|answer| answer.send(None));
                return JsValue::UNDEFINED;
            }
            let (held, promise) = HeldLock::new();
            // If nobody waits any more, `held` is dropped here and the lock is free again.
            answer.map(|answer| answer.send(Some(held)));
            promise.into()
        });
        let options = Object::new();
        Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE).ok()?;
        let promise = self.request.call3(&self.manager, &name.into(), &options, &callback).ok()?;
        // A refusal (an opaque origin, a page being torn down) settles the promise instead.
        let refused = Closure::once_into_js(move |_: JsValue| drop(answer.borrow_mut().take()));
        let then = Reflect::get(&promise, &"then".into()).ok()?.dyn_into::<Function>().ok()?;
        then.call2(&promise, &JsValue::UNDEFINED, &refused).ok()?;
        answered.await.ok()
    }
}

/// Keeps a lock's promise unsettled; dropping it settles the promise, which frees the lock.
struct HeldLock {
    resolve: Function,
}

impl HeldLock {
    fn new() -> (Self, Promise) {
        let mut taken = None;
        let promise = Promise::new(&mut |resolve, _reject| taken = Some(resolve));
        let resolve = taken.expect("a promise runs its executor at once");
        (Self { resolve }, promise)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // Resolving a promise does not throw.
        let _ = self.resolve.call0(&JsValue::UNDEFINED);
    }
}
