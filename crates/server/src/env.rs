//! What a server takes from its surroundings, beside its store and its sockets: the wall clock,
//! randomness, and a place to run tasks.
#![cfg_attr(not(feature = "testkit"), allow(unreachable_pub, reason = "only tests bring another"))]

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::ws::Message;
use futures::future::BoxFuture;
use futures::{Sink, Stream};

/// The surroundings of a server. Timers are tokio's in any case.
pub trait Env: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64;

    /// A number that nobody can guess; `None` if there is no randomness to be had.
    fn random_u64(&self) -> Option<u64>;

    /// Runs a task to its end.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Does what takes long, away from the threads that serve sockets. Returns at once; should the
    /// work panic, or never be done, it is dropped, and nothing else comes to harm.
    fn aside(&self, work: Box<dyn FnOnce() + Send>);
}

/// The operating system's clock and randomness, and tasks of the tokio runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemEnv;

impl Env for SystemEnv {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn random_u64(&self) -> Option<u64> {
        getrandom::u64().ok()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn aside(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

/// A WebSocket as a connection uses it; in production it is axum's.
pub trait Socket:
    Stream<Item = Result<Message, axum::Error>>
    + Sink<Message, Error = axum::Error>
    + Unpin
    + Send
    + 'static
{
}

impl<T> Socket for T where
    T: Stream<Item = Result<Message, axum::Error>>
        + Sink<Message, Error = axum::Error>
        + Unpin
        + Send
        + 'static
{
}
