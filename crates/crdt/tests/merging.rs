//! What each type does when two replicas change it apart, one sentence a test.

use leptos_sync_crdt::{
    Block, ContainerId, Cursor, DecodeError, Doc, FUTURE_MS_MAX, ImportError, OpId, PeerId, Side,
    TextError, VersionVector,
};

fn pair() -> (Doc, Doc) {
    (Doc::new(PeerId(1)), Doc::new(PeerId(2)))
}

fn sync(a: &mut Doc, b: &mut Doc) {
    a.import(1 << 40, b.blocks_since(a.version())).unwrap();
    b.import(1 << 40, a.blocks_since(b.version())).unwrap();
    assert_eq!(a.version(), b.version());
}

fn all(doc: &Doc) -> Vec<Block> {
    doc.blocks_since(&VersionVector::new())
}

fn type_word(doc: &mut Doc, at: usize, word: &str) {
    for (i, c) in word.chars().enumerate() {
        doc.transact(0, |tx| tx.text("x").insert(at + i, &c.to_string())).0.unwrap();
    }
}

#[test]
fn a_replica_writes_as_whom_it_is_told() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.counter("c").add(1));
    doc.set_peer(PeerId(2));
    assert_eq!(doc.peer(), PeerId(2));
    doc.transact(0, |tx| tx.counter("c").add(1));
    let authors: Vec<_> = all(&doc).iter().map(|block| (block.peer(), block.seq())).collect();
    assert_eq!(authors, [(PeerId(1), 0), (PeerId(2), 0)]);
}

#[test]
fn words_typed_at_one_place_stand_side_by_side() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.text("x").insert(0, "[]")).0.unwrap();
    sync(&mut a, &mut b);
    type_word(&mut a, 1, "morning");
    type_word(&mut b, 1, "evening");
    sync(&mut a, &mut b);
    assert_eq!(a.text("x").to_string(), "[morningevening]");
    assert_eq!(b.text("x").to_string(), "[morningevening]");
}

#[test]
fn words_typed_backwards_at_one_place_stand_side_by_side() {
    let (mut a, mut b) = pair();
    for c in "gninrom".chars() {
        a.transact(0, |tx| tx.text("x").insert(0, &c.to_string())).0.unwrap();
    }
    for c in "gnineve".chars() {
        b.transact(0, |tx| tx.text("x").insert(0, &c.to_string())).0.unwrap();
    }
    sync(&mut a, &mut b);
    let text = a.text("x").to_string();
    assert!(text == "morningevening" || text == "eveningmorning", "{text}");
    assert_eq!(text, b.text("x").to_string());
}

#[test]
fn a_row_removed_here_and_edited_there_stays_removed_and_keeps_the_edit_for_a_restore() {
    let (mut a, mut b) = pair();
    let (row, _) = a.transact(0, |tx| tx.table("t").insert([("title", "milk")]));
    sync(&mut a, &mut b);
    a.transact(10_000, |tx| tx.table("t").remove(row)).0.unwrap();
    b.transact(90_000, |tx| tx.table("t").set(row, "title", "oat milk")).0.unwrap();
    sync(&mut a, &mut b);
    for doc in [&a, &b] {
        assert!(!doc.table("t").contains(row));
        assert_eq!(doc.table("t").get(row, "title"), Some("oat milk".into()));
    }
    a.transact(100_000, |tx| tx.table("t").restore(row)).0.unwrap();
    sync(&mut a, &mut b);
    assert!(b.table("t").contains(row));
}

#[test]
fn the_later_write_of_a_field_wins_and_ties_go_to_the_greater_peer() {
    let (mut a, mut b) = pair();
    a.transact(50_000, |tx| tx.map("m").set("k", "early"));
    b.transact(90_000, |tx| tx.map("m").set("k", "late"));
    a.transact(70_000, |tx| tx.register("r").set("one"));
    b.transact(70_000, |tx| tx.register("r").set("two"));
    sync(&mut a, &mut b);
    for doc in [&a, &b] {
        assert_eq!(doc.map("m").get("k"), Some("late".into()));
        assert_eq!(doc.register("r"), Some("two".into()));
    }
}

#[test]
fn whoever_has_seen_a_write_overrules_it_even_with_a_slow_clock() {
    let (mut a, mut b) = pair();
    a.transact(1_000_000, |tx| tx.map("m").set("k", "fast clock"));
    sync(&mut a, &mut b);
    b.transact(5, |tx| tx.map("m").set("k", "slow clock"));
    sync(&mut a, &mut b);
    assert_eq!(a.map("m").get("k"), Some("slow clock".into()));
}

#[test]
fn counters_add_up_whatever_happens_apart() {
    let (mut a, mut b) = pair();
    let (row, _) = a.transact(0, |tx| tx.table("t").insert([("title", "x")]));
    sync(&mut a, &mut b);
    a.transact(0, |tx| tx.table("t").add(row, "votes", 2)).0.unwrap();
    b.transact(0, |tx| tx.table("t").add(row, "votes", -5)).0.unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.counter(ContainerId::cell("t", row, "votes")), -3);
}

#[test]
fn a_change_from_the_far_future_waits_until_its_time() {
    let (mut a, mut b) = pair();
    let future = 1_000_000 + FUTURE_MS_MAX;
    a.transact(future + 5_000, |tx| tx.register("r").set(1));
    let import = b.import(1_000_000, all(&a)).unwrap();
    assert_eq!((import.applied.len(), import.pending), (0, 1));
    let import = b.import(1_010_000, []).unwrap();
    assert_eq!((import.applied.len(), import.pending), (1, 0));
    assert_eq!(b.register("r"), Some(1.into()));
}

#[test]
fn two_authors_with_one_peer_id_are_found_out_and_nothing_is_merged() {
    let (mut a, mut b) = (Doc::new(PeerId(7)), Doc::new(PeerId(7)));
    a.transact(0, |tx| tx.register("r").set(1));
    b.transact(0, |tx| tx.register("r").set(2));
    let error = a.import(0, all(&b)).unwrap_err();
    assert_eq!(error, ImportError::DuplicatePeer { peer: PeerId(7), seq: 0 });
    assert_eq!(a.register("r"), Some(1.into()));
    assert_ne!(a.chain_mark(PeerId(7)), b.chain_mark(PeerId(7)));
}

#[test]
fn one_bad_block_refuses_the_whole_import() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.register("good").set(1));
    let mut bytes = all(&a)[0].bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(Block::parse(bytes), Err(DecodeError::Checksum));

    // Two replicas that write as one peer, imported together.
    let mut twin = Doc::new(PeerId(1));
    twin.transact(0, |tx| tx.register("bad").set(2));
    assert!(b.import(0, [all(&a), all(&twin)].concat()).is_err());
    assert!(b.version().is_empty() && b.register("good").is_none());
}

#[test]
fn undo_leaves_the_work_of_others_alone() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.map("m").set("k", "mine"));
    type_word(&mut a, 0, "hello");
    sync(&mut a, &mut b);
    b.transact(9_000_000, |tx| tx.map("m").set("k", "theirs"));
    b.transact(9_000_000, |tx| tx.text("x").insert(2, "--")).0.unwrap();
    sync(&mut a, &mut b);
    while a.undo(9_000_000).is_some() {}
    sync(&mut a, &mut b);
    assert_eq!(b.text("x").to_string(), "--");
    assert_eq!(b.map("m").get("k"), Some("theirs".into()));
}

#[test]
fn text_that_someone_else_deleted_too_stays_deleted_on_undo() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.text("x").insert(0, "abcd")).0.unwrap();
    sync(&mut a, &mut b);
    a.transact(1_000, |tx| tx.text("x").delete(0, 3)).0.unwrap();
    b.transact(1_000, |tx| tx.text("x").delete(1, 1)).0.unwrap();
    sync(&mut a, &mut b);
    a.undo(2_000).unwrap();
    assert_eq!(a.text("x").to_string(), "acd");
}

#[test]
fn characters_that_were_brought_back_one_by_one_return_to_their_own_places() {
    let mut doc = Doc::new(PeerId(1));
    let edits: [(usize, usize, &str); 6] =
        [(0, 0, "<>"), (1, 0, "in"), (1, 0, "X"), (5, 0, "end"), (0, 1, ""), (3, 1, "")];
    for (i, (pos, deleted, content)) in edits.into_iter().enumerate() {
        let wall_ms = i as u64 * 1_000;
        doc.transact(wall_ms, |tx| tx.text("x").splice(pos, deleted, content)).0.unwrap();
    }
    assert_eq!(doc.text("x").to_string(), "Xinend");
    for _ in 0..6 {
        doc.undo(0).unwrap();
    }
    for shown in ["<>", "<in>", "<Xin>", "<Xin>end", "Xin>end", "Xinend"] {
        doc.redo(0).unwrap();
        assert_eq!(doc.text("x").to_string(), shown);
    }
}

#[test]
fn a_transaction_is_one_step_of_undo_and_typing_without_pause_is_another() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| {
        tx.map("m").set("a", 1);
        tx.map("m").set("b", 2);
    });
    for (i, c) in "word".chars().enumerate() {
        let at = 10_000 + 100 * i as u64;
        doc.transact(at, |tx| tx.text("x").insert(i, &c.to_string())).0.unwrap();
    }
    doc.transact(20_000, |tx| tx.text("x").insert(4, "!")).0.unwrap();
    doc.undo(0);
    assert_eq!(doc.text("x").to_string(), "word");
    doc.undo(0);
    assert_eq!(doc.text("x").to_string(), "");
    doc.undo(0);
    assert!(doc.map("m").is_empty() && !doc.can_undo());
    doc.redo(0);
    assert_eq!(doc.map("m").len(), 2);
}

#[test]
fn cursors_stay_with_their_neighbours() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.text("x").insert(0, "one two")).0.unwrap();
    sync(&mut a, &mut b);
    let (before, after) = (a.text("x").cursor(4, Side::Before), a.text("x").cursor(4, Side::After));
    b.transact(0, |tx| tx.text("x").insert(4, "and ")).0.unwrap();
    b.transact(0, |tx| tx.text("x").insert(0, "> ")).0.unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.text("x").to_string(), "> one and two");
    assert_eq!((a.text("x").resolve(&before), a.text("x").resolve(&after)), (6, 10));
    let sent = Cursor::from_bytes(&after.to_bytes()).unwrap();
    assert_eq!(b.text("x").resolve(&sent), 10);
}

#[test]
fn a_cursor_is_sent_as_bytes_with_its_side_and_its_neighbour_if_it_has_one() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("x").insert(0, "ab")).0.unwrap();
    let text = doc.text("x");
    let cases =
        [(0, Side::Before, 0), (1, Side::Before, 2), (2, Side::After, 1), (1, Side::After, 3)];
    for (pos, side, flags) in cases {
        let cursor = text.cursor(pos, side);
        let bytes = cursor.to_bytes();
        assert_eq!((bytes[0], bytes.len()), (flags, if flags < 2 { 1 } else { 10 }));
        assert_eq!(Cursor::from_bytes(&bytes), Ok(cursor));
        assert_eq!(text.resolve(&cursor), pos);
    }
    assert_eq!(text.cursor(9, Side::After), text.cursor(2, Side::After));
    assert_eq!(Cursor::from_bytes(&[4]), Err(DecodeError::Invalid("cursor")));
    assert_eq!(Cursor::from_bytes(&[0, 0]), Err(DecodeError::TrailingBytes));
    let unknown = Cursor::from_bytes(&[3, 9, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(text.resolve(&unknown), 2);
}

#[test]
fn stretches_of_text_tell_who_typed_them() {
    let (mut a, mut b) = pair();
    type_word(&mut a, 0, "abcdef");
    sync(&mut a, &mut b);
    b.transact(0, |tx| tx.text("x").insert(3, "XY")).0.unwrap();
    b.transact(0, |tx| tx.text("x").delete(0, 1)).0.unwrap();
    sync(&mut a, &mut b);
    // Something else in between, after which typing goes on.
    a.transact(0, |tx| tx.counter("c").add(1));
    a.transact(0, |tx| tx.text("x").insert(7, "g")).0.unwrap();
    assert_eq!(a.text("x").to_string(), "bcXYdefg");
    let authors = a.text("x").authors();
    let told: Vec<_> = authors.iter().map(|of| (of.pos, of.len, of.id.peer.0, of.id.seq)).collect();
    assert_eq!(told, [(0, 2, 1, 1), (2, 2, 2, 0), (4, 3, 1, 3), (7, 1, 1, 7)]);
    assert_eq!(doc_without_text().text("x").authors(), []);
}

fn doc_without_text() -> Doc {
    Doc::new(PeerId(3))
}

#[test]
fn positions_convert_between_scalars_and_utf16() {
    let mut doc = Doc::new(PeerId(1));
    doc.transact(0, |tx| tx.text("x").insert(0, "a😀é😀b")).0.unwrap();
    let text = doc.text("x");
    assert_eq!((text.len(), text.len_utf16()), (5, 7));
    let units: Vec<usize> = (0..=5).map(|scalar| text.scalar_to_utf16(scalar)).collect();
    assert_eq!(units, [0, 1, 3, 4, 6, 7]);
    for (scalar, unit) in units.iter().enumerate() {
        assert_eq!(text.utf16_to_scalar(*unit), scalar);
    }
    assert_eq!(text.utf16_to_scalar(2), 1);
    assert_eq!(text.slice(1, 4), "😀é😀");
}

#[test]
fn an_edit_past_the_end_is_refused_and_changes_nothing() {
    let mut doc = Doc::new(PeerId(1));
    let (refused, commit) = doc.transact(0, |tx| tx.text("x").insert(1, "a"));
    assert_eq!(refused, Err(TextError::OutOfRange { end: 1, len: 0 }));
    assert!(commit.is_none() && doc.version().is_empty());
}

#[test]
fn an_update_file_carries_what_a_version_lacks() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.register("r").set(1));
    sync(&mut a, &mut b);
    a.transact(0, |tx| tx.register("r").set(2));
    b.import_update(0, &a.encode_update(b.version())).unwrap();
    assert_eq!(b.register("r"), Some(2.into()));
    b.import_update(0, &a.encode_update(&VersionVector::new())).unwrap();
    assert_eq!(a.version(), b.version());
    let refused = b.import_update(0, b"nonsense").unwrap_err();
    assert_eq!(refused, ImportError::Update(DecodeError::Magic));

    let mut late = Doc::new(PeerId(3));
    let newest: VersionVector = [(PeerId(1), 1)].into_iter().collect();
    let refused = late.import_update(0, &a.encode_update(&newest)).unwrap_err();
    assert_eq!(refused, ImportError::Missing(OpId::new(PeerId(1), 0)));
    assert!(late.version().is_empty());
}

#[test]
fn a_snapshot_goes_on_where_the_document_stopped() {
    let (mut a, mut b) = pair();
    a.transact(0, |tx| tx.text("x").insert(0, "shared")).0.unwrap();
    sync(&mut a, &mut b);
    b.transact(0, |tx| tx.text("x").delete(0, 3)).0.unwrap();
    let mut again = Doc::from_snapshot(PeerId(3), &a.encode_snapshot()).unwrap();
    again.transact(0, |tx| tx.text("x").insert(2, "ZZ")).0.unwrap();
    sync(&mut again, &mut b);
    assert_eq!(again.text("x").to_string(), "ZZred");
    assert_eq!(again.chain_hash_at(PeerId(1), 6), a.chain_hash_at(PeerId(1), 6));
    assert!(again.version().contains(OpId::new(PeerId(1), 5)));
}

#[test]
fn an_update_may_name_what_its_reader_has_of_a_peer_before_that_peers_own_part() {
    let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    ada.transact(0, |tx| tx.map("m").set("a", 1i64));
    ben.import(0, ada.blocks_since(ben.version())).unwrap();
    let known = ben.version().clone();
    ben.transact(0, |tx| tx.map("m").set("b", 2i64)); // follows ada's first change
    ada.transact(0, |tx| tx.map("m").set("c", 3i64));
    ben.import(0, ada.blocks_since(ben.version())).unwrap();

    let mut reader = Doc::new(PeerId(3));
    reader.import(0, ada.blocks_since(&Default::default()).into_iter().take(1)).unwrap();
    reader.import_update(0, &ben.encode_update(&known)).unwrap();
    assert_eq!(reader.version(), ben.version());
    assert_eq!(reader.map("m").get("c"), Some(3i64.into()));
}

/// What takes time by the square of these takes minutes.
const VERY_MANY: u64 = 20_000;

#[test]
fn a_change_of_very_many_names_and_containers_is_told_as_it_was() {
    let mut doc = Doc::new(PeerId(1));
    let (_, commit) = doc.transact(0, |tx| {
        for number in (0..VERY_MANY).rev() {
            tx.map("m").set(&number.to_string(), 1);
            tx.counter(&number.to_string()).add(1);
        }
    });
    let block = doc.block(&commit.expect("it wrote something"));
    let (mut by_block, mut by_file) = (Doc::new(PeerId(2)), Doc::new(PeerId(3)));
    by_block.import(0, [block.clone()]).unwrap();
    by_file.import_update(0, &doc.encode_update(&VersionVector::new())).unwrap();
    for copy in [by_block, by_file] {
        assert_eq!(copy.blocks_since(&VersionVector::new()), std::slice::from_ref(&block));
    }
}

#[test]
fn a_merge_of_very_many_peers_is_taken_in_with_their_changes() {
    let mut merged = Doc::new(PeerId(0));
    for peer in 1..=VERY_MANY {
        let mut doc = Doc::new(PeerId(peer));
        let commit = doc.transact(0, |tx| tx.counter("c").add(1)).1.expect("it wrote something");
        merged.import(0, [doc.block(&commit)]).unwrap();
    }
    merged.transact(0, |tx| tx.counter("c").add(1));
    let mut copy = Doc::new(PeerId(VERY_MANY + 1));
    copy.import(0, merged.blocks_since(&VersionVector::new())).unwrap();
    assert_eq!(copy.counter("c"), VERY_MANY as i64 + 1);
}

#[test]
fn those_who_type_one_behind_the_other_are_told_apart() {
    let mut doc = Doc::new(PeerId(1));
    for peer in 1..=4 {
        doc = doc.fork(PeerId(peer));
        let end = doc.text("x").len();
        doc.transact(0, |tx| tx.text("x").insert(end, &"-".repeat(peer as usize))).0.unwrap();
    }
    let authors = doc.text("x").authors().into_iter();
    let told: Vec<_> = authors.map(|by| (by.pos, by.len, by.id)).collect();
    let expected = [(0, 1, 1), (1, 2, 2), (3, 3, 3), (6, 4, 4)];
    assert_eq!(told, expected.map(|(pos, len, peer)| (pos, len, OpId::new(PeerId(peer), 0))));
}

#[test]
fn an_update_brings_what_waited_for_it() {
    let mut ada = Doc::new(PeerId(1));
    ada.transact(0, |tx| tx.text("x").insert(0, "a")).0.unwrap();
    let update = ada.encode_update(&VersionVector::new());
    let first = ada.version().clone();
    ada.transact(0, |tx| tx.text("x").insert(1, "b")).0.unwrap();
    let mut late = Doc::new(PeerId(2));
    assert_eq!(late.import(0, ada.blocks_since(&first)).unwrap().pending, 1);
    let import = late.import_update(0, &update).unwrap();
    assert_eq!((import.pending, import.patches.len()), (0, 2));
    assert_eq!(late.text("x").to_string(), "ab");
}
