//! Histories that choices drive: what replicas wrote is damaged and taken in, or merged as it is.

use leptos_sync_crdt::{Block, Doc, PeerId, VersionVector};

use super::files::{load, shallow, take_block, take_update};
use super::{Target, choice_examples};
use crate::choices::Choices;
use crate::files::{damaged, damaged_block};
use crate::history::{blocks, merged, replicas};
use crate::show::{LATE_MS, shown, use_all};

pub(super) const BLOCKS: Target = Target {
    name: "damaged-blocks",
    about: "blocks of a history, one of them damaged",
    run: |bytes| {
        let (mut choices, mut damage) = halves(bytes);
        let docs = replicas(&mut choices);
        let mut all = blocks(&merged(&docs));
        let Some(chosen) = choose(&mut all, &mut damage) else { return };
        let bytes = damaged_block(chosen.bytes(), &mut damage);
        let Ok(block) = Block::parse(&bytes[..]) else { return };
        if block.validate().is_err() {
            return;
        }
        *chosen = block.clone();
        let mut doc = Doc::new(PeerId(91));
        for block in all {
            let _ = doc.import(LATE_MS, [block]);
        }
        use_all(doc, &docs[0]);
        take_block(&block);
    },
    examples: choice_examples,
};

fn halves(bytes: &[u8]) -> (Choices<'_>, Choices<'_>) {
    let (last, first) = bytes.split_at(bytes.len().min(24));
    (Choices::new(first), Choices::new(last))
}

fn choose<'b>(blocks: &'b mut [Block], damage: &mut Choices<'_>) -> Option<&'b mut Block> {
    let chosen = damage.below(blocks.len());
    blocks.get_mut(chosen)
}

pub(super) const UPDATES: Target = Target {
    name: "damaged-updates",
    about: "an update of a history, damaged",
    run: |bytes| {
        let (mut choices, mut damage) = halves(bytes);
        let docs = replicas(&mut choices);
        let whole = merged(&docs);
        let known = if damage.below(2) == 0 { &VersionVector::new() } else { docs[0].version() };
        let update = damaged(&whole.encode_update(known), &mut damage);
        take_update(&update);
        for mut doc in docs {
            if doc.import_update(LATE_MS, &update).is_ok() {
                use_all(doc, &whole);
            }
        }
    },
    examples: choice_examples,
};

pub(super) const SNAPSHOTS: Target = Target {
    name: "damaged-snapshots",
    about: "a snapshot of a history, trimmed or not, damaged",
    run: |bytes| {
        let (mut choices, mut damage) = halves(bytes);
        let docs = replicas(&mut choices);
        let whole = merged(&docs);
        let is_trimmed = damage.below(2) == 0;
        let snapshot = if is_trimmed { shallow(merged(&docs)) } else { whole.encode_snapshot() };
        let snapshot = damaged(&snapshot, &mut damage);
        let _ = docs[1].rebase(LATE_MS, &snapshot, PeerId(92)).map(|rebased| {
            use_all(rebased.doc, &whole);
        });
        load(&snapshot);
    },
    examples: choice_examples,
};

pub(super) const MERGES: Target = Target {
    name: "merges",
    about: "replicas with the same blocks are equal, however they got them",
    run: |bytes| {
        let (mut choices, mut order) = halves(bytes);
        let mut docs = replicas(&mut choices);
        let whole = merged(&docs);
        let mut all = blocks(&whole);
        assert_eq!(whole.block_count(), all.len());
        let mut expected = shown(&whole);
        // One by one, in any order, some of them twice.
        let mut shuffled = Doc::new(PeerId(91));
        for upto in (1..all.len()).rev() {
            all.swap(upto, order.below(upto + 1));
        }
        for block in all.iter().chain(all.first()) {
            shuffled.import(LATE_MS, [block.clone()]).expect("in any order");
        }
        assert_eq!(shuffled.pending_count(), 0);
        // Each of the replicas, by an update of what it lacks.
        for doc in &mut docs {
            let update = whole.encode_update(doc.version());
            doc.import_update(LATE_MS, &update).expect("an update of what it lacks");
            assert_eq!(shown(doc), expected);
        }
        // From a file.
        let loaded = Doc::from_snapshot(PeerId(93), &whole.encode_snapshot());
        let mut loaded = loaded.expect("a snapshot of its own");
        let mut updated = Doc::new(PeerId(94));
        let update = whole.encode_update(&VersionVector::new());
        updated.import_update(LATE_MS, &update).expect("an update of its own");
        for doc in [&shuffled, &loaded, &updated] {
            assert_eq!(shown(doc), expected);
            assert_eq!(doc.version(), whole.version());
        }
        // A trimmed one goes on as the others do.
        let seen = docs[order.below(docs.len())].version().clone();
        loaded.trim_history(&seen).expect("a version that it has");
        assert_eq!(shown(&loaded), expected);
        crate::show::edit(&mut shuffled);
        expected = shown(&shuffled);
        let news = shuffled.blocks_since(whole.version());
        for doc in [&mut loaded, &mut updated] {
            doc.import(LATE_MS, news.clone()).expect("they follow all that is there");
            assert_eq!(shown(doc), expected);
        }
    },
    examples: choice_examples,
};
