//! The memory store: the conformance suite, and the failures that it can be told to play.
#![cfg(not(target_family = "wasm"))]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use leptos_sync_storage::conformance::{Subject, blocks, doc};
use leptos_sync_storage::{
    AppendError, CompactError, Fault, MemoryStorage, ReadError, Snapshot, Storage,
    conformance_suite,
};

impl Subject for Memory {
    type Store = MemoryStorage;

    async fn open(&self) -> MemoryStorage {
        self.0.reopen()
    }
}

struct Memory(MemoryStorage);

conformance_suite!(tokio::test, Memory(MemoryStorage::new()));

#[tokio::test]
async fn a_closed_handle_refuses_everything_and_another_has_the_data() {
    let store = MemoryStorage::new();
    store.append(vec![(doc("a"), blocks(1, 1, 1, "x"))]).await.unwrap();
    store.clone().close();
    assert!(matches!(store.load(&doc("a")).await, Err(ReadError::Closed)));
    assert!(matches!(store.append(vec![]).await, Err(AppendError::Closed)));
    let reopened = store.reopen();
    assert_eq!(reopened.load(&doc("a")).await.unwrap().blocks.len(), 1);
}

#[tokio::test]
async fn a_document_is_empty_until_something_is_stored_and_not_because_it_is_compacted() {
    let store = MemoryStorage::new();
    assert!(store.load(&doc("a")).await.unwrap().is_empty());
    store.append(vec![(doc("a"), blocks(1, 1, 1, "x"))]).await.unwrap();
    assert!(!store.load(&doc("a")).await.unwrap().is_empty());
    let (_, version) = store.versions().await.unwrap().remove(0);
    store.compact(&doc("a"), Snapshot { version, bytes: vec![] }).await.unwrap();
    let stored = store.load(&doc("a")).await.unwrap();
    assert!(stored.blocks.is_empty() && !stored.is_empty());
}

#[tokio::test]
async fn played_failures_have_their_names_and_write_nothing() {
    let store = MemoryStorage::new();
    let write = || store.append(vec![(doc("a"), blocks(1, 1, 1, "x"))]);
    store.fail_writes(Some(Fault::QuotaExceeded));
    assert!(matches!(write().await, Err(AppendError::QuotaExceeded)));
    store.fail_writes(Some(Fault::Blocked));
    assert!(matches!(write().await, Err(AppendError::Blocked)));
    store.fail_writes(Some(Fault::Broken));
    assert!(matches!(write().await, Err(AppendError::Broken { .. })));
    store.fail_writes(Some(Fault::Unavailable));
    let snapshot = Snapshot { version: Default::default(), bytes: vec![] };
    let compacted = store.compact(&doc("a"), snapshot).await;
    assert!(matches!(compacted, Err(CompactError::Unavailable)));
    store.fail_writes(None);
    store.fail_reads(Some(Fault::Unavailable));
    assert!(matches!(store.docs().await, Err(ReadError::Unavailable)));
    store.fail_reads(None);
    assert!(store.load(&doc("a")).await.unwrap().is_empty());
    write().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_stalled_store_is_woken_when_the_stall_ends() {
    let store = MemoryStorage::new();
    store.stall_writes(true);
    let waiting = store.clone();
    let write = tokio::spawn(async move { waiting.put_meta("k", b"v").await });
    tokio::task::yield_now().await;
    assert_eq!(store.get_meta("k").await.unwrap(), None);
    store.stall_writes(false);
    let woken = tokio::time::timeout(Duration::from_secs(5), write).await;
    woken.expect("the task is polled again").unwrap().unwrap();
    assert_eq!(store.get_meta("k").await.unwrap(), Some(b"v".to_vec()));
}

#[tokio::test]
async fn a_stalled_write_takes_effect_when_the_stall_ends() {
    let store = MemoryStorage::new();
    store.stall_writes(true);
    let mut write = pin!(store.append(vec![(doc("a"), blocks(1, 1, 1, "x"))]));
    let mut context = Context::from_waker(Waker::noop());
    assert!(!store.is_write_waiting());
    assert!(write.as_mut().poll(&mut context).is_pending());
    assert!(store.load(&doc("a")).await.unwrap().is_empty());
    assert!(store.is_write_waiting());
    store.stall_writes(false);
    assert!(!store.is_write_waiting());
    write.await.unwrap();
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks.len(), 1);
}

#[tokio::test]
async fn who_watches_a_store_is_told_each_time_that_it_is_taken_away() {
    let store = MemoryStorage::new();
    store.put_meta("k", b"v").await.unwrap();
    let watching = store.reopen();
    let watch = tokio::spawn(async move {
        watching.lost().await;
        watching.lost().await;
        watching
    });
    tokio::task::yield_now().await;
    store.take_away(false);
    tokio::task::yield_now().await;
    assert!(!watch.is_finished(), "it was once");
    assert_eq!(store.get_meta("k").await.unwrap(), Some(b"v".to_vec()));
    store.take_away(true);
    let woken = tokio::time::timeout(Duration::from_secs(5), watch).await;
    let watching = woken.expect("the task is polled again").unwrap();
    assert_eq!(watching.get_meta("k").await.unwrap(), None);
    for handle in [watching, store.reopen()] {
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(handle.lost()).poll(&mut context).is_pending(), "there is no further loss");
    }
}
