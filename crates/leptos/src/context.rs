//! The engine in the component tree: `provide_sync`, `use_sync`, and what they share.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use leptos::prelude::{ArcRwSignal, Get, GetUntracked, Set, expect_context, provide_context};
use leptos_sync_engine::{DocId, Subscription, SyncEngine, SyncState, SyncStatus};
use litemap::LiteMap;

use crate::local::Local;
use crate::options::{SyncOptions, User};
use crate::state::DocState;

/// What all handles of one application share.
pub(crate) struct Shared {
    pub(crate) engine: SyncEngine,
    pub(crate) user: ArcRwSignal<User>,
    docs: RefCell<LiteMap<DocId, Weak<DocState>>>,
    _status: Subscription,
    // Whatever must live as long as the engine, such as listeners to page events.
    _keep: Box<dyn std::any::Any>,
}

impl Shared {
    /// The open document, opened now if it is not.
    pub(crate) fn open(&self, id: &DocId) -> Rc<DocState> {
        let open = self.docs.borrow().get(id).and_then(Weak::upgrade);
        if let Some(state) = open {
            return state;
        }
        let state = DocState::new(self.engine.open(id));
        let mut docs = self.docs.borrow_mut();
        docs.retain(|_, state| state.strong_count() > 0);
        docs.insert(id.clone(), Rc::downgrade(&state));
        state
    }

    fn set_user(&self, user: User) {
        self.user.set(user.clone());
        let open: Vec<_> = self.docs.borrow().values().filter_map(Weak::upgrade).collect();
        for state in open {
            state.presence.set_user(&state.handle, user.clone());
        }
    }
}

/// The application's link to its documents and its server. `Copy`; get it with [`use_sync`].
#[derive(Clone, Copy)]
pub struct SyncHandle {
    pub(crate) shared: Local<Shared>,
    status: leptos::prelude::RwSignal<SyncStatus>,
}

impl std::fmt::Debug for SyncHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncHandle").finish_non_exhaustive()
    }
}

impl SyncHandle {
    fn empty() -> Self {
        Self { shared: Local::none(), status: leptos::prelude::RwSignal::new(unknown_status()) }
    }

    fn over(engine: SyncEngine, user: User, keep: Box<dyn std::any::Any>) -> Self {
        let status = leptos::prelude::RwSignal::new(unknown_status());
        let subscription = engine.subscribe(move |now: &SyncStatus| {
            if status.try_get_untracked().is_some_and(|known| known != *now) {
                status.set(now.clone());
            }
        });
        // After the first render, which must equal the server's.
        let late = engine.clone();
        leptos::task::spawn_local(async move {
            let now = late.status();
            if status.try_get_untracked().is_some_and(|known| known != now) {
                status.set(now);
            }
        });
        let shared = Shared {
            engine,
            user: ArcRwSignal::new(user),
            docs: RefCell::default(),
            _status: subscription,
            _keep: keep,
        };
        Self { shared: Local::new(Rc::new(shared)), status }
    }

    /// Where this device stands, over all open documents. Reactive.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        self.status.try_get().unwrap_or_else(unknown_status)
    }

    /// How this person appears to the others. Reactive.
    #[must_use]
    pub fn user(&self) -> User {
        self.shared.get().map(|shared| shared.user.get()).unwrap_or_default()
    }

    /// Changes how this person appears to the others, at once and in every open document.
    pub fn set_user(&self, name: impl Into<String>, colour: impl Into<String>) {
        if let Some(shared) = self.shared.get() {
            shared.set_user(User { name: name.into(), colour: colour.into() });
        }
    }

    /// The engine beneath; `None` on the server.
    #[must_use]
    pub fn engine(&self) -> Option<SyncEngine> {
        self.shared.get().map(|shared| shared.engine.clone())
    }

    /// The documents that are kept on this device.
    pub async fn local_documents(&self) -> Vec<DocId> {
        match self.engine() {
            Some(engine) => engine.docs().await.unwrap_or_default(),
            None => Vec::new(),
        }
    }
}

// What server and browser both show first: nothing is known yet.
fn unknown_status() -> SyncStatus {
    SyncStatus { state: SyncState::Connecting, ..SyncStatus::default() }
}

/// Starts syncing for this component and all below it: documents live in IndexedDB here, and on
/// the server whenever it can be reached.
///
/// When rendering on the server nothing starts, and every handle below is empty. In a native
/// program use [`provide_engine`].
pub fn provide_sync(options: SyncOptions) -> SyncHandle {
    #[cfg(all(target_family = "wasm", not(feature = "ssr")))]
    let sync = {
        let user = options.user.clone();
        match crate::browser::start(&options) {
            Some((engine, keep)) => SyncHandle::over(engine, user, keep),
            None => SyncHandle::empty(),
        }
    };
    #[cfg(not(all(target_family = "wasm", not(feature = "ssr"))))]
    let sync = {
        drop(options);
        SyncHandle::empty()
    };
    provide_context(sync);
    sync
}

/// Uses an engine that runs already, for this component and all below it.
///
/// When rendering on the server the engine is not touched, and every handle below is empty.
pub fn provide_engine(engine: SyncEngine, user: User) -> SyncHandle {
    let sync = if cfg!(feature = "ssr") {
        SyncHandle::empty()
    } else {
        SyncHandle::over(engine, user, Box::new(()))
    };
    provide_context(sync);
    sync
}

/// The [`SyncHandle`] that a component above provides.
///
/// # Panics
/// If none does: call [`provide_sync`] in the application's root component.
#[must_use]
pub fn use_sync() -> SyncHandle {
    expect_context::<SyncHandle>()
}
