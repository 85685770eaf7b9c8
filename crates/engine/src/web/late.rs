//! A store that is opened when it is first needed, so that a page can start before it is there.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, Shared};
use gloo_timers::future::TimeoutFuture;
use leptos_sync_crdt::{Block, DocId, OpId, VersionVector};
use leptos_sync_storage::{
    AppendError, BackendError, CompactError, OpenError, ReadError, Snapshot, Storage, StoredDoc,
};

/// How often a store that does not open is tried by whoever waits for its loss.
const OPEN_AGAIN_MS: u32 = 30_000;

type Opener<S> = Box<dyn Fn() -> LocalBoxFuture<'static, Result<S, OpenError>>>;
type Opening<S> = Shared<LocalBoxFuture<'static, Result<Rc<S>, Refusal>>>;

/// A [`Storage`] that opens another one on first use. If that fails, the operation fails by the
/// same name, and the next one tries again.
pub(crate) struct LateStorage<S> {
    open: Opener<S>,
    opening: RefCell<Option<Opening<S>>>,
}

/// Why the store did not open, in a form that several waiting operations can share.
#[derive(Clone)]
enum Refusal {
    Blocked,
    /// A newer version of the program has it.
    Closed,
    Unavailable,
    Other(Rc<str>),
}

impl<S: 'static> LateStorage<S> {
    pub(crate) fn new<F>(open: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Result<S, OpenError>> + 'static,
    {
        Self { open: Box::new(move || open().boxed_local()), opening: RefCell::new(None) }
    }

    async fn get(&self) -> Result<Rc<S>, Refusal> {
        let opening = self
            .opening
            .borrow_mut()
            .get_or_insert_with(|| {
                let open = (self.open)();
                async move { open.await.map(Rc::new).map_err(|error| Refusal::from(&error)) }
                    .boxed_local()
                    .shared()
            })
            .clone();
        let opened = opening.clone().await;
        if opened.is_err() {
            let mut current = self.opening.borrow_mut();
            // Others may have begun another attempt while this one was waited for.
            if current.as_ref().is_some_and(|current| current.ptr_eq(&opening)) {
                *current = None;
            }
        }
        opened
    }
}

impl From<&OpenError> for Refusal {
    fn from(error: &OpenError) -> Self {
        tracing::warn!(%error, "storage did not open");
        match error {
            OpenError::Blocked => Self::Blocked,
            OpenError::NewerSchema { .. } => Self::Closed,
            OpenError::Unavailable => Self::Unavailable,
            error => Self::Other(error.to_string().into()),
        }
    }
}

/// Each operation's error has the same names for what can keep a store from opening.
macro_rules! refused {
    ($($error:ident),*) => {
        $(impl From<Refusal> for $error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::Blocked => Self::Blocked,
                    Refusal::Closed => Self::Closed,
                    Refusal::Unavailable => Self::Unavailable,
                    Refusal::Other(text) => Self::Backend(BackendError::new(&*text)),
                }
            }
        })*
    };
}

refused!(ReadError, AppendError, CompactError);

impl<S: Storage> Storage for LateStorage<S> {
    async fn docs(&self) -> Result<Vec<DocId>, ReadError> {
        self.get().await?.docs().await
    }

    async fn versions(&self) -> Result<Vec<(DocId, VersionVector)>, ReadError> {
        self.get().await?.versions().await
    }

    async fn load(&self, doc: &DocId) -> Result<StoredDoc, ReadError> {
        self.get().await?.load(doc).await
    }

    async fn append(&self, batch: Vec<(DocId, Vec<Block>)>) -> Result<(), AppendError> {
        self.get().await?.append(batch).await
    }

    async fn compact(&self, doc: &DocId, snapshot: Snapshot) -> Result<(), CompactError> {
        self.get().await?.compact(doc, snapshot).await
    }

    async fn replace(
        &self,
        doc: &DocId,
        snapshot: Snapshot,
        moved: Vec<OpId>,
    ) -> Result<(), CompactError> {
        self.get().await?.replace(doc, snapshot, moved).await
    }

    async fn remove(&self, doc: &DocId) -> Result<(), AppendError> {
        self.get().await?.remove(doc).await
    }

    async fn get_meta(&self, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.get().await?.get_meta(key).await
    }

    async fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        self.get().await?.put_meta(key, value).await
    }

    async fn remove_meta(&self, key: &str) -> Result<(), AppendError> {
        self.get().await?.remove_meta(key).await
    }

    async fn list_meta(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        self.get().await?.list_meta(prefix).await
    }

    async fn lost(&self) {
        while let Err(_refused) = self.get().await {
            TimeoutFuture::new(OPEN_AGAIN_MS).await;
        }
        if let Ok(store) = self.get().await {
            store.lost().await;
        }
    }
}
