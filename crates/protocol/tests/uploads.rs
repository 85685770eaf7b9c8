//! What a client sends of the blocks it was given, and when.

mod ends;
mod wire;

use ends::Did::{self, Said, Told};
use ends::{Client, block_of, opened, welcome};
use leptos_sync_crdt::{Block, BlockReader};
use leptos_sync_protocol::{
    ClientEvent, ClientInput, Close, Credit, Limits, Message, NackCode, Piece,
};
use wire::doc;

/// The largest block that travels whole.
const WHOLE_MAX: usize = 60 << 10;

fn credit(bytes: u32) -> Message {
    Message::Credit(Credit { bytes })
}

fn window(window_bytes: u32) -> Limits {
    Limits { window_bytes, ..Limits::default() }
}

fn too_large(block: &Block) -> Did<ClientEvent> {
    let (peer, seq, code) = (block.peer(), block.seq(), NackCode::TooLarge);
    Told(ClientEvent::Rejected { doc: doc("d"), peer, seq, code, retry_after_ms: 0 })
}

/// The sizes of the blocks in each message, and of each piece.
fn sizes(did: &[Did<ClientEvent>]) -> Vec<Vec<usize>> {
    let sent = did.iter().filter_map(|did| match did {
        Said(Message::Changes(changes)) => {
            let blocks = changes.read(&mut BlockReader::default()).expect("it is first");
            Some(blocks.iter().map(|block| block.bytes().len()).collect())
        }
        Said(Message::Piece(piece)) => Some(vec![piece.data.len()]),
        _ => None,
    });
    sent.collect()
}

fn pieces(did: &[Did<ClientEvent>]) -> Vec<&Piece> {
    let sent = did.iter().filter_map(|did| match did {
        Said(Message::Piece(piece)) => Some(piece),
        _ => None,
    });
    sent.collect()
}

#[test]
fn blocks_wait_for_the_document_to_open() {
    let mut client = Client::welcomed(Limits::default());
    client.opens("d");
    assert_eq!(client.sends("d", &[block_of(1, 80), block_of(2, 90)]), []);
    assert_eq!(client.sends("e", &[block_of(1, 80)]), [], "nobody opened that");
    assert_eq!(client.queued_bytes(), 170);
    assert_eq!(sizes(&client.hears(opened(0))), [[80, 90]]);
    assert_eq!(client.queued_bytes(), 0);
}

#[test]
fn other_documents_do_not_wait_for_one_that_opens() {
    let mut client = Client::open(Limits::default());
    for other in ["a", "e"] {
        client.opens(other);
        assert_eq!(client.sends(other, &[block_of(1, 80)]), []);
    }
    assert_eq!(sizes(&client.sends("d", &[block_of(1, 90)])), [[90]]);
    assert_eq!(client.queued_bytes(), 160);
}

#[test]
fn a_block_above_the_limit_comes_back_and_one_at_the_limit_goes() {
    let mut client = Client::open(Limits { block_bytes_max: 100, ..Limits::default() });
    let large = block_of(1, 101);
    assert_eq!(client.sends("d", std::slice::from_ref(&large)), [too_large(&large)]);
    assert_eq!(sizes(&client.sends("d", &[block_of(1, 100)])), [[100]]);
    assert_eq!(sizes(&client.sends("d", &[block_of(2, 99)])).len(), 1);
    assert_eq!(client.queued_bytes(), 0);
}

#[test]
fn what_was_queued_before_welcome_is_measured_then() {
    let mut client = Client::greeting();
    client.opens("d");
    client.opens("e");
    let large = block_of(1, 101);
    client.sends("d", &[block_of(2, 100), large.clone(), block_of(3, 70)]);
    client.sends("e", &[block_of(4, 101)]);
    let limits = Limits { block_bytes_max: 100, ..Limits::default() };
    let did = client.hears(Message::Welcome(welcome(limits)));
    assert_eq!((&did[1], client.queued_bytes()), (&too_large(&large), 170));
    assert_eq!(sizes(&client.hears(opened(0))), [[100, 70]]);
    assert_eq!(sizes(&client.hears(opened(1))).len(), 0);
}

#[test]
fn a_message_goes_while_less_than_the_window_is_under_way() {
    let mut client = Client::open(window(200));
    assert_eq!(sizes(&client.sends("d", &[block_of(1, 199)])), [[199]]);
    assert_eq!(sizes(&client.sends("d", &[block_of(2, 199)])).len(), 1);
    assert_eq!(sizes(&client.sends("d", &[block_of(3, 80)])).len(), 0);
    assert_eq!(sizes(&client.hears(credit(198))).len(), 0, "the window is just full");
    assert_eq!(client.queued_bytes(), 80);
    assert_eq!(sizes(&client.hears(credit(1))).len(), 1);
    assert_eq!(client.queued_bytes(), 0);
}

#[test]
fn more_credit_than_is_under_way_opens_no_larger_window() {
    let mut client = Client::open(window(100));
    client.hears(credit(u32::MAX));
    client.sends("d", &[block_of(1, 100)]);
    assert_eq!(sizes(&client.sends("d", &[block_of(2, 80)])).len(), 0);
}

#[test]
fn a_block_above_sixty_kibibytes_goes_in_pieces_and_one_of_that_size_whole() {
    let mut client = Client::open(Limits::default());
    let whole = block_of(1, WHOLE_MAX);
    let did = client.sends("d", &[whole]);
    assert_eq!((sizes(&did), pieces(&did).len()), (vec![vec![WHOLE_MAX]], 0));
    client.hears(credit(WHOLE_MAX as u32));
    let large = block_of(2, WHOLE_MAX + 1);
    let did = client.sends("d", std::slice::from_ref(&large));
    let pieces = pieces(&did);
    assert_eq!(
        pieces,
        [&ends::piece(&large, 0..WHOLE_MAX), &ends::piece(&large, WHOLE_MAX..WHOLE_MAX + 1)]
    );
}

#[test]
fn a_block_in_pieces_waits_until_nothing_is_under_way_and_keeps_others_back() {
    let mut client = Client::open(Limits::default());
    client.sends("d", &[block_of(1, 80)]);
    assert_eq!(sizes(&client.sends("d", &[block_of(2, WHOLE_MAX + 1), block_of(3, 90)])).len(), 0);
    client.opens("e");
    client.hears(opened(1));
    assert_eq!(sizes(&client.sends("e", &[block_of(4, 70)])), [[70]], "it is another's turn");
    assert_eq!(sizes(&client.sends("e", &[block_of(5, 70)])).len(), 0, "it is the large one's");
    assert_eq!(sizes(&client.hears(credit(149))).len(), 0);
    let did = client.hears(credit(1));
    assert_eq!(sizes(&did)[..2], [[WHOLE_MAX], [1]]);
    assert_eq!(did.len(), 4, "and then what waited for it");
    assert_eq!(client.queued_bytes(), 0);
}

#[test]
fn a_closed_document_takes_its_blocks_back() {
    let mut client = Client::open(window(100));
    client.opens("e");
    client.hears(opened(1));
    client.sends("e", &[block_of(9, 100)]);
    client.sends("d", &[block_of(1, 80), block_of(2, 90)]);
    client.sends("e", &[block_of(3, 70)]);
    assert_eq!(client.queued_bytes(), 240);
    client.input(ClientInput::Close { doc: doc("d") });
    assert_eq!(client.queued_bytes(), 70);
    assert_eq!(client.hears(credit(100)).len(), 1);
    assert_eq!(client.queued_bytes(), 0);
}

#[test]
fn a_document_that_closes_between_pieces_takes_the_rest_back() {
    let mut client = Client::open(window(100));
    client.opens("e");
    client.hears(opened(1));
    let large = block_of(1, WHOLE_MAX + 10);
    assert_eq!(sizes(&client.sends("d", &[large, block_of(2, 80)])), [[WHOLE_MAX]]);
    client.sends("e", &[block_of(3, 70)]);
    assert_eq!(client.queued_bytes(), 10 + 80 + 70);
    let close = Said(Message::Close(Close { ch: 0 }));
    assert_eq!(client.input(ClientInput::Close { doc: doc("d") }), [close]);
    assert_eq!(client.queued_bytes(), 70);
    assert_eq!(sizes(&client.hears(credit(WHOLE_MAX as u32))), [[70]]);
}

#[test]
fn another_document_that_closes_leaves_the_pieces_alone() {
    let mut client = Client::open(window(100));
    client.opens("e");
    client.hears(opened(1));
    client.sends("d", &[block_of(1, WHOLE_MAX + 10)]);
    client.input(ClientInput::Close { doc: doc("e") });
    assert_eq!(client.queued_bytes(), 10);
    assert_eq!(sizes(&client.hears(credit(WHOLE_MAX as u32))), [[10]]);
}
