//! What other tabs of a device say, when it is not what this one would.

use leptos_sync_crdt::{Block, DocId, Writer};
use leptos_sync_engine::{EngineConfig, SyncEngine, TabLink as _};
use leptos_sync_storage::{MemoryStorage, Storage as _};
use leptos_sync_transport::{MemoryTransport, TabBus, TabPort};

use super::device::{FuzzEnv, play, settle};
use super::{Target, choice_examples};
use crate::choices::Choices;
use crate::files::block;
use crate::history::{blocks, merged, replicas};

pub(super) const TABS: Target = Target {
    name: "tabs",
    about: "two tabs and a third that says anything: they store what is written, or say why not",
    run: |bytes| play(talk(bytes)),
    examples: choice_examples,
};

/// What is said at most.
const MESSAGES_MAX: usize = 12;

async fn talk(bytes: &[u8]) {
    let (bus, storage) = (TabBus::new(), MemoryStorage::new());
    let stranger = bus.join();
    let mut choices = Choices::new(bytes);
    let start = |life: u64| {
        SyncEngine::start(
            EngineConfig::default(),
            storage.reopen(),
            None::<MemoryTransport>,
            bus.join(),
            FuzzEnv::new(life),
        )
    };
    let engines = [1, 2].map(start);
    let doc = DocId::new("d").expect("a valid id");
    let handles = engines.each_ref().map(|engine| engine.open(&doc));
    for _ in 0..MESSAGES_MAX {
        if choices.is_empty() {
            break;
        }
        let mark = storage.get_meta("kept").await.expect("memory can be read");
        say(&stranger, mark, &mut choices);
        if choices.below(2) == 0 {
            bus.deliver();
            tokio::task::yield_now().await;
        }
        if let Some(handle) = handles.get(choices.below(4)) {
            handle.transact(|tx| tx.counter("edits").add(1));
        }
    }
    bus.deliver();
    for (engine, handle) in engines.iter().zip(&handles) {
        handle.transact(|tx| tx.counter("edits").add(1));
        settle(engine, handle).await;
        bus.deliver();
    }
    engines.iter().for_each(SyncEngine::shutdown);
}

/// Posts a message, as a tab may write it that is of another version, or damaged.
fn say(stranger: &TabPort, mark: Option<Vec<u8>>, choices: &mut Choices<'_>) {
    let mut out = Writer::new();
    let kind = 1 + choices.below(5) as u8;
    out.u8(kind);
    match kind {
        5 => {
            let flags = choices.below(4) as u8;
            out.u8(flags);
            match mark.filter(|_| choices.below(3) > 0) {
                _ if flags & 2 == 0 => {}
                Some(mark) => out.raw(&mark),
                None => out.u64_le(choices.number()),
            }
            let parts = choices.below(3);
            out.len(parts);
            for _ in 0..parts {
                name(&mut out, choices);
                let blocks = some_blocks(choices);
                out.len(blocks.len());
                blocks.iter().for_each(|block| out.bytes(block.bytes()));
            }
        }
        2 => {
            name(&mut out, choices);
            merged(&replicas(choices)).version().encode(&mut out);
        }
        3 => {
            name(&mut out, choices);
            out.u64_le(choices.number());
            out.u8(choices.below(2) as u8);
            out.raw(choices.some(9));
        }
        4 => {
            name(&mut out, choices);
            out.u64_le(choices.number());
            out.u32_le(choices.below(9) as u32);
            out.u64_le(choices.number());
        }
        _ => out.raw(choices.some(40)),
    }
    let mut message = out.into_vec();
    if choices.below(4) == 0 {
        let at = choices.below(message.len());
        message[at] ^= choices.byte();
        message.truncate(at + 1 + choices.below(message.len()));
    }
    stranger.post(&message).expect("a bus takes it");
}

fn name(out: &mut Writer, choices: &mut Choices<'_>) {
    out.str(["d", "d", "d", "e"][choices.below(4)]);
}

/// Blocks of a history, and ones of any content.
fn some_blocks(choices: &mut Choices<'_>) -> Vec<Block> {
    let mut all = blocks(&merged(&replicas(choices)));
    let (first, count) = (choices.below(all.len()), choices.below(4));
    all.drain(..first);
    all.truncate(count);
    all.extend(Block::parse(block(choices.some(60))));
    all
}
