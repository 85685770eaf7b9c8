//! The IndexedDB store in a real browser: the conformance suite, and what other tabs, older
//! programs and the browser itself may do to it.
#![cfg(target_family = "wasm")]

use std::cell::Cell;

use futures::FutureExt;
use futures::future::join;
use js_sys::{Function, Promise, Uint8Array};
use leptos_sync_crdt::{Block, Writer};
use leptos_sync_storage::conformance::{Subject, blocks, doc};
use leptos_sync_storage::{
    AppendError, Durability, IndexedDbOptions, IndexedDbStorage, OpenError, ReadError, Storage,
    ask_to_persist, conformance_suite,
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

struct Place(String);

impl Place {
    fn new() -> Self {
        thread_local! { static COUNT: Cell<u32> = const { Cell::new(0) } }
        COUNT.set(COUNT.get() + 1);
        // A page that is loaded again has the databases of the last run.
        Self(format!("test-{}-{}", js_sys::Date::now(), COUNT.get()))
    }
}

impl Subject for Place {
    type Store = IndexedDbStorage;

    async fn open(&self) -> IndexedDbStorage {
        IndexedDbStorage::open(&self.0).await.expect("the database opens")
    }
}

conformance_suite!(wasm_bindgen_test, Place::new());

/// Runs JavaScript with the database's name and some bytes, and awaits what it returns.
async fn script(place: &Place, bytes: &[u8], code: &str) -> JsValue {
    const OPEN: &str = "const open = (version, upgrade) => new Promise((done, fail) => {
        const request = indexedDB.open(name, version);
        request.onupgradeneeded = () => upgrade && upgrade(request.result);
        request.onsuccess = () => done(request.result);
        request.onerror = () => fail(request.error);
    });
    const finished = (transaction) => new Promise((done, fail) => {
        transaction.oncomplete = done;
        transaction.onabort = () => fail(transaction.error);
    });";
    let code = format!("{OPEN} return (async () => {{ {code} }})();");
    let function = Function::new_with_args("name, bytes", &code);
    let bytes = Uint8Array::from(bytes);
    let promise = function.call2(&JsValue::NULL, &JsValue::from_str(&place.0), &bytes);
    let promise: Promise = promise.expect("the script starts").unchecked_into();
    JsFuture::from(promise).await.expect("the script ends well")
}

async fn append(store: &IndexedDbStorage, id: &str, blocks: &[Block]) -> Result<(), AppendError> {
    store.append(vec![(doc(id), blocks.to_vec())]).await
}

/// Schema version 1 as it was written, with one record of two blocks, a snapshot and a value.
const VERSION_ONE: &str = "
    const db = await open(1, (db) => {
        for (const store of ['blocks', 'snapshots', 'meta']) db.createObjectStore(store);
    });
    const write = db.transaction(['blocks', 'snapshots', 'meta'], 'readwrite');
    write.objectStore('blocks').put(bytes, ['old', '0000000000000007', 2, 0]);
    write.objectStore('snapshots').put(
        new Uint8Array([1, 9, 0, 0, 0, 0, 0, 0, 0, 4, 115]), 'compacted');
    write.objectStore('meta').put(new Uint8Array([5]), 'epoch');
    await finished(write);";

fn record_of(blocks: &[Block]) -> Vec<u8> {
    let mut record = Writer::new();
    record.u8(1);
    blocks.iter().for_each(|block| record.bytes(block.bytes()));
    record.into_vec()
}

#[wasm_bindgen_test]
async fn an_older_schema_is_migrated_with_all_its_data() {
    let (place, written) = (Place::new(), blocks(7, 3, 1, "written by version 1"));
    script(&place, &record_of(&written[..2]), &format!("{VERSION_ONE} db.close();")).await;
    let store = place.open().await;
    assert_eq!(store.docs().await.unwrap(), [doc("compacted"), doc("old")]);
    assert_eq!(store.load(&doc("old")).await.unwrap().blocks, written[..2]);
    let snapshot = store.load(&doc("compacted")).await.unwrap().snapshot.unwrap();
    assert_eq!(snapshot.bytes, b"s");
    assert_eq!(snapshot.version.get(leptos_sync_crdt::PeerId(9)), 4);
    assert_eq!(store.get_meta("epoch").await.unwrap(), Some(vec![5]));
    append(&store, "old", &written).await.unwrap();
    append(&store, "compacted", &blocks(9, 4, 1, "covered")).await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(store.load(&doc("old")).await.unwrap().blocks, written);
    assert!(store.load(&doc("compacted")).await.unwrap().blocks.is_empty());
}

#[wasm_bindgen_test]
async fn a_newer_schema_is_refused_untouched() {
    let place = Place::new();
    script(&place, &[], "(await open(9, (db) => db.createObjectStore('new'))).close();").await;
    let refused = IndexedDbStorage::open(&place.0).await;
    assert!(matches!(refused, Err(OpenError::NewerSchema { found: 9, known: 2 })), "{refused:?}");
    let stores = script(
        &place,
        &[],
        "const db = await open(); db.close(); return [...db.objectStoreNames].join();",
    )
    .await;
    assert_eq!(stores.as_string().as_deref(), Some("new"));
}

#[wasm_bindgen_test]
async fn a_tab_that_does_not_let_go_blocks_by_name_and_not_for_ever() {
    let (place, written) = (Place::new(), blocks(7, 2, 1, "x"));
    let hold = format!("{VERSION_ONE} globalThis.held = db;");
    script(&place, &record_of(&written), &hold).await;
    let mut options = IndexedDbOptions::default();
    options.blocked_ms_max = 100;
    // The browser tells the first that waits only.
    for attempt in 0..2 {
        let blocked = IndexedDbStorage::open_with(&place.0, options).await;
        assert!(matches!(blocked, Err(OpenError::Blocked)), "{attempt}: {blocked:?}");
    }
    script(&place, &[], "held.close();").await;
    // What was given up must not stand in the way once it gets its turn.
    let store = place.open().await;
    assert_eq!(store.load(&doc("old")).await.unwrap().blocks, written);
    script(&place, &[], "(await open(9)).close();").await;
}

/// An upgrade that does not end: whoever opens the database waits, and nobody says for what.
const HOLD_UPGRADE: &str = "
    globalThis.isHeld = true;
    globalThis.upgraded = open(9, (db) => {
        const store = db.createObjectStore('new');
        const goOn = () => { if (isHeld) store.get('k').onsuccess = goOn; };
        goOn();
    });
    await new Promise((done) => setTimeout(done));";

#[wasm_bindgen_test]
async fn a_database_that_does_not_open_is_not_said_to_be_held_by_a_tab() {
    let place = Place::new();
    script(&place, &[], HOLD_UPGRADE).await;
    let mut options = IndexedDbOptions::default();
    options.blocked_ms_max = 100;
    let refused = IndexedDbStorage::open_with(&place.0, options).await;
    assert!(matches!(refused, Err(OpenError::Unavailable)), "{refused:?}");
    script(&place, &[], "isHeld = false; (await upgraded).close();").await;
    let newer = IndexedDbStorage::open_with(&place.0, options).await;
    assert!(matches!(newer, Err(OpenError::NewerSchema { found: 9, .. })), "{newer:?}");
}

#[wasm_bindgen_test]
async fn a_newer_program_may_take_over() {
    let place = Place::new();
    let store = place.open().await;
    append(&store, "a", &blocks(7, 1, 1, "x")).await.unwrap();
    script(&place, &[], "(await open(9)).close();").await;
    assert!(matches!(store.load(&doc("a")).await, Err(ReadError::Closed)));
    let refused = append(&store, "a", &blocks(7, 2, 1, "x")).await;
    assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");
}

#[wasm_bindgen_test]
async fn a_closed_store_refuses_by_name_and_another_opening_goes_on() {
    let place = Place::new();
    let (store, other) = (place.open().await, place.open().await);
    append(&store, "a", &blocks(7, 1, 1, "x")).await.unwrap();
    store.clone().close();
    assert!(matches!(store.docs().await, Err(ReadError::Closed)));
    assert_eq!(other.docs().await.unwrap(), [doc("a")]);
}

/// Remembers each database on which a transaction begins, with the durability that was asked for.
const SPY: &str = "
    const begin = IDBDatabase.prototype.transaction;
    globalThis.begun = [];
    globalThis.unspy = () => { IDBDatabase.prototype.transaction = begin; };
    IDBDatabase.prototype.transaction = function (...all) {
        globalThis.begun.push({ db: this, mode: all[1], durability: all[2]?.durability });
        return begin.apply(this, all);
    };";

#[wasm_bindgen_test]
async fn a_lost_connection_is_opened_again() {
    let (place, written) = (Place::new(), blocks(7, 3, 1, "x"));
    let store = place.open().await;
    script(&place, &[], SPY).await;
    append(&store, "a", &written[..1]).await.unwrap();
    // The browser's process died: nobody said so, and the next transaction throws.
    script(&place, &[], "begun.at(-1).db.close();").await;
    append(&store, "a", &written[..2]).await.unwrap();
    // The site's data was cleared: the browser closes, and says so.
    let clear = "const db = begun.at(-1).db; db.close(); db.dispatchEvent(new Event('close'));";
    script(&place, &[], clear).await;
    let (wrote, read) = join(append(&store, "a", &written), store.load(&doc("a"))).await;
    wrote.unwrap();
    assert!(read.unwrap().blocks.len() >= 2);
    let connections =
        script(&place, &[], "unspy(); return new Set(begun.map((each) => each.db)).size;").await;
    assert_eq!(connections.as_f64(), Some(3.0), "one for each loss, not one for each call");
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written);
}

/// A transaction of another tab that does not end, as a browser that hangs.
const HOLD_TRANSACTION: &str = "
    const db = await open();
    const transaction = db.transaction([...db.objectStoreNames], 'readwrite');
    globalThis.isHeld = true;
    const goOn = () => {
        if (isHeld) transaction.objectStore('meta').get('k').onsuccess = goOn;
        else db.close();
    };
    goOn();";

#[wasm_bindgen_test]
async fn a_browser_that_does_not_answer_is_unavailable_and_not_for_ever() {
    let (place, written) = (Place::new(), blocks(7, 2, 1, "x"));
    let store = place.open().await;
    append(&store, "a", &written[..1]).await.unwrap();
    script(&place, &[], HOLD_TRANSACTION).await;
    let (wrote, read) = join(append(&store, "a", &written), store.load(&doc("a"))).await;
    assert!(matches!(wrote, Err(AppendError::Unavailable)), "{wrote:?}");
    assert!(matches!(read, Err(ReadError::Unavailable)), "{read:?}");
    script(&place, &[], "isHeld = false;").await;
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written[..1], "given up is not done");
    append(&store, "a", &written).await.unwrap();
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written);
}

/// Whoever waits is told of each loss once, found out by the browser or by a call.
#[wasm_bindgen_test]
async fn each_loss_of_the_database_is_told_once() {
    let place = Place::new();
    let store = place.open().await;
    script(&place, &[], SPY).await;
    store.put_meta("k", b"v").await.unwrap();
    let clear = "const db = begun.at(-1).db; db.close(); db.dispatchEvent(new Event('close'));";
    for loss in [clear, "begun.at(-1).db.close();"] {
        assert!(store.lost().now_or_never().is_none(), "nothing is lost");
        script(&place, &[], loss).await;
        store.put_meta("k", b"again").await.unwrap();
        store.lost().await;
    }
    assert!(store.lost().now_or_never().is_none(), "told twice");
    script(&place, &[], "unspy();").await;
    assert_eq!(store.get_meta("k").await.unwrap().as_deref(), Some(&b"again"[..]));
}

#[wasm_bindgen_test]
async fn durability_is_asked_of_the_browser() {
    let place = Place::new();
    let mut options = IndexedDbOptions::default();
    options.durability = Durability::Strict;
    let strict = IndexedDbStorage::open_with(&place.0, options).await.unwrap();
    let relaxed = place.open().await;
    script(&place, &[], SPY).await;
    append(&strict, "a", &blocks(7, 1, 1, "x")).await.unwrap();
    append(&relaxed, "a", &blocks(8, 1, 1, "x")).await.unwrap();
    let asked = "unspy(); return begun.map((each) => `${each.mode} ${each.durability}`).join();";
    let asked = script(&place, &[], asked).await.as_string();
    assert_eq!(asked.as_deref(), Some("readwrite strict,readwrite relaxed"));
}

/// A quota cannot be set from within the page, so the transaction reports as one out of quota does:
/// puts go through, then `abort` fires with a QuotaExceededError.
#[wasm_bindgen_test]
async fn a_quota_that_is_exceeded_is_named_and_writing_resumes_with_room() {
    let (place, written) = (Place::new(), blocks(7, 2, 1, "x"));
    let store = place.open().await;
    append(&store, "a", &written[..1]).await.unwrap();
    let exceed = "
        const commit = IDBTransaction.prototype.commit;
        const error = Object.getOwnPropertyDescriptor(IDBTransaction.prototype, 'error');
        globalThis.makeRoom = () => {
            IDBTransaction.prototype.commit = commit;
            Object.defineProperty(IDBTransaction.prototype, 'error', error);
        };
        IDBTransaction.prototype.commit = function () { this.abort(); };
        Object.defineProperty(IDBTransaction.prototype, 'error', {
            configurable: true,
            get: () => new DOMException('full', 'QuotaExceededError'),
        });";
    script(&place, &[], exceed).await;
    let full = append(&store, "a", &written).await;
    let also = store.put_meta("k", b"v").await;
    script(&place, &[], "makeRoom();").await;
    assert!(matches!(full, Err(AppendError::QuotaExceeded)), "{full:?}");
    assert!(matches!(also, Err(AppendError::QuotaExceeded)), "{also:?}");
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written[..1]);
    append(&store, "a", &written).await.unwrap();
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written);
}

#[wasm_bindgen_test]
async fn two_tabs_that_write_at_once_agree() {
    let (place, written) = (Place::new(), blocks(7, 40, 1, "shared"));
    let (one, two) = (place.open().await, place.open().await);
    let (a, b) = join(append(&one, "a", &written), append(&two, "a", &written[5..30])).await;
    a.unwrap();
    b.unwrap();
    assert_eq!(two.load(&doc("a")).await.unwrap().blocks, written);
    let (ours, theirs) = (blocks(9, 3, 1, "ours"), blocks(9, 3, 1, "theirs"));
    let (a, b) = join(append(&one, "b", &ours), append(&two, "b", &theirs[1..])).await;
    assert!(a.is_ok() != b.is_ok(), "one of them shares the other's peer: {a:?} {b:?}");
    let records = script(
        &place,
        &[],
        "const db = await open();
         const read = db.transaction('blocks').objectStore('blocks').count(
             IDBKeyRange.bound(['a'], ['a', []]));
         return new Promise((done) => read.onsuccess = () => { db.close(); done(read.result); });",
    )
    .await;
    assert_eq!(records.as_f64(), Some(1.0), "forty blocks of one append are one record");
}

#[wasm_bindgen_test]
async fn an_append_that_is_given_up_leaves_the_store_usable() {
    let (place, written) = (Place::new(), blocks(7, 3, 1, "x"));
    let store = place.open().await;
    {
        let abandoned = std::pin::pin!(append(&store, "a", &written[..2]));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(abandoned.poll(&mut context).is_pending());
    }
    append(&store, "a", &written).await.unwrap();
    assert_eq!(store.load(&doc("a")).await.unwrap().blocks, written);
}

#[wasm_bindgen_test]
async fn a_damaged_record_is_corrupt_by_name() {
    let place = Place::new();
    let store = place.open().await;
    append(&store, "whole", &blocks(7, 1, 1, "x")).await.unwrap();
    append(&store, "damaged", &blocks(7, 1, 1, "x")).await.unwrap();
    let damage = "const db = await open();
        const write = db.transaction('blocks', 'readwrite');
        write.objectStore('blocks').put(bytes, ['damaged', '0000000000000007', 2, 1]);
        await finished(write);
        db.close();";
    script(&place, &[1, 2, 3, 4], damage).await;
    let corrupt = store.load(&doc("damaged")).await;
    assert!(
        matches!(&corrupt, Err(ReadError::Corrupt { doc: at, .. }) if *at == doc("damaged")),
        "{corrupt:?}"
    );
    assert_eq!(store.load(&doc("whole")).await.unwrap().blocks.len(), 1);
}

#[wasm_bindgen_test]
async fn asking_to_persist_is_answered() {
    // Headless browsers say no; that the question is answered is what matters.
    let _ = ask_to_persist().await;
}
