//! The engine as a bare WebAssembly module, with nothing of Leptos or wasm-bindgen in it: what it
//! weighs is the engine, the standard library's share that it needs, and this bookkeeping.

use std::cell::RefCell;

thread_local! {
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of this many bytes, for the host to fill.
#[unsafe(no_mangle)]
pub extern "C" fn buffer(len: usize) -> *mut u8 {
    BYTES.with_borrow_mut(|bytes| {
        bytes.resize(len, 0);
        bytes.as_mut_ptr()
    })
}

/// The sum of what is in the buffer.
#[unsafe(no_mangle)]
pub extern "C" fn sum() -> usize {
    BYTES.with_borrow(|bytes| bytes.iter().map(|byte| usize::from(*byte)).sum())
}

#[cfg(feature = "engine")]
mod engine {
    use super::BYTES;
    #[cfg(feature = "every-type")]
    use leptos_sync_crdt::Expand;
    use leptos_sync_crdt::{Doc, PeerId, VersionVector};
    use std::cell::RefCell;

    thread_local! {
        static DOC: RefCell<Doc> = RefCell::new(Doc::new(PeerId(1)));
    }

    fn input() -> String {
        BYTES.with_borrow(|bytes| String::from_utf8(bytes.clone()).unwrap_or_default())
    }

    fn output(bytes: Vec<u8>) -> usize {
        BYTES.with_borrow_mut(|buffer| {
            *buffer = bytes;
            buffer.len()
        })
    }

    /// Replaces characters of the text by what is in the buffer.
    #[unsafe(no_mangle)]
    pub extern "C" fn splice(pos: usize, deleted: usize) -> bool {
        let edit = |doc: &mut Doc| {
            doc.transact(0, |tx| tx.text("text").splice(pos, deleted, &input())).0.is_ok()
        };
        DOC.with_borrow_mut(edit)
    }

    /// Puts the text into the buffer.
    #[unsafe(no_mangle)]
    pub extern "C" fn text() -> usize {
        output(DOC.with_borrow(|doc| doc.text("text").to_string().into_bytes()))
    }

    /// Sets and reads a map's entry, a table's field and a counter.
    #[unsafe(no_mangle)]
    pub extern "C" fn write(value: i64) -> i64 {
        DOC.with_borrow_mut(|doc| {
            let (row, _) = doc.transact(0, |tx| {
                tx.map("map").set(&input(), value);
                tx.counter("counter").add(value);
                let row = tx.table("rows").insert([("field", value)]);
                let _ = tx.table("rows").set(row, "field", value + 1);
                row
            });
            let field = doc.table("rows").get(row, "field");
            doc.counter("counter") + doc.map("map").len() as i64 + i64::from(field.is_some())
        })
    }

    /// Puts the whole history into the buffer.
    #[unsafe(no_mangle)]
    pub extern "C" fn encode() -> usize {
        output(DOC.with_borrow(|doc| doc.encode_update(&VersionVector::new())))
    }

    /// Merges the history in the buffer.
    #[unsafe(no_mangle)]
    pub extern "C" fn decode() -> bool {
        let bytes = BYTES.with_borrow(Vec::clone);
        DOC.with_borrow_mut(|doc| doc.import_update(0, &bytes).is_ok())
    }

    /// Makes a change, takes it back as if it came from elsewhere, and puts it into the buffer.
    #[cfg(feature = "blocks")]
    #[unsafe(no_mangle)]
    pub extern "C" fn change(value: i64) -> usize {
        let made = DOC.with_borrow_mut(|doc| {
            let commit = doc.transact(0, |tx| tx.counter("counter").add(value)).1?;
            Some(doc.block(&commit))
        });
        let Some(block) = made else { return 0 };
        let imported = DOC.with_borrow_mut(|doc| doc.import(0, [block.clone()]).is_ok());
        if imported { output(block.bytes().to_vec()) } else { 0 }
    }

    /// Takes the last change back, and makes it again.
    #[cfg(feature = "undo")]
    #[unsafe(no_mangle)]
    pub extern "C" fn undo_and_redo() -> bool {
        DOC.with_borrow_mut(|doc| doc.undo(0).is_some() && doc.redo(0).is_some())
    }

    /// Goes on with what a snapshot gives back, and puts that into the buffer.
    #[cfg(feature = "snapshots")]
    #[unsafe(no_mangle)]
    pub extern "C" fn snapshot() -> usize {
        let bytes = DOC.with_borrow(Doc::encode_snapshot);
        let Ok(doc) = Doc::from_snapshot(PeerId(2), &bytes) else { return 0 };
        DOC.set(doc);
        output(bytes)
    }

    /// Writes and reads the types that [`write`] does not.
    #[cfg(feature = "every-type")]
    #[unsafe(no_mangle)]
    pub extern "C" fn write_more(value: i64) -> usize {
        DOC.with_borrow_mut(|doc| {
            doc.transact(0, |tx| {
                tx.register("register").set(value);
                tx.list("list").push(value);
                tx.movable_list("movable").push(value);
                let _ = tx.movable_list("movable").move_to(0, 0);
                let _ = tx.tree("tree").create(None, 0);
                let _ = tx.text("text").mark(0..1, "key", value, Expand::After);
            });
            doc.text("text").spans().len()
                + doc.tree("tree").children(None).len()
                + doc.list("list").len()
                + doc.movable_list("movable").len()
        })
    }
}

#[cfg(feature = "speed")]
mod speed {
    use leptos_sync_crdt::{Block, Doc, PeerId, VersionVector};
    use std::cell::RefCell;

    /// What one session left for the next measurements.
    #[derive(Default)]
    struct Made {
        edits: Vec<(usize, usize, char)>,
        history: Vec<u8>,
        snapshot: Vec<u8>,
        updates: Vec<Block>,
    }

    thread_local! {
        static MADE: RefCell<Made> = RefCell::new(Made::default());
    }

    /// Prepares a session of so many edits: words typed here and there, some taken back.
    #[unsafe(no_mangle)]
    pub extern "C" fn prepare(edits: usize) -> usize {
        let mut made = Made::default();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut below = |end: usize| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
        };
        let (mut len, mut caret) = (0, 0);
        while made.edits.len() < edits {
            if below(40) == 0 {
                caret = below(len + 1);
            }
            if below(6) == 0 && caret > 0 {
                caret -= 1;
                len -= 1;
                made.edits.push((caret, 1, ' '));
            } else {
                made.edits.push((caret, 0, char::from(b'a' + below(26) as u8)));
                caret += 1;
                len += 1;
            }
        }
        MADE.set(made);
        len
    }

    /// Makes the edits one by one, each a change of its own.
    #[unsafe(no_mangle)]
    pub extern "C" fn edit() -> usize {
        MADE.with_borrow_mut(|made| {
            let mut doc = Doc::new(PeerId(1));
            for (pos, deleted, letter) in &made.edits {
                let text = if *deleted == 0 { letter.to_string() } else { String::new() };
                let _ = doc.transact(0, |tx| tx.text("text").splice(*pos, *deleted, &text)).0;
            }
            made.history = doc.encode_update(&VersionVector::new());
            made.snapshot = doc.encode_snapshot();
            made.updates = doc.blocks_since(&VersionVector::new());
            doc.text("text").len()
        })
    }

    /// The edits without encoding anything afterwards.
    #[unsafe(no_mangle)]
    pub extern "C" fn edit_only() -> usize {
        MADE.with_borrow(|made| {
            let mut doc = Doc::new(PeerId(1));
            for (pos, deleted, letter) in &made.edits {
                let text = if *deleted == 0 { letter.to_string() } else { String::new() };
                let _ = doc.transact(0, |tx| tx.text("text").splice(*pos, *deleted, &text)).0;
            }
            doc.text("text").len()
        })
    }

    /// Loads the history into an empty document.
    #[unsafe(no_mangle)]
    pub extern "C" fn load_history() -> usize {
        MADE.with_borrow(|made| {
            let mut doc = Doc::new(PeerId(2));
            let loaded = doc.import_update(0, &made.history);
            loaded.map_or(0, |_| doc.text("text").len())
        })
    }

    /// Loads the snapshot.
    #[unsafe(no_mangle)]
    pub extern "C" fn load_snapshot() -> usize {
        MADE.with_borrow(|made| {
            Doc::from_snapshot(PeerId(2), &made.snapshot).map_or(0, |doc| doc.text("text").len())
        })
    }

    /// Loads the snapshot and makes an edit.
    #[unsafe(no_mangle)]
    pub extern "C" fn load_and_edit() -> usize {
        MADE.with_borrow(|made| {
            Doc::from_snapshot(PeerId(2), &made.snapshot).map_or(0, |mut doc| {
                let _ = doc.transact(0, |tx| tx.text("text").insert(0, "x")).0;
                doc.text("text").len() - 1
            })
        })
    }

    /// Takes the changes in one by one.
    #[unsafe(no_mangle)]
    pub extern "C" fn receive() -> usize {
        MADE.with_borrow(|made| {
            let mut doc = Doc::new(PeerId(2));
            for update in &made.updates {
                let _ = doc.import(0, [update.clone()]);
            }
            doc.text("text").len()
        })
    }
}
