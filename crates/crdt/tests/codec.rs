//! Fields of bytes: what is read, and what is refused.

use leptos_sync_crdt::{DecodeError, Reader, Writer};

fn varint(bytes: &[u8]) -> Result<u64, DecodeError> {
    Reader::new(bytes).varint()
}

#[test]
fn a_number_has_one_encoding() {
    for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        let mut out = Writer::new();
        out.varint(value);
        assert_eq!(varint(out.as_slice()), Ok(value));
        let mut longer = out.into_vec();
        *longer.last_mut().expect("a byte") |= 0x80;
        longer.push(0);
        assert_eq!(varint(&longer), Err(DecodeError::IntegerRange));
    }
}

#[test]
fn a_number_has_at_most_64_bits() {
    let ends = |last| {
        let mut bytes = [0xff; 10];
        bytes[9] = last;
        varint(&bytes)
    };
    assert_eq!(ends(1), Ok(u64::MAX));
    for last in [0, 2, 3, 0x7f, 0x81, 0xff] {
        assert_eq!(ends(last), Err(DecodeError::IntegerRange));
    }
    assert_eq!(varint(&[0xff; 9]), Err(DecodeError::UnexpectedEnd));
}

#[test]
fn a_reader_is_finished_when_everything_was_read() {
    let mut input = Reader::new(&[1, 2]);
    assert_eq!(input.u8(), Ok(1));
    assert_eq!(input.finish(), Err(DecodeError::TrailingBytes));
    assert_eq!(input.u8(), Ok(2));
    assert_eq!(input.finish(), Ok(()));
}

#[test]
fn a_text_is_read_by_its_length_and_has_to_be_utf_8() {
    let mut out = Writer::new();
    out.str("größe");
    out.bytes(&[0xff]);
    let mut input = Reader::new(out.as_slice());
    assert_eq!(input.remaining(), 10);
    assert_eq!(input.str(), Ok("größe"));
    assert_eq!(input.remaining(), 2);
    assert_eq!(input.str(), Err(DecodeError::Utf8));
}

#[test]
fn no_more_is_counted_than_can_remain() {
    assert_eq!(Reader::new(&[2, 0, 0]).count(1), Ok(2));
    assert_eq!(Reader::new(&[2, 0, 0]).count(2), Err(DecodeError::CountExceedsInput));
}
