//! The object stores, how they came to be, and how a database is opened.
//!
//! | store | key | value |
//! |---|---|---|
//! | `blocks` | `[doc, peer as 16 hex digits, end, seq]` | a record of blocks |
//! | `snapshots` | doc | version vector, then the snapshot's bytes |
//! | `docs` | doc | the snapshot's version vector; empty bytes without one |
//! | `meta` | name | bytes |
//!
//! A record's end comes first in its key, so that all records that may overlap a range of
//! operations are found by one key range, and all that a snapshot covers are deleted by one.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, JsString, Reflect, Uint8Array};
use leptos_sync_crdt::{Reader, VersionVector, Writer};
use litemap::LiteMap;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, IdbDatabase, IdbFactory, IdbOpenDbRequest, IdbTransaction};

use super::idb::{Handler, IdbError, Request, in_time, outcome};
use crate::error::{BackendError, OpenError};

/// What this program reads and writes. Older databases are migrated step by step.
pub(super) const VERSION: u32 = 2;

pub(super) const BLOCKS: &str = "blocks";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const DOCS: &str = "docs";
pub(super) const META: &str = "meta";

/// Applies the step from schema version `from` to the next. Released steps are never edited.
async fn step(db: &IdbDatabase, upgrade: &IdbTransaction, from: u32) -> Result<(), IdbError> {
    match from {
        0 => {
            for store in [BLOCKS, SNAPSHOTS, META] {
                db.create_object_store(store)?;
            }
            Ok(())
        }
        // A list of documents with the versions of their snapshots, so that neither listing nor
        // appending has to read blocks or whole snapshots.
        1 => {
            db.create_object_store(DOCS)?;
            list_documents(upgrade).await
        }
        _ => Ok(()),
    }
}

async fn list_documents(upgrade: &IdbTransaction) -> Result<(), IdbError> {
    let (blocks, snapshots) = (upgrade.object_store(BLOCKS)?, upgrade.object_store(SNAPSHOTS)?);
    let block_keys = Request::new(blocks.get_all_keys()?);
    let snapshot_keys = Request::new(snapshots.get_all_keys()?);
    let snapshot_values = Request::new(snapshots.get_all()?);
    let mut versions: LiteMap<String, Vec<u8>> = LiteMap::new();
    for key in Array::from(&block_keys.wait().await?) {
        let doc = Array::from(&key).get(0).as_string();
        versions.entry(doc.unwrap_or_default()).or_default();
    }
    let (keys, values) = (snapshot_keys.wait().await?, snapshot_values.wait().await?);
    for (key, value) in Array::from(&keys).iter().zip(Array::from(&values)) {
        let value = Uint8Array::new(&value).to_vec();
        // A snapshot that does not decode is reported when its document is loaded.
        let version = VersionVector::decode(&mut Reader::new(&value)).unwrap_or_default();
        let mut out = Writer::new();
        version.encode(&mut out);
        versions.insert(key.as_string().unwrap_or_default(), out.into_vec());
    }
    let docs = upgrade.object_store(DOCS)?;
    for (doc, version) in versions {
        docs.put_with_key(&Uint8Array::from(&version[..]), &JsString::from(doc))?;
    }
    Ok(())
}

/// The browser's IndexedDB, in pages and workers alike.
fn factory() -> Result<IdbFactory, OpenError> {
    Reflect::get(&js_sys::global(), &JsValue::from_str("indexedDB"))
        .ok()
        .and_then(|factory| factory.dyn_into().ok())
        .ok_or(OpenError::Unavailable)
}

fn open_error(error: IdbError) -> OpenError {
    match error.name.as_str() {
        "SecurityError" | "InvalidStateError" | "TimeoutError" => OpenError::Unavailable,
        _ => OpenError::Backend(error.into_backend()),
    }
}

enum Signal {
    /// Another tab holds an older version open.
    Blocked,
    Upgrade {
        from: u32,
    },
    Done(Result<JsValue, IdbError>),
}

thread_local! {
    /// The databases that another tab was said to hold open: only the first request that waits for
    /// it is told.
    static HELD: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Opens the database at our version, waiting at most `blocked_ms_max` for other tabs to let go.
pub(super) async fn open(name: &str, blocked_ms_max: u32) -> Result<IdbDatabase, OpenError> {
    let request =
        factory()?.open_with_u32(name, VERSION).map_err(|thrown| open_error(thrown.into()))?;
    let mut opening = Opening::new(request);
    let mut patience = TimeoutFuture::new(blocked_ms_max);
    let signal = loop {
        match select(opening.signals.next(), &mut patience).await {
            Either::Left((Some(Signal::Blocked), _)) => {
                HELD.with_borrow_mut(|held| held.insert(name.to_owned()));
            }
            Either::Left((signal, _)) => break signal,
            Either::Right(_) if HELD.with_borrow(|held| held.contains(name)) => {
                return Err(OpenError::Blocked);
            }
            Either::Right(_) => return Err(OpenError::Unavailable),
        }
    };
    HELD.with_borrow_mut(|held| held.remove(name));
    let done = match signal {
        Some(Signal::Upgrade { from }) => opening.upgrade(from).await,
        Some(Signal::Done(done)) => done.map_err(Some),
        Some(Signal::Blocked) | None => Err(None),
    };
    match done {
        Ok(database) => {
            opening.finished = true;
            Ok(database.unchecked_into())
        }
        Err(Some(error)) if error.name == "VersionError" => {
            Err(OpenError::NewerSchema { found: found_version(name).await?, known: VERSION })
        }
        Err(Some(error)) => Err(open_error(error)),
        Err(None) => Err(OpenError::Backend(BackendError::new("opening ended without an answer"))),
    }
}

async fn found_version(name: &str) -> Result<u32, OpenError> {
    let request = factory()?.open(name).map_err(|thrown| open_error(thrown.into()))?;
    let database = Request::new(request.unchecked_into()).wait().await.map_err(open_error)?;
    let database: IdbDatabase = database.unchecked_into();
    database.close();
    Ok(database.version() as u32)
}

/// An open request with its handlers. Given up, it closes whatever it may still bring.
struct Opening {
    request: IdbOpenDbRequest,
    signals: mpsc::UnboundedReceiver<Signal>,
    finished: bool,
    _handlers: [Handler; 4],
}

impl Opening {
    fn new(request: IdbOpenDbRequest) -> Self {
        let (to, signals) = mpsc::unbounded();
        let done = |to: mpsc::UnboundedSender<Signal>| {
            let source = request.clone();
            Handler::new(move |_| {
                let _ = to.unbounded_send(Signal::Done(outcome(&source)));
            })
        };
        let (on_success, on_error) = (done(to.clone()), done(to.clone()));
        let blocked = to.clone();
        let on_blocked = Handler::new(move |_| {
            let _ = blocked.unbounded_send(Signal::Blocked);
        });
        let on_upgrade = Handler::new(move |event: Event| {
            let old = Reflect::get(&event, &JsValue::from_str("oldVersion"));
            let from = old.ok().and_then(|version| version.as_f64()).unwrap_or(0.0) as u32;
            let _ = to.unbounded_send(Signal::Upgrade { from });
        });
        request.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
        request.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        request.set_onupgradeneeded(Some(on_upgrade.as_ref().unchecked_ref()));
        request.set_onblocked(Some(on_blocked.as_ref().unchecked_ref()));
        let _handlers = [on_success, on_error, on_upgrade, on_blocked];
        Self { request, signals, finished: false, _handlers }
    }

    /// Runs the missing steps, then waits for the database.
    async fn upgrade(&mut self, from: u32) -> Result<JsValue, Option<IdbError>> {
        let Some(upgrade) = self.request.transaction() else { return Err(None) };
        let database: IdbDatabase = outcome(&self.request)?.unchecked_into();
        for version in from..VERSION {
            if let Err(error) = step(&database, &upgrade, version).await {
                // Fails only if the transaction was aborted by the error already.
                let _ = upgrade.abort();
                return Err(Some(error));
            }
        }
        match in_time(self.signals.next()).await? {
            Some(Signal::Done(done)) => done.map_err(Some),
            Some(Signal::Blocked | Signal::Upgrade { .. }) | None => Err(None),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.request.set_onerror(None);
        self.request.set_onsuccess(None);
        self.request.set_onupgradeneeded(None);
        self.request.set_onblocked(None);
        if self.finished {
            return;
        }
        // It may still succeed, long after we gave up, and would then block others in our name.
        let request = self.request.clone();
        let close = Closure::once_into_js(move || {
            if let Ok(database) = outcome(&request) {
                database.unchecked_into::<IdbDatabase>().close();
            }
        });
        self.request.set_onsuccess(Some(close.unchecked_ref()));
        let request = self.request.clone();
        let abort = Closure::once_into_js(move || {
            if let Some(upgrade) = request.transaction() {
                let _ = upgrade.abort();
            }
        });
        self.request.set_onupgradeneeded(Some(abort.unchecked_ref()));
    }
}
