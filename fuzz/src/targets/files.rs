//! Blocks and files of any content: their checksums are made right, so that the content is read.

use std::cell::OnceCell;

use leptos_sync_crdt::{
    Block, Doc, ImportError, PACK_BLOCKS_MAX, PeerId, VersionVector, pack_blocks, unpack_blocks,
};

use super::{Target, choice_examples, example_replicas};
use crate::budget::within;
use crate::choices::Choices;
use crate::files::{self, from_input, to_input};
use crate::history::{blocks, merged, replicas};
use crate::show::{LATE_MS, check, edit, shown, use_all};

/// What a page of a log or a repeated text may be packed to: a byte for so many.
const PACKED_MAX: usize = 1_024;

thread_local! {
    static RELATED: OnceCell<Doc> = const { OnceCell::new() };
}

/// Runs `work` with a document that has a history of the same few peers as the examples.
pub(super) fn with_related<T>(work: impl FnOnce(&Doc) -> T) -> T {
    RELATED.with(|doc| {
        let make = || merged(&replicas(&mut Choices::new(&choice_examples()[20])));
        work(doc.get_or_init(make))
    })
}

/// Takes in a block that decodes, and checks that it comes out as it went in.
pub(super) fn take_block(block: &Block) {
    let mut doc = Doc::new(PeerId(70));
    let Ok(import) = doc.import(LATE_MS, [block.clone()]) else { return };
    if import.applied.is_empty() {
        assert_eq!(doc.pending_count(), 1);
    } else {
        assert_eq!(blocks(&doc), std::slice::from_ref(block));
        let mut copy = Doc::new(PeerId(71));
        let update = doc.encode_update(&VersionVector::new());
        copy.import_update(LATE_MS, &update).expect("an update of its own");
        assert_eq!(blocks(&copy), std::slice::from_ref(block));
        assert_eq!(shown(&copy), shown(&doc));
        check(&doc);
    }
    with_related(|related| use_all(doc, related));
    with_related(|related| {
        let mut doc = related.fork(PeerId(72));
        if doc.import(LATE_MS, [block.clone()]).is_ok() {
            check(&doc);
            use_all(doc, &Doc::new(PeerId(73)));
        }
    });
}

pub(super) const BLOCK: Target = Target {
    name: "block",
    about: "one block, into an empty document and into one with a history",
    run: |bytes| {
        let _ = Block::parse(bytes);
        let bytes = files::block(bytes);
        let Ok(block) = Block::parse(&bytes[..]) else { return };
        let checked = within(bytes.len(), || block.validate());
        // Decoding keeps what checking passes over; what they find is the same.
        match (checked, Doc::new(PeerId(70)).import(LATE_MS, [block.clone()])) {
            (Ok(()), Err(error @ ImportError::Decode { .. })) => panic!("found sound, but {error}"),
            (Err(error), Ok(_)) => panic!("taken in, but {error}"),
            (Ok(()), _) => take_block(&block),
            (Err(_), Err(_)) => {}
        }
    },
    examples: || {
        let all = example_replicas().into_iter().flat_map(|docs| blocks(&merged(&docs)));
        all.map(|block| block.bytes()[..block.bytes().len() - 4].to_vec()).collect()
    },
};

/// Takes in an update, and checks that what it brought can be passed on.
pub(super) fn take_update(bytes: &[u8]) {
    let mut doc = Doc::new(PeerId(70));
    let unpacked_max = PACKED_MAX * bytes.len();
    let taken = within(unpacked_max, || doc.import_update(LATE_MS, bytes));
    let unpacked = within(unpacked_max, || unpack_blocks(bytes));
    if taken.is_ok() {
        if doc.block_count() <= PACK_BLOCKS_MAX {
            let mut unpacked = unpacked.expect("what was taken in can be taken apart");
            let mut known = blocks(&doc);
            for all in [&mut unpacked, &mut known] {
                all.sort_unstable_by_key(|block| (block.peer(), block.seq()));
            }
            assert_eq!(unpacked, known);
            let packed = pack_blocks(&blocks(&doc)).expect("its blocks follow one another");
            assert_eq!(unpack_blocks(&packed).expect("a pack"), blocks(&doc));
        }
        let mut copy = Doc::new(PeerId(71));
        copy.import(LATE_MS, blocks(&doc)).expect("what was taken in can be passed on");
        assert_eq!(copy.version(), doc.version());
        assert_eq!(shown(&copy), shown(&doc));
        check(&doc);
        with_related(|related| use_all(doc, related));
    }
    with_related(|related| {
        let mut doc = related.fork(PeerId(72));
        if doc.import_update(LATE_MS, bytes).is_ok() {
            check(&doc);
            use_all(doc, &Doc::new(PeerId(73)));
        }
    });
}

pub(super) const UPDATE: Target = Target {
    name: "update",
    about: "an update file, into an empty document and into one with a history",
    run: |bytes| {
        let _ = Doc::new(PeerId(70)).import_update(LATE_MS, bytes);
        take_update(&from_input(files::UPDATE, bytes));
    },
    examples: || {
        let mut inputs = Vec::new();
        for docs in example_replicas() {
            let whole = merged(&docs);
            inputs.push(to_input(&whole.encode_update(&VersionVector::new())));
            inputs.push(to_input(&whole.encode_update(docs[0].version())));
        }
        inputs
    },
};

/// A trimmed snapshot of the document, with a little history.
pub(super) fn shallow(mut doc: Doc) -> Vec<u8> {
    // An edit that has seen everything is what a base can be.
    edit(&mut doc);
    let seen = doc.version().clone();
    edit(&mut doc);
    doc.encode_shallow_snapshot(&seen).expect("a version that it has")
}

/// Loads a snapshot and does all that can be done with it.
pub(super) fn load(bytes: &[u8]) {
    let loaded = within(bytes.len(), || Doc::from_shallow_snapshot(PeerId(70), bytes));
    let Ok(doc) = loaded else { return };
    with_related(|related| {
        let _ = related.rebase(LATE_MS, bytes, PeerId(74)).map(|rebased| shown(&rebased.doc));
        use_all(doc, related);
    });
}

pub(super) const SNAPSHOT: Target = Target {
    name: "snapshot",
    about: "a snapshot: loaded, read, edited, trimmed, saved",
    run: |bytes| {
        let _ = Doc::from_snapshot(PeerId(70), bytes);
        load(&from_input(files::SNAPSHOT, bytes));
    },
    examples: || {
        let snapshots = example_replicas().into_iter().map(|docs| merged(&docs).encode_snapshot());
        snapshots.map(|bytes| to_input(&bytes)).collect()
    },
};

pub(super) const SHALLOW: Target = Target {
    name: "shallow",
    about: "a trimmed snapshot: likewise, and rebased onto",
    run: |bytes| load(&from_input(files::SHALLOW, bytes)),
    examples: || {
        let trimmed = |docs: Vec<Doc>| to_input(&shallow(merged(&docs)));
        example_replicas().into_iter().map(trimmed).collect()
    },
};
