//! Transactions over several documents: what a person may rely on.
#![cfg(not(target_family = "wasm"))]

mod support;

use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use leptos_sync_crdt::DocId;
use leptos_sync_engine::{DocEvent, DocHandle, SyncEngine, TransactError};
use leptos_sync_storage::Fault;

use support::{Device, TestServer, Writing, close, pass, simulate, until};

fn accounts(tab: &SyncEngine) -> [DocHandle; 2] {
    ["account/ada", "account/ben"].map(|id| tab.open(&DocId::new(id).expect("a valid id")))
}

async fn loaded(tab: &SyncEngine) -> [DocHandle; 2] {
    let docs = accounts(tab);
    let loading = docs.clone();
    until(move || loading.iter().all(DocHandle::is_loaded)).await;
    docs
}

fn pay(tab: &SyncEngine, [from, to]: &[DocHandle; 2], amount: i64) {
    let paid = tab.transact_all([from, to], |[from, to]| {
        from.counter("balance").add(-amount);
        to.counter("balance").add(amount);
        Ok::<(), Infallible>(())
    });
    assert_eq!(paid, Ok(()));
}

fn balances(docs: &[DocHandle; 2]) -> [i64; 2] {
    [0, 1].map(|at| docs[at].read(|doc| doc.counter("balance")))
}

/// Whatever ends the closure early, nothing has changed in any document, and nobody hears of it.
#[test]
fn a_transaction_over_several_documents_that_is_given_up_changes_none_of_them() {
    simulate(async {
        let tab = Device::new(1).lonely_tab();
        let docs = loaded(&tab).await;
        pay(&tab, &docs, 5);
        let versions = || [0, 1].map(|at: usize| docs[at].read(|doc| doc.version().clone()));
        let before = versions();
        let heard = Rc::new(RefCell::new(0));
        let count = heard.clone();
        let _subscription = docs[0].subscribe(move |event| {
            *count.borrow_mut() += u32::from(matches!(event, DocEvent::Changed { .. }));
        });
        let refused = tab.transact_all([&docs[0], &docs[1]], |[from, to]| {
            from.counter("balance").add(-1_000);
            to.counter("balance").add(1_000);
            if from.doc().counter("balance") < -100 { Err("not enough") } else { Ok(()) }
        });
        assert_eq!(refused, Err(TransactError::Refused("not enough")));
        let panics = AssertUnwindSafe(|| {
            tab.transact_all([&docs[0], &docs[1]], |[from, _]| -> Result<(), Infallible> {
                from.counter("balance").add(-1);
                panic!("in the middle");
            })
        });
        assert!(catch_unwind(panics).is_err());
        assert_eq!((versions(), balances(&docs), *heard.borrow()), (before, [-5, 5], 0));
        pay(&tab, &docs, 1);
        assert_eq!((balances(&docs), *heard.borrow()), ([-6, 6], 1));
    });
}

/// Nobody is told of one document before the others have changed.
#[test]
fn subscribers_hear_when_all_documents_have_changed() {
    simulate(async {
        let tab = Device::new(1).lonely_tab();
        let docs = loaded(&tab).await;
        let seen = Rc::new(RefCell::new(Vec::new()));
        let _subscriptions = docs.clone().map(|doc| {
            let (docs, seen) = (docs.clone(), seen.clone());
            doc.subscribe(move |event| {
                if matches!(event, DocEvent::Changed { .. }) {
                    seen.borrow_mut().push(balances(&docs));
                }
            })
        });
        pay(&tab, &docs, 7);
        assert_eq!(*seen.borrow(), [[-7, 7], [-7, 7]]);
    });
}

/// What cannot be is refused by name, and nothing has changed.
#[test]
fn documents_that_cannot_be_changed_together_are_refused_by_name() {
    simulate(async {
        let device = Device::new(1);
        let (tab, other) = (device.lonely_tab(), device.lonely_tab());
        let [from, to] = loaded(&tab).await;
        let again = from.clone();
        let elsewhere = other.open(to.id());
        let nothing = |docs: &[&DocHandle]| {
            tab.transact_each(docs, |_| -> Result<(), Infallible> { panic!("it is not called") })
        };
        assert_eq!(nothing(&[&from, &elsewhere]), Err(TransactError::NotOpen(1)));
        assert_eq!(nothing(&[&from, &to, &again]), Err(TransactError::Twice(2)));
        let within = to.read(|_| nothing(&[&from, &to]));
        assert_eq!(within, Err(TransactError::InUse(1)));
        let within = from.transact(|_| nothing(&[&to, &from]));
        assert_eq!(within, Err(TransactError::InUse(1)));
        assert_eq!(balances(&[from, to]), [0, 0]);
    });
}

/// Whether one document is undone is not for the other to decide.
#[test]
fn each_document_undoes_its_own_part() {
    simulate(async {
        let tab = Device::new(1).lonely_tab();
        let docs = loaded(&tab).await;
        pay(&tab, &docs, 3);
        assert!(docs[0].undo() && !docs[0].undo());
        assert_eq!(balances(&docs), [0, 3]);
        assert!(docs[1].undo() && docs[0].redo());
        assert_eq!(balances(&docs), [-3, 0]);
    });
}

/// A start after the end finds both or neither: they are one write, made when both are read.
#[test]
fn both_documents_are_stored_in_one_write_or_neither_is() {
    simulate(async {
        let device = Device::new(1);
        let tab = device.lonely_tab();
        // Before either has been read.
        let docs = accounts(&tab);
        pay(&tab, &docs, 4);
        close(tab, docs.to_vec()).await;
        let tab = device.lonely_tab();
        let docs = loaded(&tab).await;
        assert_eq!(balances(&docs), [-4, 4]);

        device.storage.fail_writes(Some(Fault::QuotaExceeded));
        pay(&tab, &docs, 1);
        pass(100).await;
        assert_eq!(balances(&loaded(&device.lonely_tab()).await), [-5, 5], "told by the tab");
        let mut alone = Device::new(2);
        alone.storage = device.storage.clone();
        assert_eq!(balances(&loaded(&alone.lonely_tab()).await), [-4, 4], "there was no room");
        device.storage.fail_writes(None);
        let stored = docs.clone();
        until(move || stored.iter().all(|doc| doc.status().saved_here)).await;
        assert_eq!(balances(&loaded(&alone.lonely_tab()).await), [-5, 5]);
    });
}

/// The other tabs of a device take in both before any of their subscribers hears of one.
#[test]
fn other_tabs_take_in_all_documents_before_they_tell_anybody() {
    simulate(async {
        let device = Device::new(1);
        let (tab, other) = (device.lonely_tab(), device.lonely_tab());
        let (docs, theirs) = (loaded(&tab).await, loaded(&other).await);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let _subscriptions = theirs.clone().map(|doc| {
            let (docs, seen) = (theirs.clone(), seen.clone());
            doc.subscribe(move |event| {
                if matches!(event, DocEvent::Changed { .. }) {
                    seen.borrow_mut().push(balances(&docs));
                }
            })
        });
        pay(&tab, &docs, 2);
        let arrived = seen.clone();
        until(move || arrived.borrow().len() == 2).await;
        assert_eq!(*seen.borrow(), [[-2, 2], [-2, 2]]);
    });
}

/// The server and other devices get both, each in its own document.
#[test]
fn both_documents_reach_other_devices() {
    simulate(async {
        let server = TestServer::start();
        server.set_reachable(false).await;
        let tab = Device::new(1).tab(&server);
        let docs = loaded(&tab).await;
        pay(&tab, &docs, 9);
        server.set_reachable(true).await;
        let theirs = accounts(&Device::new(2).tab(&server));
        let all = (docs.clone(), theirs.clone());
        until(move || balances(&all.1) == [-9, 9] && all.0.iter().all(Writing::is_saved)).await;
    });
}
