//! The connection to the database: who may take it away, and how it comes back.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use futures::StreamExt;
use futures::channel::mpsc;
use futures::lock::Mutex;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::IdbDatabase;

use super::OpError;
use super::idb::{Handler, Mode};
use super::schema;
use crate::error::{Failure, Fault, OpenError};

/// When a write counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the operating system has it: safe from a crash of the tab and of the browser. Several
    /// times faster; what a power cut could take, the server is still asked for.
    #[default]
    Relaxed,
    /// When the disk has it.
    Strict,
}

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IndexedDbOptions {
    /// When a write counts as durable.
    pub durability: Durability,
    /// How long opening may take: another tab may hold an older version open, or the browser not
    /// answer.
    pub blocked_ms_max: u32,
}

impl Default for IndexedDbOptions {
    fn default() -> Self {
        Self { durability: Durability::default(), blocked_ms_max: 5_000 }
    }
}

/// Keeps documents in a database of the browser. Clones share one connection.
#[derive(Clone, Debug)]
pub struct IndexedDbStorage {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    options: IndexedDbOptions,
    link: RefCell<Link>,
    /// Held while the database is opened again, so that it is opened once.
    reopening: Mutex<()>,
    /// Each loss, from whoever notices it to whoever waits for it.
    loss: mpsc::UnboundedSender<()>,
    losses: Mutex<mpsc::UnboundedReceiver<()>>,
}

#[derive(Debug)]
enum Link {
    Up(Connection),
    /// The browser took the connection away; the next call opens another.
    Lost,
    /// We let go of it, for good.
    Closed,
}

/// An open database with the handlers that watch it.
#[derive(Debug)]
struct Connection {
    database: IdbDatabase,
    _handlers: [Handler; 2],
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.set_onclose(None);
        self.database.set_onversionchange(None);
        self.database.close();
    }
}

impl Connection {
    fn new(database: IdbDatabase, shared: &Weak<Shared>) -> Self {
        let become_ = |link: fn() -> Link| {
            let shared = shared.clone();
            Handler::new(move |_| {
                if let Some(shared) = shared.upgrade() {
                    shared.set(link());
                }
            })
        };
        // Cleared site data, or the browser's storage process died.
        let on_close = become_(|| Link::Lost);
        // Another tab wants to upgrade or delete the database and waits for us to let go.
        let on_version_change = become_(|| Link::Closed);
        database.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        database.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        Self { database, _handlers: [on_close, on_version_change] }
    }
}

impl Shared {
    fn set(&self, link: Link) {
        if matches!(link, Link::Lost) {
            // The receiver lives as long as the sender.
            let _ = self.loss.unbounded_send(());
        }
        // The old connection is dropped after the cell is free again.
        let _old = self.link.replace(link);
    }
}

impl IndexedDbStorage {
    /// Opens the database `name` of this origin, or makes it.
    ///
    /// # Errors
    /// [`OpenError`] says why; the database is as it was.
    pub async fn open(name: &str) -> Result<Self, OpenError> {
        Self::open_with(name, IndexedDbOptions::default()).await
    }

    /// Opens the database with other options than the usual.
    ///
    /// # Errors
    /// As [`IndexedDbStorage::open`].
    pub async fn open_with(name: &str, options: IndexedDbOptions) -> Result<Self, OpenError> {
        let (loss, losses) = mpsc::unbounded();
        let shared = Rc::new(Shared {
            name: name.to_owned(),
            options,
            link: RefCell::new(Link::Lost),
            reopening: Mutex::new(()),
            loss,
            losses: Mutex::new(losses),
        });
        let storage = Self { shared };
        storage.reopen().await?;
        Ok(storage)
    }

    /// Lets go of the database. Every later call on any clone fails as closed.
    pub fn close(&self) {
        self.shared.set(Link::Closed);
    }

    async fn reopen(&self) -> Result<(), OpenError> {
        let shared = &self.shared;
        let database = schema::open(&shared.name, shared.options.blocked_ms_max).await?;
        let connection = Connection::new(database, &Rc::downgrade(shared));
        // Closed meanwhile, it stays so.
        if matches!(*shared.link.borrow(), Link::Lost) {
            shared.set(Link::Up(connection));
        }
        Ok(())
    }

    async fn database(&self) -> Result<IdbDatabase, Failure> {
        let known = || match &*self.shared.link.borrow() {
            Link::Up(connection) => Some(Ok(connection.database.clone())),
            Link::Closed => Some(Err(Failure::Fault(Fault::Closed))),
            Link::Lost => None,
        };
        if let Some(known) = known() {
            return known;
        }
        let _alone = self.shared.reopening.lock().await;
        if let Some(known) = known() {
            return known;
        }
        self.reopen().await.map_err(|error| match error {
            OpenError::Blocked => Failure::Fault(Fault::Blocked),
            OpenError::NewerSchema { .. } => Failure::Fault(Fault::Closed),
            _ => Failure::Fault(Fault::Unavailable),
        })?;
        known().unwrap_or(Err(Failure::Fault(Fault::Unavailable)))
    }

    /// Resolves at the next loss of the connection, or at one that nobody was told of yet.
    pub(super) async fn next_loss(&self) {
        let _ = self.shared.losses.lock().await.next().await;
    }

    /// Runs an operation; once more, over a new connection, if the first was lost under it. If the
    /// browser does not answer, the next operation gets a new connection.
    /// Every operation may be repeated: what has taken effect is found and skipped.
    pub(super) async fn run<R>(
        &self,
        operation: impl AsyncFn(&IdbDatabase, Mode) -> Result<R, OpError>,
    ) -> Result<R, Failure> {
        let durability = match self.shared.options.durability {
            Durability::Relaxed => "relaxed",
            Durability::Strict => "strict",
        };
        let mode = Mode::Write { durability };
        let mut may_retry = true;
        loop {
            let database = self.database().await?;
            let error = match operation(&database, mode).await {
                Ok(result) => return Ok(result),
                Err(OpError::Failed(failure)) => return Err(failure),
                Err(OpError::Idb(error)) => error,
            };
            if error.is_unanswered() {
                self.forget(&database);
                return Err(error.into());
            }
            match &*self.shared.link.borrow() {
                Link::Closed => return Err(Failure::Fault(Fault::Closed)),
                Link::Up(current) if current.database == database && !error.is_lost() => {
                    return Err(error.into());
                }
                Link::Up(_) | Link::Lost if !may_retry => return Err(error.into()),
                Link::Up(_) | Link::Lost => {}
            }
            may_retry = false;
            self.forget(&database);
        }
    }

    /// Gives up this connection, if it is still the current one.
    fn forget(&self, database: &IdbDatabase) {
        let current =
            matches!(&*self.shared.link.borrow(), Link::Up(up) if up.database == *database);
        if current {
            self.shared.set(Link::Lost);
        }
    }
}

/// Asks the browser to keep this origin's data when space runs low. Returns whether it will.
pub async fn ask_to_persist() -> bool {
    let ask = || -> Result<Promise, JsValue> {
        let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
        let storage = Reflect::get(&navigator, &"storage".into())?;
        let persist: Function = Reflect::get(&storage, &"persist".into())?.dyn_into()?;
        persist.call0(&storage)?.dyn_into()
    };
    match ask() {
        Ok(promise) => JsFuture::from(promise).await.is_ok_and(|granted| granted.is_truthy()),
        Err(_) => false,
    }
}
