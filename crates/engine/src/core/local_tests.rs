//! Tabs, presence and users of a document, with the time in the test's hands.

use leptos_sync_crdt::{Doc, DocId, PeerId, VersionVector};
use leptos_sync_storage::{Snapshot, StoredDoc};

use super::tabs::TabMessage;
use super::tests::{MARK, at, board, changes, loaded, outputs, posted, unread, write};
use super::{Core, Job, JobResult, Output, Told};
use crate::config::EngineConfig;
use crate::event::{DocEvent, Origin};

fn other_board() -> DocId {
    DocId::new("board/43").expect("a valid id")
}

fn tab_presence(payload: Option<&[u8]>) -> Vec<u8> {
    let payload = payload.map(<[u8]>::to_vec);
    TabMessage::Presence { doc: board(), session: 5, payload }.encode()
}

fn presence_events(core: &mut Core) -> usize {
    let is_presence = |output: &Output| matches!(output, Output::Event(_, DocEvent::Presence));
    outputs(core).into_iter().filter(is_presence).count()
}

fn presence_posts(core: &mut Core) -> Vec<Option<Vec<u8>>> {
    let posts = posted(&outputs(core)).into_iter().filter_map(|message| match message {
        TabMessage::Presence { payload, .. } => Some(payload),
        _ => None,
    });
    posts.collect()
}

#[test]
fn random_numbers_are_those_of_the_published_generator() {
    // SplitMix64 from 1234567; the first one names the client, the second the author.
    let mut core = Core::new(EngineConfig::default(), 1_234_567, false);
    assert_eq!(core.client_id, 6_457_827_717_110_365_317);
    assert_eq!(core.peer, PeerId(3_203_168_211_198_807_973));
    let next: Vec<u64> = (0..2).map(|_| core.fresh_peer().0).collect();
    let known = [9_817_491_932_198_370_423, 4_593_380_528_125_082_431];
    assert_eq!(next, known);
}

#[test]
fn a_tab_is_there_until_it_says_otherwise_or_is_silent_for_thirty_seconds() {
    let mut core = loaded(false);
    core.tab_message(at(0), &tab_presence(Some(b"Ada")));
    assert_eq!(presence_events(&mut core), 1);
    core.tab_message(at(100), &tab_presence(Some(b"Ada")));
    assert_eq!(presence_events(&mut core), 0, "no news");
    core.tab_message(at(200), &tab_presence(Some(b"Eve")));
    assert_eq!(presence_events(&mut core), 1);
    assert_eq!(core.peers(&board())[0].payload, b"Eve");
    assert_eq!(core.deadline(), Some(30_200));
    core.tick(at(30_199));
    assert_eq!((presence_events(&mut core), core.peers(&board()).len()), (0, 1));
    core.tick(at(30_200));
    assert_eq!((presence_events(&mut core), core.peers(&board()).len()), (1, 0));
    assert_eq!(core.deadline(), None);

    core.tab_message(at(40_000), &tab_presence(Some(b"Ada")));
    core.tab_message(at(40_001), &tab_presence(None));
    assert_eq!(presence_events(&mut core), 2);
    core.tab_message(at(40_002), &tab_presence(None));
    assert_eq!(presence_events(&mut core), 0, "it was gone");
}

#[test]
fn ones_own_presence_is_told_again_every_ten_seconds() {
    let mut core = loaded(false);
    let ada = Some(b"Ada".to_vec());
    core.set_presence(at(0), &board(), ada.clone());
    assert_eq!(presence_posts(&mut core), std::slice::from_ref(&ada));
    core.set_presence(at(1), &board(), ada.clone());
    assert_eq!(presence_posts(&mut core), [], "no news");
    for due in [10_000, 20_000] {
        assert_eq!(core.deadline(), Some(due));
        core.tick(at(due - 1));
        assert_eq!(presence_posts(&mut core), []);
        core.tick(at(due));
        assert_eq!(presence_posts(&mut core), std::slice::from_ref(&ada));
    }
    core.set_presence(at(20_001), &board(), None);
    assert_eq!(presence_posts(&mut core), [None]);
    assert_eq!(core.deadline(), None);
}

#[test]
fn who_left_the_page_is_there_again_when_it_is_shown() {
    let mut core = loaded(false);
    let ada = Some(b"Ada".to_vec());
    core.set_presence(at(0), &board(), ada.clone());
    outputs(&mut core);
    core.leave(at(1));
    assert_eq!(presence_posts(&mut core), [None]);
    core.nudge(at(2));
    assert_eq!(presence_posts(&mut core), [ada]);
    core.leave(at(3));
    core.set_presence(at(4), &board(), Some(b"Eve".to_vec()));
    outputs(&mut core);
    core.nudge(at(5));
    assert_eq!(presence_posts(&mut core), [], "she said so herself meanwhile");
}

#[test]
fn a_page_that_is_shown_again_looks_at_storage() {
    let mut core = loaded(false);
    core.open(&other_board());
    outputs(&mut core);
    core.nudge(at(1));
    let reread: Vec<DocId> = outputs(&mut core)
        .into_iter()
        .filter_map(|output| match output {
            Output::Reread(ids, _) => Some(ids),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(reread, [board()], "the other is being read anyway");
}

#[test]
fn a_document_is_forgotten_when_its_last_user_closes_it() {
    let mut core = loaded(false);
    core.open(&board());
    core.set_presence(at(0), &board(), Some(b"Ada".to_vec()));
    core.close(at(1), &board());
    assert!(core.is_open(&board()) && core.is_loaded(&board()));
    outputs(&mut core);
    core.close(at(2), &board());
    assert_eq!(presence_posts(&mut core), [None]);
    assert!(!core.is_open(&board()) && !core.is_loaded(&board()));
    assert_eq!(core.doc_status(&board()), None);
}

#[test]
fn a_closed_document_stays_until_it_is_stored() {
    let mut core = loaded(false);
    write(&mut core, at(1));
    core.close(at(1), &board());
    core.close(at(1), &board());
    assert!(core.is_open(&board()), "its change is in memory only");
    assert!(core.next_job(at(2)).is_some());
    core.close(at(2), &board());
    assert!(core.is_open(&board()), "and still is");
    core.job_finished(at(3), JobResult::Append(Ok(())));
    assert!(!core.is_open(&board()));

    let mut core = loaded(true);
    write(&mut core, at(1));
    core.close(at(1), &board());
    core.close(at(1), &board());
    assert!(core.next_job(at(2)).is_some());
    core.job_finished(at(3), JobResult::Append(Ok(())));
    assert!(core.is_open(&board()), "the server does not have it");

    let mut core = loaded(false);
    core.open(&other_board());
    core.close(at(1), &other_board());
    assert!(core.is_open(&other_board()), "it is being read");
}

#[test]
fn unsent_documents_are_opened_where_there_is_a_server() {
    for has_server in [true, false] {
        let mut core = loaded(has_server);
        core.unsent_found(vec![board(), other_board()]);
        let loads = |output: &Output| matches!(output, Output::Load(id) if *id == other_board());
        assert_eq!(core.is_open(&other_board()), has_server);
        assert_eq!(outputs(&mut core).iter().any(loads), has_server);
    }
}

#[test]
fn an_open_document_with_unsent_changes_of_a_tab_that_is_gone_is_read_again() {
    let mut core = loaded(true);
    outputs(&mut core);
    core.unsent_found(vec![board()]);
    let rereads =
        |output: &Output| matches!(output, Output::Reread(ids, _) if ids[..] == [board()]);
    assert!(outputs(&mut core).iter().any(rereads));
}

#[test]
fn the_platform_is_asked_once_to_keep_what_is_stored() {
    let mut core = loaded(false);
    let asked = |core: &mut Core| {
        outputs(core).iter().filter(|output| matches!(output, Output::KeepStorage)).count()
    };
    assert_eq!(asked(&mut core), 0);
    write(&mut core, at(1));
    assert_eq!(asked(&mut core), 1);
    write(&mut core, at(2));
    assert_eq!(asked(&mut core), 0);
}

#[test]
fn what_another_tab_compacted_is_taken_in() {
    let mut core = loaded(false);
    let mut other = Doc::new(PeerId(8));
    other.transact(0, |tx| tx.counter("n").add(5));
    let version = other.version().clone();
    let snapshot = Some(Snapshot { version, bytes: other.encode_snapshot() });
    other.transact(0, |tx| tx.counter("n").add(1));
    let mut blocks = other.blocks_since(&VersionVector::new());
    blocks.remove(0);
    let stored = StoredDoc { snapshot, blocks };
    let changes = |core: &mut Core| {
        let is_change = |output: &Output| {
            matches!(output, Output::Event(_, DocEvent::Changed { origin: Origin::Storage, .. }))
        };
        outputs(core).into_iter().filter(is_change).count()
    };
    core.reread_finished(at(1), vec![(board(), stored.clone())], Told::default(), 0);
    assert_eq!(changes(&mut core), 1);
    let content = core.open(&board());
    assert_eq!(content.borrow().counter("n"), 6);
    core.reread_finished(at(2), vec![(board(), stored)], Told::default(), 0);
    assert_eq!(changes(&mut core), 0);
    assert!(core.next_job(at(3)).is_none(), "it is stored");
}

#[test]
fn one_bad_block_does_not_keep_the_others_out() {
    let mut core = loaded(false);
    let ours = write(&mut core, at(1));
    let mut copy = Doc::new(PeerId(8));
    copy.transact(0, |tx| tx.counter("n").add(5));
    let good = copy.blocks_since(&VersionVector::new());
    let mut twin = Doc::new(PeerId(8));
    twin.transact(0, |tx| tx.counter("n").add(7));
    twin.transact(0, |tx| tx.counter("n").add(8));
    let bad = twin.blocks_since(&VersionVector::new());
    let mut third = Doc::new(PeerId(9));
    third.transact(0, |tx| tx.counter("n").add(100));
    let more = third.blocks_since(&VersionVector::new());
    let told = |blocks: Vec<_>| changes(true, blocks).encode();
    core.tab_message(at(2), &told(good));
    core.tab_message(at(3), &told([bad, more].concat()));
    let content = core.open(&board());
    assert_eq!(content.borrow().counter("n"), 1 + 5 + 100);
    assert_eq!(content.borrow().version().get(ours.peer()), 1);
}

#[test]
fn what_builds_on_another_change_of_the_same_name_is_left_out() {
    let mut core = loaded(false);
    let counted = |amount: i64| {
        let mut author = Doc::new(PeerId(8));
        author.transact(0, |tx| tx.counter("n").add(amount));
        author.blocks_since(&VersionVector::new())
    };
    let (known, twin) = (counted(5), counted(7));
    let mut reader = Doc::new(PeerId(9));
    reader.import(u64::MAX, twin.clone()).expect("a valid block");
    reader.transact(0, |tx| tx.counter("n").add(100));
    let built =
        reader.blocks_since(&twin.iter().map(|block| (block.peer(), block.end())).collect());
    let told = |blocks| changes(true, blocks).encode();
    core.tab_message(at(1), &told(known));
    core.tab_message(at(2), &told([twin, built].concat()));
    let content = core.open(&board());
    assert_eq!(content.borrow().counter("n"), 5);
}

#[test]
fn a_tab_that_asks_for_what_is_stored_is_told_nothing() {
    let mut core = loaded(false);
    write(&mut core, at(1));
    let Some(Job::Append(_)) = core.next_job(at(2)) else { panic!("nothing to store") };
    core.job_finished(at(3), JobResult::Append(Ok(())));
    outputs(&mut core);
    let content = core.open(&board());
    let have = content.borrow().version().clone();
    core.tab_message(at(4), &TabMessage::Want { doc: board(), have }.encode());
    assert_eq!(posted(&outputs(&mut core)), []);
    let have = VersionVector::new();
    core.tab_message(at(5), &TabMessage::Want { doc: board(), have }.encode());
    let told = posted(&outputs(&mut core));
    assert!(
        matches!(&told[..], [TabMessage::Changes { stored: true, mark: Some(MARK), .. }]),
        "{told:?}"
    );
}

#[test]
fn what_is_new_of_a_documents_status_is_told_once() {
    let mut core = loaded(false);
    let told = |core: &mut Core| {
        let is_status = |output: &Output| matches!(output, Output::Event(_, DocEvent::Status));
        outputs(core).iter().filter(|output| is_status(output)).count()
    };
    assert_eq!(told(&mut core), 0);
    write(&mut core, at(1));
    assert_eq!(told(&mut core), 1, "it is not stored yet");
    assert_eq!(told(&mut core), 0);
}

#[test]
fn a_document_is_shown_as_loaded_when_it_is_read() {
    let is_loaded = |core: &Core| core.doc_status(&board()).expect("it is open").loaded;
    assert!(!is_loaded(&unread(false)));
    assert!(is_loaded(&loaded(false)));
}
