//! Both sessions wired to each other in memory, with a small store in the server's place.

mod wire;

use expect_test::expect;
use leptos_sync_crdt::{DocId, VersionVector};
use leptos_sync_protocol::{ClientEvent, ClientInput, NackCode, Permission};
use wire::{Wire, author, doc};

/// A client says hello, opens a document, sends a change and hears that it is durable.
#[test]
fn a_change_is_acknowledged_once_it_is_stored() {
    let mut wire = Wire::new();
    let (blocks, me) = author(1, &["hi"]);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: Some(me),
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks });
    expect![[r#"
        Welcome epoch 9
        Opened d Write {} mark None
        CaughtUp d at 0
        Acked d {1: 2}"#]]
    .assert_eq(&wire.log());
}

/// What the server has and the client lacks arrives after opening, and then caught-up is said.
#[test]
fn a_returning_client_receives_what_it_lacks() {
    let mut wire = Wire::new();
    let (blocks, _) = author(2, &["one ", "two ", "three"]);
    wire.store(&blocks);
    wire.client(ClientInput::Started { wall_ms: 1 });
    let have = [(blocks[0].peer(), blocks[0].end())].into_iter().collect();
    wire.client(ClientInput::Open { doc: doc("d"), have, me: None, since: None });
    expect![[r#"
        Welcome epoch 9
        Opened d Write {2: 13} mark None
        Blocks d 2.4..8 2.8..13
        CaughtUp d at 3"#]]
    .assert_eq(&wire.log());
}

/// A block of several megabytes crosses in pieces, both ways, within the window.
#[test]
fn a_large_block_travels_in_pieces() {
    let text = "x".repeat(3 << 20);
    let mut wire = Wire::new();
    let (blocks, _) = author(3, &[&text, "small"]);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks: blocks.clone() });
    assert!(wire.stored() == blocks);
    assert!(wire.frame_bytes_max() <= leptos_sync_protocol::FRAME_BYTES_USUAL);

    let mut back = Wire::new();
    back.store(&blocks);
    back.client(ClientInput::Started { wall_ms: 1 });
    back.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    let got: Vec<_> = back
        .events()
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Blocks { blocks, .. } => Some(blocks.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(got == blocks);
}

/// Without credit the client stops at the window; credit lets it go on, and nothing is lost.
#[test]
fn uploads_wait_for_credit() {
    let mut wire = Wire::new();
    wire.hold_settling();
    let line = "y".repeat(30_000);
    let (blocks, _) = author(4, &vec![line.as_str(); 100]);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks: blocks.clone() });
    let held = wire.unsettled_bytes();
    assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&held), "{held} bytes under way");
    assert!(wire.queued_bytes() > 0);
    wire.settle();
    assert!(wire.stored() == blocks);
    assert_eq!(wire.queued_bytes(), 0);
}

/// A typed character takes ten bytes of a frame, up as well as down.
#[test]
fn a_typed_character_takes_ten_bytes() {
    let mut wire = Wire::new();
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    let (mine, _) = author(1, &letters);
    let (others, _) = author(2, &letters);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    for (mine, other) in mine.iter().zip(&others) {
        wire.client(ClientInput::Changes { doc: doc("d"), blocks: vec![mine.clone()] });
        wire.publish(0, other);
    }
    assert!(wire.stored() == mine);
    let blocks = wire.events().iter().filter_map(|event| match event {
        ClientEvent::Blocks { blocks, .. } => Some(blocks.clone()),
        _ => None,
    });
    assert!(blocks.flatten().eq(others));
    let whole = 6 + mine[0].bytes().len();
    assert_eq!(wire.changes_bytes()[..2], [whole, whole]);
    assert_eq!(wire.changes_bytes()[2..], [10; 50]);
}

/// A block that was refused is sent again, as it was, and others after it.
#[test]
fn a_refused_block_is_sent_again() {
    let mut wire = Wire::new();
    let (blocks, _) = author(1, &["a", "b", "c"]);
    let send = |wire: &mut Wire, at: std::ops::Range<usize>| {
        wire.client(ClientInput::Changes { doc: doc("d"), blocks: blocks[at].to_vec() });
    };
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    send(&mut wire, 0..1);
    wire.reject_with = Some((NackCode::Quota, 30_000));
    send(&mut wire, 1..2);
    wire.reject_with = None;
    send(&mut wire, 1..2);
    send(&mut wire, 2..3);
    assert!(wire.stored() == blocks);
}

/// What was on its way when the server gave a document up is read and credited all the same, and
/// the document can be opened anew.
#[test]
fn changes_that_cross_a_document_error_are_credited() {
    let mut wire = Wire::new();
    let line = "y".repeat(30_000);
    let mut texts = vec!["a", "b"];
    texts.extend([line.as_str(); 100]);
    let (blocks, _) = author(4, &texts);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks: blocks[..1].to_vec() });
    wire.fail_doc(0, blocks[1..].to_vec());
    assert!(wire.stored() == blocks[..1]);
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks: blocks[1..].to_vec() });
    assert!(wire.stored() == blocks);
    assert_eq!(wire.queued_bytes(), 0);
    assert!(wire.log().contains("DocError"));
}

/// Two documents with much to send take turns.
#[test]
fn documents_take_turns() {
    let mut wire = Wire::new();
    let line = "z".repeat(50_000);
    let (first, _) = author(5, &vec![line.as_str(); 30]);
    let (second, _) = author(6, &[line.as_str(); 5]);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("a"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Open {
        doc: doc("b"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.hold_settling();
    wire.client(ClientInput::Changes { doc: doc("a"), blocks: first });
    wire.client(ClientInput::Changes { doc: doc("b"), blocks: second });
    wire.settle();
    let order: String = wire.stored_docs().iter().map(DocId::as_str).collect();
    assert_eq!(order, format!("{}{}{}", "a".repeat(21), "ba".repeat(5), "a".repeat(4)));
}

/// On a document that may only be read, changes come back by name; the rest goes on.
#[test]
fn changes_without_permission_are_refused_by_name() {
    let mut wire = Wire::new();
    wire.permission = Permission::Read;
    let (blocks, _) = author(7, &["no"]);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks });
    expect![[r#"
        Welcome epoch 9
        Opened d Read {} mark None
        CaughtUp d at 0
        Rejected d 7.0 Forbidden"#]]
    .assert_eq(&wire.log());
}

/// A refused block is named with its code and the time to wait; later answers still come.
#[test]
fn a_full_disk_is_a_named_rejection() {
    let mut wire = Wire::new();
    wire.reject_with = Some((NackCode::Quota, 30_000));
    let (blocks, _) = author(8, &["full"]);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks: blocks.clone() });
    wire.reject_with = None;
    wire.client(ClientInput::Changes { doc: doc("d"), blocks });
    expect![[r#"
        Welcome epoch 9
        Opened d Write {} mark None
        CaughtUp d at 0
        Rejected d 8.0 Quota retry 30000
        Acked d {8: 4}"#]]
    .assert_eq(&wire.log());
}

/// Opening again while open starts afresh on a new channel.
#[test]
fn opening_again_starts_afresh() {
    let mut wire = Wire::new();
    let (blocks, _) = author(9, &["again"]);
    wire.store(&blocks);
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Open {
        doc: doc("d"),
        have: VersionVector::new(),
        me: None,
        since: None,
    });
    wire.client(ClientInput::Close { doc: doc("d") });
    wire.client(ClientInput::Changes { doc: doc("d"), blocks });
    expect![[r#"
        Welcome epoch 9
        Opened d Write {9: 5} mark None
        Blocks d 9.0..5
        CaughtUp d at 1
        Opened d Write {9: 5} mark None
        Blocks d 9.0..5
        CaughtUp d at 1"#]]
    .assert_eq(&wire.log());
}

/// The server's farewell reaches the engine with the time to wait.
#[test]
fn going_away_is_announced() {
    let mut wire = Wire::new();
    wire.client(ClientInput::Started { wall_ms: 1 });
    wire.go_away(2_500);
    expect![[r#"
        Welcome epoch 9
        GoAway retry 2500
        closed by server 1001 restarting"#]]
    .assert_eq(&wire.log());
}
