//! The suite that every store passes: what [`Storage`] promises, one function per promise.
//!
//! A backend's tests name a [`Subject`] that opens one fresh place again and again, and call
//! [`conformance_suite!`](crate::conformance_suite) to get one test per promise.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use leptos_sync_crdt::{Block, Doc, DocId, OpId, PeerId, VersionVector};

use crate::error::{AppendError, CompactError};
use crate::memory::MemoryStorage;
use crate::storage::{Snapshot, Storage, StoredDoc};

/// A place where a store under test can be opened, empty at first.
pub trait Subject {
    /// The backend.
    type Store: Storage;

    /// Opens the place once more. Earlier openings may still be in use.
    fn open(&self) -> impl Future<Output = Self::Store>;
}

/// Makes one test per promise: the attribute of a test, then an expression for a fresh subject.
#[macro_export]
macro_rules! conformance_suite {
    ($attribute:meta, $subject:expr) => {
        $crate::conformance_suite! { @each $attribute, $subject,
            an_unknown_document_is_empty
            what_was_appended_is_there_after_reopening
            blocks_come_back_in_causal_order
            a_repeated_append_changes_nothing
            other_blocks_of_one_peer_are_refused_with_their_batch
            overlapping_blocks_of_one_peer_are_refused
            a_batch_may_not_contradict_itself
            a_batch_covers_several_documents
            a_batch_over_several_documents_is_seen_whole_or_not_at_all
            extreme_peers_keep_apart
            large_blocks_and_long_logs_survive
            two_handles_see_each_other
            a_snapshot_replaces_what_it_covers
            a_stale_snapshot_is_refused
            a_replacement_forgets_what_has_other_names_now
            removing_forgets_one_document
            documents_are_listed_by_id
            versions_tell_what_is_stored
            small_values_are_kept_by_key
            random_operations_match_the_model
        }
    };
    (@each $attribute:meta, $subject:expr, $($promise:ident)+) => { $(
        #[$attribute]
        async fn $promise() {
            $crate::conformance::$promise(&$subject).await;
        }
    )+ };
}

/// A document id for a test.
///
/// # Panics
/// If `id` is not one.
#[must_use]
pub fn doc(id: &str) -> DocId {
    DocId::new(id).expect("tests use valid ids")
}

/// `count` blocks of `peer`, each of `ops` operations, which write `text`.
#[must_use]
pub fn blocks(peer: u64, count: usize, ops: usize, text: &str) -> Vec<Block> {
    let mut author = Doc::new(PeerId(peer));
    let write = |_| {
        let ((), commit) = author.transact(1_000, |tx| {
            for _ in 0..ops {
                tx.register("r").set(text);
            }
        });
        author.block(&commit.expect("something was written"))
    };
    (0..count).map(write).collect()
}

fn snapshot(counts: &[(u64, u32)], bytes: &[u8]) -> Snapshot {
    let version: VersionVector = counts.iter().map(|&(peer, n)| (PeerId(peer), n)).collect();
    Snapshot { version, bytes: bytes.to_vec() }
}

async fn append(store: &impl Storage, id: &str, blocks: &[Block]) {
    store.append(vec![(doc(id), blocks.to_vec())]).await.expect("append succeeds");
}

async fn load(store: &impl Storage, id: &str) -> StoredDoc {
    store.load(&doc(id)).await.expect("load succeeds")
}

/// Nothing is stored of a document before something is.
pub async fn an_unknown_document_is_empty(subject: &impl Subject) {
    let store = subject.open().await;
    assert!(load(&store, "nobody").await.is_empty());
    assert_eq!(store.docs().await.expect("listed"), []);
    store.append(vec![]).await.expect("an empty batch is fine");
    append(&store, "nobody", &[]).await;
    store.remove(&doc("nobody")).await.expect("nothing to remove is fine");
    assert_eq!(store.docs().await.expect("listed"), [], "no blocks, no document");
}

/// An append that has resolved is durable.
pub async fn what_was_appended_is_there_after_reopening(subject: &impl Subject) {
    let written = blocks(7, 3, 2, "kept");
    let store = subject.open().await;
    append(&store, "a", &written[..2]).await;
    append(&store, "a", &written[2..]).await;
    drop(store);
    let stored = load(&subject.open().await, "a").await;
    assert_eq!(stored, StoredDoc { snapshot: None, blocks: written });
}

/// Whatever the order of arrival, what a block depends on comes before it.
pub async fn blocks_come_back_in_causal_order(subject: &impl Subject) {
    let (mut a, mut b) = (Doc::new(PeerId(2)), Doc::new(PeerId(1)));
    let mut written = Vec::new();
    for round in 0..6 {
        let (author, reader) = if round % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let ((), commit) = author.transact(1_000, |tx| tx.register("r").set(round));
        let block = author.block(&commit.expect("something was written"));
        reader.import(1_000, [block.clone()]).expect("a valid block");
        written.push(block);
    }
    let store = subject.open().await;
    for block in written.iter().rev() {
        append(&store, "a", std::slice::from_ref(block)).await;
    }
    assert_eq!(load(&store, "a").await.blocks, written);
}

/// Blocks that are stored are skipped, however they were grouped the first time.
pub async fn a_repeated_append_changes_nothing(subject: &impl Subject) {
    let written = blocks(7, 6, 2, "same");
    let store = subject.open().await;
    append(&store, "a", &written[1..3]).await;
    append(&store, "a", &written).await;
    append(&store, "a", &written[2..5]).await;
    append(&store, "a", &written[..1]).await;
    for block in &written {
        append(&store, "a", &[block.clone(), block.clone()]).await;
    }
    assert_eq!(load(&store, "a").await.blocks, written);
}

/// Two authors that share a peer id are told, and nothing of the batch is written.
pub async fn other_blocks_of_one_peer_are_refused_with_their_batch(subject: &impl Subject) {
    let (ours, theirs) = (blocks(7, 2, 1, "ours"), blocks(7, 3, 1, "theirs"));
    let store = subject.open().await;
    append(&store, "b", &ours).await;
    let batch = vec![
        (doc("a"), blocks(8, 1, 1, "innocent")),
        (doc("b"), theirs.clone()),
        (doc("c"), blocks(9, 1, 1, "innocent")),
    ];
    let refused = store.append(batch).await.expect_err("the peer is shared");
    let AppendError::DuplicatePeer { doc: at, peer, seq } = refused else {
        panic!("refused for another reason: {refused}");
    };
    assert_eq!((at, peer, seq), (doc("b"), PeerId(7), 0));
    assert_eq!(load(&store, "b").await.blocks, ours);
    assert_eq!(store.docs().await.expect("listed"), [doc("b")]);
    append(&store, "other", &theirs).await;
}

/// The chains differ even where no two blocks start at the same operation.
pub async fn overlapping_blocks_of_one_peer_are_refused(subject: &impl Subject) {
    let (long, short) = (blocks(7, 2, 5, "long"), blocks(7, 12, 1, "short"));
    let store = subject.open().await;
    append(&store, "a", &long).await;
    append(&store, "b", &short[3..4]).await;
    for (id, block) in [("a", &short[7]), ("a", &short[9]), ("b", &long[0])] {
        let refused = store.append(vec![(doc(id), vec![block.clone()])]).await;
        assert!(matches!(refused, Err(AppendError::DuplicatePeer { .. })), "{refused:?}");
    }
    append(&store, "a", &short[10..]).await;
    assert_eq!(load(&store, "a").await.blocks.len(), 4, "what only follows is no contradiction");
}

/// Two different blocks for the same operations in one batch are refused as well.
pub async fn a_batch_may_not_contradict_itself(subject: &impl Subject) {
    let store = subject.open().await;
    let both = vec![blocks(7, 1, 1, "this").remove(0), blocks(7, 1, 1, "that").remove(0)];
    let refused = store.append(vec![(doc("a"), both)]).await;
    assert!(matches!(refused, Err(AppendError::DuplicatePeer { .. })), "{refused:?}");
    let apart = vec![(doc("a"), blocks(7, 1, 1, "this")), (doc("a"), blocks(7, 1, 1, "that"))];
    let refused = store.append(apart).await;
    assert!(matches!(refused, Err(AppendError::DuplicatePeer { .. })), "{refused:?}");
    assert!(load(&store, "a").await.is_empty());
}

/// One call may write to many documents, and to one more than once.
pub async fn a_batch_covers_several_documents(subject: &impl Subject) {
    let store = subject.open().await;
    let (a, b) = (blocks(1, 4, 1, "a"), blocks(2, 1, 3, "b"));
    let batch = vec![
        (doc("a"), a[..2].to_vec()),
        (doc("b"), b.clone()),
        (doc("empty"), vec![]),
        (doc("a"), a[1..].to_vec()),
    ];
    store.append(batch).await.expect("append succeeds");
    assert_eq!(load(&store, "a").await.blocks, a);
    assert_eq!(load(&store, "b").await.blocks, b);
    assert_eq!(store.docs().await.expect("listed"), [doc("a"), doc("b")]);
}

/// However writing and reading fall together, whoever finds what was written of one document finds
/// what was written with it of the other; a batch that is refused has written nothing.
pub async fn a_batch_over_several_documents_is_seen_whole_or_not_at_all(subject: &impl Subject) {
    let (writer, reader) = (subject.open().await, subject.open().await);
    let (from, to) = (blocks(1, 30, 1, "from"), blocks(1, 30, 2, "to"));
    let write = async {
        for (from, to) in from.iter().zip(&to) {
            let batch = vec![(doc("from"), vec![from.clone()]), (doc("to"), vec![to.clone()])];
            writer.append(batch).await.expect("append succeeds");
        }
    };
    let read = async {
        for _ in 0..30 {
            let stored = reader.versions().await.expect("listed");
            let ends = stored.iter().map(|(_, version)| version.get(PeerId(1)));
            let ends: Vec<u32> = ends.collect();
            let is_whole = match ends[..] {
                [] => true,
                [from, to] => 2 * from == to,
                _ => false,
            };
            assert!(is_whole, "half is seen: {ends:?}");
            // Written first, read last: what was stored with it is there.
            let first = load(&reader, "to").await.blocks.len();
            assert!(load(&reader, "from").await.blocks.len() >= first, "half is read");
        }
    };
    both(write, read).await;
    let others = blocks(1, 31, 2, "others");
    let more = blocks(1, 31, 1, "from");
    let batch = vec![(doc("from"), more[30..].to_vec()), (doc("to"), others[..1].to_vec())];
    let refused = writer.append(batch).await;
    assert!(matches!(refused, Err(AppendError::DuplicatePeer { .. })), "{refused:?}");
    drop((writer, reader));
    let store = subject.open().await;
    assert_eq!(load(&store, "from").await.blocks, from);
    assert_eq!(load(&store, "to").await.blocks, to);
}

/// Peers are 64-bit numbers, and no two are taken for one.
pub async fn extreme_peers_keep_apart(subject: &impl Subject) {
    let store = subject.open().await;
    // Doubles cannot tell the neighbours of 2^53 and of 2^63 apart.
    let peers = [0, 1, (1 << 53) + 1, 1 << 53, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
    for peer in peers {
        append(&store, "a", &blocks(peer, 2, 1, &peer.to_string())).await;
    }
    let stored = load(&store, "a").await.blocks;
    assert_eq!(stored.len(), peers.len() * 2);
    let covered: Vec<(u64, u32)> = peers[..7].iter().map(|&peer| (peer, 2)).collect();
    store.compact(&doc("a"), snapshot(&covered, b"s")).await.expect("newer than nothing");
    let left = load(&store, "a").await.blocks;
    assert_eq!(left, blocks(u64::MAX, 2, 1, &u64::MAX.to_string()));
}

/// Neither size nor number of blocks loses one.
pub async fn large_blocks_and_long_logs_survive(subject: &impl Subject) {
    let store = subject.open().await;
    let large = blocks(1, 3, 1, &"x".repeat(300_000));
    let mut long = blocks(2, 3_000, 1, "a line of ordinary length, as people type it");
    append(&store, "large", &large).await;
    append(&store, "long", &long).await;
    let more = blocks(3, 500, 1, "y");
    for few in more.chunks(5) {
        append(&store, "long", few).await;
    }
    drop(store);
    let store = subject.open().await;
    assert_eq!(load(&store, "large").await.blocks, large);
    long.extend(more);
    long.sort_by_key(|block| (block.header().stamp, block.peer()));
    assert_eq!(load(&store, "long").await.blocks, long);
}

/// Two openings of one place, as of two tabs, share what is stored.
pub async fn two_handles_see_each_other(subject: &impl Subject) {
    let (one, two) = (subject.open().await, subject.open().await);
    let written = blocks(7, 4, 1, "shared");
    append(&one, "a", &written[..3]).await;
    append(&two, "a", &written[1..]).await;
    assert_eq!(load(&one, "a").await.blocks, written);
    one.put_meta("k", b"1").await.expect("put succeeds");
    assert_eq!(two.get_meta("k").await.expect("read"), Some(b"1".to_vec()));
    let other = blocks(7, 5, 1, "not shared");
    let refused = two.append(vec![(doc("a"), other[4..].to_vec())]).await;
    assert!(refused.is_ok(), "it does not overlap: {refused:?}");
    let refused = one.append(vec![(doc("a"), blocks(7, 5, 1, "third")[4..].to_vec())]).await;
    assert!(matches!(refused, Err(AppendError::DuplicatePeer { .. })), "{refused:?}");
}

/// Blocks that a snapshot covers are gone, the others stay, and covered ones do not come back.
pub async fn a_snapshot_replaces_what_it_covers(subject: &impl Subject) {
    let (a, b) = (blocks(1, 5, 2, "a"), blocks(2, 2, 1, "b"));
    let store = subject.open().await;
    append(&store, "d", &a).await;
    append(&store, "d", &b).await;
    let first = snapshot(&[(1, 6)], b"three blocks of a");
    store.compact(&doc("d"), first.clone()).await.expect("newer than nothing");
    let left = [&b[..], &a[3..]].concat();
    assert_eq!(load(&store, "d").await.snapshot, Some(first));
    assert_eq!(sorted(load(&store, "d").await.blocks), sorted(left.clone()));
    append(&store, "d", &a[..4]).await;
    append(&store, "d", &b[..1]).await;
    assert_eq!(sorted(load(&store, "d").await.blocks), sorted(left), "covered blocks stay away");
    let all = snapshot(&[(1, 10), (2, 2)], b"everything");
    store.compact(&doc("d"), all.clone()).await.expect("newer than the first");
    drop(store);
    let store = subject.open().await;
    assert_eq!(load(&store, "d").await, StoredDoc { snapshot: Some(all), blocks: vec![] });
    assert_eq!(store.docs().await.expect("listed"), [doc("d")], "a snapshot is a document");
}

/// A snapshot that lacks what the stored one has would lose it.
pub async fn a_stale_snapshot_is_refused(subject: &impl Subject) {
    let store = subject.open().await;
    let stored = snapshot(&[(1, 4), (2, 2)], b"stored");
    store.compact(&doc("d"), stored.clone()).await.expect("newer than nothing");
    let more = blocks(3, 1, 1, "more");
    append(&store, "d", &more).await;
    for counts in [&[(1, 4)][..], &[(1, 3), (2, 2), (3, 1)], &[]] {
        let refused = store.compact(&doc("d"), snapshot(counts, b"stale")).await;
        assert!(matches!(refused, Err(CompactError::Stale { .. })), "{refused:?}");
    }
    let expected = StoredDoc { snapshot: Some(stored.clone()), blocks: more };
    assert_eq!(load(&store, "d").await, expected);
    let same = Snapshot { bytes: b"encoded otherwise".to_vec(), ..stored };
    store.compact(&doc("d"), same.clone()).await.expect("the same version is not stale");
    assert_eq!(load(&store, "d").await.snapshot, Some(same));
}

/// A removed document is unknown, may begin anew, and takes no other with it.
pub async fn removing_forgets_one_document(subject: &impl Subject) {
    let store = subject.open().await;
    let kept = blocks(1, 2, 1, "kept");
    for id in ["a", "a/b", "b"] {
        append(&store, id, &kept).await;
        store.compact(&doc(id), snapshot(&[(1, 1)], b"s")).await.expect("newer than nothing");
    }
    store.remove(&doc("a")).await.expect("removed");
    assert!(load(&store, "a").await.is_empty());
    assert_eq!(load(&store, "a/b").await.blocks, kept[1..]);
    assert_eq!(store.docs().await.expect("listed"), [doc("a/b"), doc("b")]);
    let anew = blocks(1, 1, 1, "begun anew");
    append(&store, "a", &anew).await;
    assert_eq!(load(&store, "a").await, StoredDoc { snapshot: None, blocks: anew });
}

/// Ids of every kind are listed once, in order.
pub async fn documents_are_listed_by_id(subject: &impl Subject) {
    let store = subject.open().await;
    let mut ids: Vec<DocId> =
        ["board/42", "board/4", "board", "Böard", "日本", "🦀", "\u{ffff}", "'; --", "a b", "0"]
            .map(doc)
            .into();
    for id in &ids {
        for peer in [1, 2] {
            let batch = vec![(id.clone(), blocks(peer, 1, 1, "x"))];
            store.append(batch).await.expect("append succeeds");
        }
    }
    ids.sort();
    assert_eq!(store.docs().await.expect("listed"), ids);
}

/// Changes that were written again under other names are exchanged for those in one step.
pub async fn a_replacement_forgets_what_has_other_names_now(subject: &impl Subject) {
    let store = subject.open().await;
    let (ours, theirs, apart) = (blocks(1, 6, 1, "a"), blocks(2, 4, 1, "b"), blocks(3, 2, 1, "c"));
    let moved = vec![OpId::new(PeerId(1), 2), OpId::new(PeerId(2), 0)];
    // Packed with others, in a snapshot, and alone.
    append(&store, "a", &ours[..4]).await;
    let old = snapshot(&[(1, 3), (2, 1)], b"old");
    store.compact(&doc("a"), old).await.expect("compacted");
    append(&store, "a", &ours[4..]).await;
    append(&store, "a", &theirs[1..]).await;
    append(&store, "a", &apart).await;
    append(&store, "b", &ours).await;
    let lacks = snapshot(&[(1, 1), (9, 3)], b"lacks");
    let stale = store.replace(&doc("a"), lacks, moved.clone()).await;
    assert!(matches!(stale, Err(CompactError::Stale { .. })), "{stale:?}");
    let new = snapshot(&[(1, 2), (9, 3)], b"new");
    store.replace(&doc("a"), new.clone(), moved.clone()).await.expect("replaced");
    store.replace(&doc("b"), new.clone(), moved).await.expect("replaced");
    drop(store);
    let store = subject.open().await;
    let stored = load(&store, "a").await;
    assert_eq!(stored, StoredDoc { snapshot: Some(new.clone()), blocks: apart });
    let stored = load(&store, "b").await;
    assert_eq!(stored, StoredDoc { snapshot: Some(new), blocks: vec![] });
}

/// What is stored of each document follows from its snapshot and the blocks since.
pub async fn versions_tell_what_is_stored(subject: &impl Subject) {
    let store = subject.open().await;
    assert_eq!(store.versions().await.expect("listed"), []);
    let (first, second) = (blocks(1, 5, 1, "first"), blocks(u64::MAX, 3, 2, "second"));
    append(&store, "logged", &first[..2]).await;
    append(&store, "logged", &second).await;
    let cut = snapshot(&[(1, 4), (9, 7)], b"the first four");
    store.compact(&doc("cut"), cut.clone()).await.expect("compacted");
    append(&store, "cut", &first).await;
    store.compact(&doc("whole"), cut).await.expect("compacted");
    append(&store, "gone", &first).await;
    store.remove(&doc("gone")).await.expect("removed");
    store.put_meta("acked/logged", b"1").await.expect("put succeeds");
    drop(store);
    let store = subject.open().await;
    let version = |parts: &[(u64, u32)]| parts.iter().map(|(p, n)| (PeerId(*p), *n)).collect();
    let expected: Vec<(DocId, VersionVector)> = vec![
        (doc("cut"), version(&[(1, 5), (9, 7)])),
        (doc("logged"), version(&[(1, 2), (u64::MAX, 6)])),
        (doc("whole"), version(&[(1, 4), (9, 7)])),
    ];
    assert_eq!(store.versions().await.expect("listed"), expected);
}

/// Small values are replaced, removed, and listed by the start of their keys.
pub async fn small_values_are_kept_by_key(subject: &impl Subject) {
    let store = subject.open().await;
    assert_eq!(store.get_meta("acked/a").await.expect("read"), None);
    for (key, value) in [("acked/b", &b"2"[..]), ("acked/a", b"0"), ("epoch", b""), ("ack", b"x")] {
        store.put_meta(key, value).await.expect("put succeeds");
    }
    store.put_meta("acked/a", b"1").await.expect("put succeeds");
    store.put_meta("acked/🦀", &[0, 255]).await.expect("put succeeds");
    store.put_meta("gone", b"gone").await.expect("put succeeds");
    store.remove_meta("gone").await.expect("removed");
    store.remove_meta("never").await.expect("nothing to remove is fine");
    drop(store);
    let store = subject.open().await;
    assert_eq!(store.get_meta("acked/a").await.expect("read"), Some(b"1".to_vec()));
    assert_eq!(store.get_meta("epoch").await.expect("read"), Some(vec![]));
    let entry = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    let acked = [entry("acked/a", b"1"), entry("acked/b", b"2"), entry("acked/🦀", &[0, 255])];
    assert_eq!(store.list_meta("acked/").await.expect("listed"), acked);
    let all = store.list_meta("").await.expect("listed");
    let keys: Vec<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["ack", "acked/a", "acked/b", "acked/🦀", "epoch"]);
    assert_eq!(store.docs().await.expect("listed"), [], "a value is not a document");
}

/// Long random histories end as they do in the simplest store.
pub async fn random_operations_match_the_model(subject: &impl Subject) {
    let (mut store, model) = (subject.open().await, MemoryStorage::new());
    let authors: Vec<Vec<Block>> = (0..4)
        .map(|author| blocks(author / 2, 12, 1 + author as usize % 2, &format!("by {author}")))
        .collect();
    let mut random = Random(0x5eed);
    for step in 0..300 {
        let id = ["x", "y", "z"][random.below(3)];
        let (result, expected) = match random.below(20) {
            0 => (store.remove(&doc(id)).await.is_ok(), model.remove(&doc(id)).await.is_ok()),
            1 | 2 => {
                let cut = snapshot(&[(0, random.below(6) as u32), (1, 2)], &[step as u8]);
                let result = store.compact(&doc(id), cut.clone()).await.is_ok();
                (result, model.compact(&doc(id), cut).await.is_ok())
            }
            3 => {
                store = subject.open().await;
                (true, true)
            }
            _ => {
                let mut batch = Vec::new();
                for id in [id, "x"] {
                    let author = &authors[random.below(20) % 4];
                    let (from, len) = (random.below(12), random.below(4));
                    batch.push((doc(id), author[from..(from + len).min(12)].to_vec()));
                }
                let result = store.append(batch.clone()).await.is_ok();
                (result, model.append(batch).await.is_ok())
            }
        };
        assert_eq!(result, expected, "step {step}");
        assert_eq!(load(&store, id).await, load(&model, id).await, "step {step}, document {id}");
    }
    assert_eq!(store.docs().await.expect("listed"), model.docs().await.expect("listed"));
    assert_eq!(store.versions().await.expect("listed"), model.versions().await.expect("listed"));
}

/// Waits for two things that go on at the same time.
async fn both(one: impl Future<Output = ()>, two: impl Future<Output = ()>) {
    let mut parts = [Some(pin!(one) as Pin<&mut dyn Future<Output = ()>>), Some(pin!(two))];
    poll_fn(|context| {
        for part in &mut parts {
            part.take_if(|part| part.as_mut().poll(context).is_ready());
        }
        if parts.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn sorted(mut blocks: Vec<Block>) -> Vec<Block> {
    blocks.sort_by_key(|block| (block.peer(), block.seq()));
    blocks
}

/// A small deterministic generator (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
