//! A small, durable, self-hosted sync server: an axum router, and the `leptos-sync` binary.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use leptos_sync_server::SyncServer;
//!
//! let server = SyncServer::open("sync.sqlite").await?;
//! let app = axum::Router::new().merge(server.router());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Overview
//!
//! A [`SyncServer`] keeps documents in a store and serves them at `/sync` by the `leptos-sync.v1`
//! protocol. A change is acknowledged as durable only after the store's fsync, then passed on to
//! the document's other subscribers. Everybody may do everything unless an [`Authenticator`] is
//! set; [`JwtAuth`] is one. What it granted can be taken away from open connections too:
//! [`Authenticator::review`], or [`RevokedUsers`].
//!
//! # Where things are
//!
//! | module | what it holds |
//! |---|---|
//! | `door` | sockets: how many, and how slow |
//! | `http` | routes, origin check, static files |
//! | `connection` | one client's socket |
//! | `budget` | how much a client may ask for |
//! | `env` | the clock, randomness, tasks and sockets that a server runs on |
//! | `hub` | all open documents, the server's identity, background work |
//! | `room` | one open document: validate, store, publish |
//! | `log` | its blocks and chains, and how far clients read it |
//! | `packs` | the older blocks, in memory and on disk |
//! | `presence` | who is in it |
//! | `queues` | how much waits for documents, with the feature `testkit` |
//! | `auth` | tokens and permissions |
//! | `grants` | what open connections were granted, and whether it still holds |

mod auth;
mod budget;
mod connection;
mod door;
mod env;
mod grants;
mod http;
mod hub;
mod log;
mod packs;
mod presence;
#[cfg(feature = "testkit")]
mod queues;
mod room;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use leptos_sync_protocol::Limits;
use leptos_sync_storage::{OpenError, SqliteStorage};
use tokio::net::TcpListener;

pub use auth::{
    AuthError, Authenticator, Claims, Grant, JwtAuth, OpenAccess, RevokedUsers, SECRET_BYTES_MIN,
    SecretTooShort, Standing,
};
pub use door::DoorLimits;
#[cfg(feature = "testkit")]
pub use env::{Env, Socket};
pub use hub::{IdentityError, Store};
pub use packs::stored_blocks;
#[cfg(feature = "testkit")]
pub use queues::HighWater;

use env::SystemEnv;
use http::{Origins, Shared};
use hub::Hub;

/// Why a server could not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store could not be opened.
    #[error("failed to open the store")]
    Open(#[from] OpenError),
    /// The store holds no identity and none could be made.
    #[error("failed to establish the server's identity")]
    Identity(#[from] IdentityError),
}

/// How a server is to behave.
pub struct SyncServerBuilder<S> {
    storage: S,
    auth: Arc<dyn Authenticator>,
    limits: Limits,
    origins: Origins,
    assets: Option<PathBuf>,
    recovering: bool,
    pack_blocks: usize,
    env: Arc<dyn env::Env>,
}

impl<S: std::fmt::Debug> std::fmt::Debug for SyncServerBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncServerBuilder")
            .field("storage", &self.storage)
            .field("limits", &self.limits)
            .field("origins", &self.origins)
            .field("assets", &self.assets)
            .finish_non_exhaustive()
    }
}

impl<S: Store> SyncServerBuilder<S> {
    /// Who is let in; everybody, if not set.
    #[must_use]
    pub fn auth(mut self, auth: impl Authenticator) -> Self {
        self.auth = Arc::new(auth);
        self
    }

    /// What one connection may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets pages of another origin connect, written as browsers do: `https://example.org`.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.allowed.push(origin.into());
        self
    }

    /// Refuses pages that call this server by another name than a loopback one. Use it whenever
    /// the server listens on loopback and lets everybody in.
    #[must_use]
    pub fn loopback_host_only(mut self, only: bool) -> Self {
        self.origins.loopback_host_only = only;
        self
    }

    /// Serves the files of a directory too, and its `index.html` for every other path that does not
    /// look like a file.
    #[must_use]
    pub fn assets(mut self, dir: impl Into<PathBuf>) -> Self {
        self.assets = Some(dir.into());
        self
    }

    /// Takes back what the store has lost, as after its restore from a backup: clients compare all
    /// documents with what they have, and each brings what is missing, whoever wrote it. For that
    /// long no author id belongs to anybody, so whoever may write a document may write under any.
    #[must_use]
    pub fn recovering(mut self, recovering: bool) -> Self {
        self.recovering = recovering;
        self
    }

    /// Packs so many blocks at once that are no longer news, in memory and on disk.
    #[cfg(feature = "testkit")]
    #[must_use]
    pub fn pack_blocks(mut self, count: usize) -> Self {
        self.pack_blocks = count;
        self
    }

    /// Runs on another clock, other randomness and other tasks than the system's.
    #[cfg(feature = "testkit")]
    #[must_use]
    pub fn env(mut self, env: impl Env) -> Self {
        self.env = Arc::new(env);
        self
    }

    /// Starts the server's background work on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError::Identity`].
    pub async fn start(self) -> Result<SyncServer<S>, StartError> {
        let Self { storage, auth, limits, origins, assets, recovering, pack_blocks, env } = self;
        let hub = Hub::start(storage, env, auth, recovering, pack_blocks).await?;
        let shared = Arc::new(Shared { hub, limits, origins });
        Ok(SyncServer { shared, assets })
    }
}

/// A running sync server, without a socket of its own.
pub struct SyncServer<S: Store = SqliteStorage> {
    shared: Arc<Shared<S>>,
    assets: Option<PathBuf>,
}

impl<S: Store> std::fmt::Debug for SyncServer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncServer").field("assets", &self.assets).finish_non_exhaustive()
    }
}

impl SyncServer<SqliteStorage> {
    /// A server with usual settings on the SQLite file at `path`, which is made if it is missing.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StartError> {
        Self::builder(SqliteStorage::open(path)?).start().await
    }
}

impl<S: Store> SyncServer<S> {
    /// A server on `storage`, to be set up.
    #[must_use]
    pub fn builder(storage: S) -> SyncServerBuilder<S> {
        SyncServerBuilder {
            storage,
            auth: Arc::new(OpenAccess),
            limits: Limits::default(),
            origins: Origins::default(),
            assets: None,
            recovering: false,
            pack_blocks: hub::PACK_BLOCKS,
            env: Arc::new(SystemEnv),
        }
    }

    /// The routes `/sync` and `/healthz`, and the static files if there are any.
    pub fn router(&self) -> Router {
        http::router(self.shared.clone(), self.assets.clone())
    }

    /// Accepts connections and serves the routes on them until `stopped`, then waits for requests
    /// under way; WebSockets end by [`SyncServer::stop`]. Unlike `axum::serve` it limits how many
    /// connections there are, and how long the head of a request may take.
    pub async fn accept(
        &self,
        listener: TcpListener,
        limits: DoorLimits,
        stopped: impl Future<Output = ()>,
    ) {
        door::accept(listener, self.router(), limits, stopped).await;
    }

    /// Serves a connection that did not come through the router, until it ends.
    #[cfg(feature = "testkit")]
    pub async fn serve(&self, socket: impl Socket) {
        let Shared { hub, limits, .. } = &*self.shared;
        connection::serve(hub.clone(), *limits, socket).await;
    }

    /// The most that any connection ever had waiting for its documents.
    #[cfg(feature = "testkit")]
    #[must_use]
    pub fn high_water(&self) -> &HighWater {
        &self.shared.hub.high_water
    }

    /// Resolves with the reason if the server had to stop by itself: its disk failed while writing.
    /// What was in doubt was not acknowledged.
    pub async fn failure(&self) -> String {
        self.shared.hub.failure().await
    }

    /// Tells every client to come back later, finishes what is under way within `patience`, and
    /// closes the store.
    pub async fn stop(&self, patience: Duration) {
        self.shared.hub.stop(patience).await;
    }
}
