//! Blocks on a channel: what is sent comes out, and what was not sent does not break the receiver.

use leptos_sync_crdt::{Block, BlockReader, BlockWriter, Reader, Writer};

use super::{Target, choice_examples};
use crate::budget::within;
use crate::choices::Choices;
use crate::files;
use crate::history::{blocks, merged, replicas};

/// So many blocks at most on one channel.
const BLOCKS_MAX: usize = 200;

/// Reads entries until one is refused.
fn read(entries: &[u8]) -> Vec<Block> {
    within(entries.len(), || {
        let (mut reader, mut input) = (BlockReader::default(), Reader::new(entries));
        std::iter::from_fn(|| reader.read(&mut input).ok()).collect()
    })
}

fn written(blocks: &[Block]) -> Vec<u8> {
    let (mut writer, mut entries) = (BlockWriter::default(), Writer::new());
    blocks.iter().for_each(|block| writer.write(block, &mut entries));
    entries.into_vec()
}

/// Blocks of a history, in its order, or out of it, and blocks of any content.
fn sent(choices: &mut Choices<'_>) -> Vec<Block> {
    let all = blocks(&merged(&replicas(choices)));
    let mut sent = all.clone();
    while !choices.is_empty() && sent.len() < BLOCKS_MAX {
        let made = match choices.below(3) {
            0 => Block::parse(files::block(choices.some(60))).ok(),
            // What a block is followed by, as somebody may write it who is not one of us.
            1 => choices.pick(&sent).and_then(|last| {
                let bytes = &last.bytes()[..last.bytes().len() - 4];
                let mut next = bytes.to_vec();
                let at = choices.below(next.len());
                next[at] = next[at].wrapping_add(last.header().len as u8);
                Block::parse(files::block(&next)).ok()
            }),
            _ => choices.pick(&all).cloned(),
        };
        sent.extend(made);
    }
    sent
}

pub(super) const ENTRIES: Target = Target {
    name: "entries",
    about: "entries of a channel: what is sent comes out, damaged ones are refused or give blocks",
    run: |bytes| {
        for block in read(bytes) {
            assert_eq!(Block::parse(block.bytes()), Ok(block));
        }
        let mut choices = Choices::new(bytes);
        let damage = choices.take(8);
        let sent = sent(&mut choices);
        let mut entries = written(&sent);
        assert_eq!(read(&entries), sent);
        let mut damage = Choices::new(damage);
        for _ in 0..1 + damage.below(3) {
            let at = damage.below(entries.len());
            entries.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << damage.below(8));
        }
        for block in read(&entries) {
            assert_eq!(Block::parse(block.bytes()), Ok(block));
        }
    },
    examples: || {
        let mut inputs = choice_examples();
        let histories = inputs.clone();
        inputs.extend(histories.iter().map(|bytes| {
            let all = blocks(&merged(&replicas(&mut Choices::new(bytes))));
            written(&all)
        }));
        inputs.retain(|input| input.len() < 1_000);
        inputs
    },
};
