//! What is stored being taken away under processes that go on, and when each of them hears of it.
//!
//! A browser closes a page's connection to the database, and tells the page when it gets to it; a
//! call that the page makes before that finds the connection closed, and makes another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::select;
use tokio::sync::watch;
use tokio::time::timeout;

/// How often all that was on a disk was taken away.
#[derive(Clone, Default)]
pub(crate) struct Evictions {
    count: Arc<watch::Sender<u64>>,
}

impl Evictions {
    pub(crate) fn count(&self) -> u64 {
        *self.count.borrow()
    }

    pub(crate) fn happen(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    /// A process that starts now, and knows of all there were.
    pub(crate) fn witness(&self) -> Witness {
        let count = self.count();
        Witness {
            all: self.clone(),
            noticed: Arc::new(watch::Sender::new(count)),
            told: Arc::new(AtomicU64::new(count)),
        }
    }
}

/// What one process knows of them.
#[derive(Clone)]
pub(crate) struct Witness {
    all: Evictions,
    /// How many it can have noticed, and of how many of these it was told.
    noticed: Arc<watch::Sender<u64>>,
    told: Arc<AtomicU64>,
}

impl Witness {
    /// A call finds what is there now.
    pub(crate) fn notice(&self) {
        let count = self.all.count();
        self.noticed.send_if_modified(|noticed| std::mem::replace(noticed, count) != count);
    }

    pub(crate) fn is_told_of_all(&self) -> bool {
        self.told.load(Ordering::Relaxed) == self.all.count()
    }

    /// Tells the process of the next one: as long after it as `delay` says, or as soon as a call
    /// has noticed it.
    pub(crate) async fn next(&self, delay: impl Fn() -> Duration) {
        let (mut all, mut noticed) = (self.all.count.subscribe(), self.noticed.subscribe());
        loop {
            let (count, known) = (*all.borrow_and_update(), *noticed.borrow_and_update());
            if self.told.load(Ordering::Relaxed) < known {
                self.told.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if count == known {
                let (happens, notices) = (Box::pin(all.changed()), Box::pin(noticed.changed()));
                select(happens, notices).await;
            } else if timeout(delay(), noticed.changed()).await.is_err() {
                self.notice();
            }
        }
    }
}
