//! Blocks cut into frames and put together again.

mod ends;
mod wire;

use bytes::Bytes;
use ends::{block_of, changes, piece};
use leptos_sync_crdt::{Block, BlockReader, BlockWriter, DecodeError, PeerId};
use leptos_sync_protocol::{
    Assembler, FRAME_BYTES_USUAL, Message, Piece, PieceError, changes_frames, decode_frame,
    encode_frame,
};

/// The largest block that travels whole, and the largest piece.
const WHOLE_MAX: usize = 60 << 10;

/// What the entry of a block takes besides the block, at most.
const ENTRY_BYTES: usize = 4;

/// The sizes of the blocks in each frame, and of each piece.
fn sizes(blocks: &[Block]) -> Vec<Vec<usize>> {
    let mut reader = BlockReader::default();
    let mut writer = BlockWriter::default();
    let frames = changes_frames(&mut writer, 0, blocks);
    let sizes = frames.map(|frame| {
        assert!(frame.len() <= FRAME_BYTES_USUAL);
        match &decode_frame(&frame).expect("it is valid")[..] {
            [Message::Changes(changes)] => {
                let blocks = changes.read(&mut reader).expect("it follows");
                blocks.iter().map(|block| block.bytes().len()).collect()
            }
            [Message::Piece(piece)] => vec![piece.data.len()],
            other => panic!("{other:?}"),
        }
    });
    sizes.collect()
}

/// An assembler that holds the first half of a block, and the other half.
fn halfway() -> (Assembler, Piece, Block) {
    let block = block_of(1, 80);
    let mut assembler = Assembler::new(100);
    assert_eq!(assembler.take(&piece(&block, 0..40)), Ok(None));
    (assembler, piece(&block, 40..80), block)
}

#[test]
fn as_many_blocks_share_a_frame_as_fit() {
    let half = WHOLE_MAX / 2;
    let exactly = [block_of(1, half), block_of(2, half - ENTRY_BYTES), block_of(3, 70)];
    assert_eq!(sizes(&exactly), [vec![half, half - ENTRY_BYTES], vec![70]]);
    let above = [block_of(1, half), block_of(2, half - ENTRY_BYTES + 1)];
    assert_eq!(sizes(&above), [[half], [half - ENTRY_BYTES + 1]]);
}

#[test]
fn the_largest_whole_block_fills_a_frame_and_a_larger_one_goes_in_pieces() {
    let blocks = [
        block_of(1, WHOLE_MAX),
        block_of(2, 70),
        block_of(3, 2 * WHOLE_MAX),
        block_of(4, WHOLE_MAX + 1),
        block_of(5, 80),
    ];
    let frames = [&[WHOLE_MAX][..], &[70], &[WHOLE_MAX], &[WHOLE_MAX], &[WHOLE_MAX], &[1], &[80]];
    assert_eq!(sizes(&blocks), frames);
}

#[test]
fn no_blocks_make_no_frame() {
    assert_eq!(changes_frames(&mut BlockWriter::default(), 0, &[]).count(), 0);
}

#[test]
fn one_frame_is_what_one_message_is() {
    let blocks = [block_of(1, 80), block_of(2, 90)];
    let mut writer = BlockWriter::default();
    let frames: Vec<_> = changes_frames(&mut writer, 0, &blocks).collect();
    assert_eq!(frames, [encode_frame(&changes(&blocks))]);
}

#[test]
fn pieces_in_order_make_the_block() {
    let (mut assembler, rest, block) = halfway();
    assert_eq!(assembler.take(&rest), Ok(Some(block.clone())));
    assert_eq!(assembler.take(&rest), Err(PieceError::OutOfOrder), "it is done");
    assert_eq!(assembler.take(&piece(&block, 0..80)), Ok(Some(block)), "one piece may be all");
}

#[test]
fn a_block_may_have_the_limit_and_not_a_byte_more() {
    let block = block_of(1, 100);
    assert_eq!(Assembler::new(100).take(&piece(&block, 0..100)), Ok(Some(block.clone())));
    assert_eq!(Assembler::new(101).take(&piece(&block, 0..100)), Ok(Some(block.clone())));
    let refused = Assembler::new(99).take(&piece(&block, 0..100));
    assert_eq!(refused, Err(PieceError::TooLarge(100)));
}

#[test]
fn a_block_above_the_limit_drops_the_unfinished_one() {
    let (mut assembler, rest, _) = halfway();
    assert_eq!(assembler.take(&piece(&block_of(2, 101), 0..1)), Err(PieceError::TooLarge(101)));
    assert_eq!(assembler.take(&rest), Err(PieceError::OutOfOrder));
}

#[test]
fn a_piece_must_continue_the_block_that_is_under_way() {
    let (_, rest, block) = halfway();
    let none = Bytes::new();
    let strays = [
        Piece { ch: 1, ..rest.clone() },
        Piece { peer: PeerId(2), ..rest.clone() },
        Piece { seq: 1, ..rest.clone() },
        Piece { total: 81, ..rest.clone() },
        Piece { offset: 41, ..rest.clone() },
        Piece { data: none.clone(), ..rest.clone() },
        piece(&block, 39..79),
        piece(&block, 41..80),
    ];
    for stray in strays {
        let (mut assembler, rest, _) = halfway();
        assert_eq!(assembler.take(&stray), Err(PieceError::OutOfOrder), "{stray:?}");
        assert_eq!(assembler.take(&rest), Err(PieceError::OutOfOrder), "the first half is dropped");
    }
    let nothing = Piece { total: 0, data: none, ..piece(&block, 0..1) };
    assert_eq!(Assembler::new(100).take(&nothing), Err(PieceError::OutOfOrder));
}

#[test]
fn a_piece_must_not_go_beyond_the_end() {
    let (mut assembler, rest, _) = halfway();
    let data = Bytes::from([&rest.data[..], b"x"].concat());
    assert_eq!(assembler.take(&Piece { data, ..rest }), Err(PieceError::OutOfOrder));
}

#[test]
fn a_piece_at_the_start_begins_anew() {
    let (mut assembler, _, block) = halfway();
    assert_eq!(assembler.take(&piece(&block, 0..79)), Ok(None));
    assert_eq!(assembler.take(&piece(&block, 79..80)), Ok(Some(block)));
}

#[test]
fn the_block_must_be_the_one_that_was_announced() {
    let whole = piece(&block_of(1, 80), 0..80);
    for other in [Piece { peer: PeerId(2), ..whole.clone() }, Piece { seq: 1, ..whole.clone() }] {
        assert_eq!(Assembler::new(100).take(&other), Err(PieceError::Mismatch));
    }
    let mut data = whole.data.to_vec();
    data[30] ^= 1;
    let damaged = Piece { data: data.into(), ..whole };
    let error = PieceError::Block(DecodeError::Checksum);
    assert_eq!(Assembler::new(100).take(&damaged), Err(error));
}

#[test]
fn a_channel_that_ends_takes_its_unfinished_block_along() {
    let (mut assembler, rest, block) = halfway();
    assembler.forget(1);
    assert_eq!(assembler.take(&rest), Ok(Some(block)), "it was another channel");
    let (mut assembler, rest, _) = halfway();
    assembler.forget(0);
    assert_eq!(assembler.take(&rest), Err(PieceError::OutOfOrder));
}
