//! A program that takes in trees and marks before it asks any document for some. This is the one
//! test of its program, as what was asked for once is told from then on.

use leptos_sync_crdt::{Doc, Patch, PeerId};

/// A tree's node, and a text "milk" that is bold.
const FIRST: &str = "\
    4c535532015d0101000000000000000207000004747265650400000474657874010006000000010c\
    02000101050d0000010001000100040b0180002702030a000b0200070400046d696c6b0104626f6c\
    640203000002030102080100060d0009010202c1480606";

/// Another node after it, and "mi" is not bold any more.
const SECOND: &str = "\
    4c535532015a0101000000000000000207000004747265650400000474657874010002060c010000\
    05010402000101010d0000010001000100040b018100210102000b01000000000104626f6c640203\
    000002030102040100060d0009010201598e26e9";

fn import(doc: &mut Doc, update: &str) -> Vec<Patch> {
    let hex = |at| u8::from_str_radix(&update[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..update.len()).step_by(2).map(hex).collect();
    doc.import_update(0, &bytes).unwrap().patches
}

fn is_followed(patch: &Patch) -> bool {
    matches!(patch, Patch::Tree { .. } | Patch::Marks { .. })
}

#[test]
fn what_came_before_anybody_asked_is_shown_and_what_comes_later_is_told() {
    let mut plain = Doc::new(PeerId(4));
    import(&mut plain, FIRST);
    plain.transact(0, |tx| tx.text("text").delete(0, 2)).0.unwrap();
    plain.undo(0).unwrap();
    assert_eq!(plain.text("text").to_string(), "milk");

    // A snapshot says which marks hold, whether or not anybody asks.
    let mut written = Doc::new(PeerId(5));
    import(&mut written, FIRST);
    let mut loaded = Doc::from_snapshot(PeerId(6), &written.encode_snapshot()).unwrap();
    for doc in [&mut written, &mut loaded] {
        assert!(!import(doc, SECOND).iter().any(is_followed));
    }

    let (mut asked, mut unasked) = (Doc::new(PeerId(2)), Doc::new(PeerId(3)));
    for doc in [&mut asked, &mut unasked] {
        let patches = import(doc, FIRST);
        assert!(!patches.is_empty() && !patches.iter().any(is_followed));
        assert_eq!(doc.text("text").to_string(), "milk");
    }
    let node = asked.tree("tree").children(None)[0];
    assert_eq!(asked.text("text").spans()[0].marks, [("bold".into(), true.into())]);

    for doc in [&mut asked, &mut unasked] {
        assert_eq!(import(doc, SECOND).iter().filter(|patch| is_followed(patch)).count(), 2);
        assert_eq!(doc.tree("tree").children(None)[0], node);
        assert_eq!(doc.tree("tree").children(None).len(), 2);
        assert_eq!(doc.text("text").spans().len(), 2);
    }

    for doc in [&written, &loaded] {
        assert_eq!(doc.text("text").spans(), asked.text("text").spans());
    }

    let spans = plain.text("text").spans();
    let shown: Vec<_> = spans.iter().map(|span| (&*span.text, span.marks.len())).collect();
    assert_eq!(shown, [("mi", 0), ("lk", 1)], "who knows of no marks brings none back");

    // Some undid before they asked for marks, others ask first.
    for doc in [&mut plain, &mut asked, &mut unasked] {
        let spans = doc.text("text").spans();
        doc.transact(0, |tx| tx.text("text").delete(2, 2)).0.unwrap();
        doc.undo(0).unwrap();
        assert_eq!(doc.text("text").spans(), spans, "who knows of marks brings them back");
    }
}
