//! A thin layer over the browser's IndexedDB objects: requests and transactions as futures.
//!
//! A transaction stays alive from one request's answer to the next request because futures are
//! polled in the microtasks that follow the answer's event; nothing else may be awaited inside one.

use std::cell::Cell;
use std::rc::Rc;

use futures::channel::oneshot;
use futures::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DomException, Event, IdbDatabase, IdbObjectStore, IdbRequest, IdbTransaction};

use crate::error::{BackendError, Failure, Fault};

/// How long the browser has for one answer. Some never give it, until the page is loaded again.
pub(super) const PATIENCE_MS: u32 = 10_000;

/// What IndexedDB reported: the name and the text of a DOMException.
#[derive(Clone, Debug)]
pub(super) struct IdbError {
    pub(super) name: String,
    message: String,
}

impl IdbError {
    fn aborted() -> Self {
        Self { name: "AbortError".to_owned(), message: "transaction aborted".to_owned() }
    }

    pub(super) fn unanswered() -> Self {
        Self { name: "TimeoutError".to_owned(), message: "the browser does not answer".to_owned() }
    }

    /// Whether nothing more is to be expected of the connection, though nobody said so.
    pub(super) fn is_unanswered(&self) -> bool {
        self.name == "TimeoutError"
    }

    /// Whether the connection may be gone: the site's data was cleared, or its process died.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.name.as_str(), "InvalidStateError" | "UnknownError")
    }

    pub(super) fn into_backend(self) -> BackendError {
        BackendError::new(format!("{}: {}", self.name, self.message))
    }
}

impl From<JsValue> for IdbError {
    fn from(thrown: JsValue) -> Self {
        match thrown.dyn_into::<DomException>() {
            Ok(exception) => exception.into(),
            Err(other) => Self { name: "Error".to_owned(), message: format!("{other:?}") },
        }
    }
}

impl From<DomException> for IdbError {
    fn from(exception: DomException) -> Self {
        Self { name: exception.name(), message: exception.message() }
    }
}

impl From<IdbError> for Failure {
    fn from(error: IdbError) -> Self {
        match error.name.as_str() {
            "QuotaExceededError" => Fault::QuotaExceeded.into(),
            "TimeoutError" => Fault::Unavailable.into(),
            _ => Self::Backend(error.into_backend()),
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn in_time<T>(answer: impl Future<Output = T> + Unpin) -> Result<T, IdbError> {
    match select(answer, TimeoutFuture::new(PATIENCE_MS)).await {
        Either::Left((answer, _)) => Ok(answer),
        Either::Right(_) => Err(IdbError::unanswered()),
    }
}

pub(super) type Handler = Closure<dyn FnMut(Event)>;

/// A request that is under way.
pub(super) struct Request {
    request: IdbRequest,
    answer: oneshot::Receiver<Result<JsValue, IdbError>>,
    _handlers: [Handler; 2],
}

impl Request {
    pub(super) fn new(request: IdbRequest) -> Self {
        let (to, answer) = oneshot::channel();
        let to = Rc::new(Cell::new(Some(to)));
        let handler = |to: Rc<Cell<Option<oneshot::Sender<_>>>>| {
            let source = request.clone();
            Handler::new(move |_| {
                if let Some(to) = to.take() {
                    // Nobody waits for most writes: their transaction tells.
                    let _ = to.send(outcome(&source));
                }
            })
        };
        let (on_success, on_error) = (handler(to.clone()), handler(to));
        request.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
        request.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        Self { request, answer, _handlers: [on_success, on_error] }
    }

    pub(super) async fn wait(mut self) -> Result<JsValue, IdbError> {
        in_time(&mut self.answer).await?.unwrap_or_else(|_| Err(IdbError::aborted()))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.request.set_onsuccess(None);
        self.request.set_onerror(None);
    }
}

/// What a request that is done came to.
pub(super) fn outcome(request: &IdbRequest) -> Result<JsValue, IdbError> {
    match request.error()? {
        Some(error) => Err(error.into()),
        None => Ok(request.result()?),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write { durability: &'static str },
}

/// A transaction that is under way.
pub(super) struct Transaction {
    transaction: IdbTransaction,
    done: oneshot::Receiver<Result<(), IdbError>>,
    _handlers: [Handler; 2],
}

impl Transaction {
    /// Begins a transaction over some stores.
    ///
    /// Called by name, since web-sys hides the third argument, the durability.
    pub(super) fn begin(
        database: &IdbDatabase,
        stores: &[&str],
        mode: Mode,
    ) -> Result<Self, IdbError> {
        let begin: Function =
            Reflect::get(database, &JsValue::from_str("transaction"))?.unchecked_into();
        let stores: Array = stores.iter().map(|name| JsValue::from_str(name)).collect();
        let options = Object::new();
        let mode = match mode {
            Mode::Read => "readonly",
            Mode::Write { durability } => {
                Reflect::set(&options, &"durability".into(), &durability.into())?;
                "readwrite"
            }
        };
        let transaction = begin.call3(database, &stores, &mode.into(), &options)?;
        Ok(Self::watch(transaction.unchecked_into()))
    }

    fn watch(transaction: IdbTransaction) -> Self {
        let (to, done) = oneshot::channel();
        let to = Rc::new(Cell::new(Some(to)));
        let complete = {
            let to = to.clone();
            Handler::new(move |_| {
                if let Some(to) = to.take() {
                    let _ = to.send(Ok(()));
                }
            })
        };
        let abort = {
            let source = transaction.clone();
            Handler::new(move |_| {
                if let Some(to) = to.take() {
                    let cause = source.error().map_or_else(IdbError::aborted, IdbError::from);
                    let _ = to.send(Err(cause));
                }
            })
        };
        transaction.set_oncomplete(Some(complete.as_ref().unchecked_ref()));
        transaction.set_onabort(Some(abort.as_ref().unchecked_ref()));
        Self { transaction, done, _handlers: [complete, abort] }
    }

    pub(super) fn store(&self, name: &str) -> Result<IdbObjectStore, IdbError> {
        Ok(self.transaction.object_store(name)?)
    }

    /// Waits for a request of this transaction. If it failed, the transaction knows best why.
    pub(super) async fn wait(&mut self, request: Request) -> Result<JsValue, IdbError> {
        match request.wait().await {
            Ok(result) => Ok(result),
            Err(error) if error.is_unanswered() => {
                self.abort();
                Err(error)
            }
            Err(error) => Err(self.finished().await.err().unwrap_or(error)),
        }
    }

    /// Takes back all that was written.
    pub(super) fn abort(&self) {
        // Fails only if the transaction is over, and then there is nothing to take back.
        let _ = self.transaction.abort();
    }

    /// Commits without waiting for the browser to notice that nothing follows.
    pub(super) async fn commit(mut self) -> Result<(), IdbError> {
        let commit = Reflect::get(&self.transaction, &JsValue::from_str("commit"))?;
        if let Some(commit) = commit.dyn_ref::<Function>() {
            // Fails only if the transaction is over already; how, is asked next.
            let _ = commit.call0(&self.transaction);
        }
        self.finished().await
    }

    async fn finished(&mut self) -> Result<(), IdbError> {
        in_time(&mut self.done).await?.unwrap_or_else(|_| Err(IdbError::aborted()))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.transaction.set_oncomplete(None);
        self.transaction.set_onabort(None);
    }
}
