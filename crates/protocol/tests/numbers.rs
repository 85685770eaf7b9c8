//! The numbers that the documentation promises: codes, limits and times.

mod ends;
mod wire;

use bytes::Bytes;
use ends::{opened, version, welcome};
use leptos_sync_protocol::{
    Changes, CloseCode, DocErrCode, FRAME_BYTES_MAX, FRAME_BYTES_USUAL, FRAME_MESSAGES_MAX,
    FrameError, Instant, Limits, Message, NackCode, Opened, PRESENCE_BYTES_MAX, Permission,
    decode_frame, encode_frame,
};

#[test]
fn close_codes_are_numbered_as_documented() {
    let codes = [
        (1001, CloseCode::GoingAway),
        (4400, CloseCode::Malformed),
        (4401, CloseCode::Unauthorized),
        (4403, CloseCode::Forbidden),
        (4406, CloseCode::UnsupportedVersion),
        (4408, CloseCode::TimedOut),
        (4413, CloseCode::TooLarge),
        (4429, CloseCode::FlowControl),
        (4430, CloseCode::TooSlow),
        (4500, CloseCode::Internal),
        (4999, CloseCode::Other(4999)),
    ];
    for (number, code) in codes {
        assert_eq!((CloseCode::from_u16(number), code.as_u16()), (code, number));
        assert_eq!(code.is_permanent(), [4401, 4403, 4406].contains(&number), "{code:?}");
    }
}

#[test]
fn refusals_are_numbered_as_documented_and_some_are_temporary() {
    let codes = [
        (1, NackCode::Forbidden),
        (2, NackCode::Invalid),
        (3, NackCode::ClockSkew),
        (4, NackCode::DuplicatePeer),
        (5, NackCode::TooLarge),
        (6, NackCode::MissingDeps),
        (7, NackCode::Truncated),
        (8, NackCode::Quota),
        (9, NackCode::Unavailable),
        (10, NackCode::Other(10)),
    ];
    for (number, code) in codes {
        assert_eq!((NackCode::from_u8(number), code.as_u8()), (code, number));
        assert_eq!(code.is_temporary(), [3, 6, 8, 9].contains(&number), "{code:?}");
    }
}

#[test]
fn document_errors_are_numbered_as_documented() {
    let codes = [
        (1, DocErrCode::Forbidden),
        (2, DocErrCode::TooMany),
        (3, DocErrCode::Unavailable),
        (4, DocErrCode::Unsupported),
        (5, DocErrCode::UnknownMark),
        (6, DocErrCode::Other(6)),
    ];
    for (number, code) in codes {
        assert_eq!((DocErrCode::from_u8(number), code.as_u8()), (code, number));
    }
}

#[test]
fn limits_are_as_documented() {
    let documented = Limits {
        frame_bytes_max: 262_144,
        window_bytes: 1_048_576,
        block_bytes_max: 16_777_216,
        presence_bytes_max: 4_096,
        docs_max: 1_024,
    };
    assert_eq!(Limits::default(), documented);
    assert_eq!((FRAME_BYTES_MAX, FRAME_BYTES_USUAL), (262_144, 65_536));
    assert_eq!((FRAME_MESSAGES_MAX, PRESENCE_BYTES_MAX), (1_024, 4_096));
}

#[test]
fn a_server_that_takes_nothing_is_no_server() {
    let limits = Limits::default();
    for limits in [Limits { frame_bytes_max: 0, ..limits }, Limits { window_bytes: 0, ..limits }] {
        let frame = encode_frame(&Message::Welcome(welcome(limits)));
        assert!(matches!(decode_frame(&frame), Err(FrameError::Body { kind: 0x02, .. })));
    }
}

#[test]
fn a_frame_of_exactly_the_cap_is_read() {
    // Around the entries are two lengths of three bytes, the type and the channel.
    let entries = Bytes::from(vec![0; FRAME_BYTES_MAX - 8]);
    let frame = encode_frame(&Message::Changes(Changes { ch: 0, entries }));
    assert_eq!(frame.len(), FRAME_BYTES_MAX);
    assert_eq!(decode_frame(&frame).map(|messages| messages.len()), Ok(1));
}

#[test]
fn a_frame_of_exactly_as_many_messages_as_allowed_is_read() {
    let pings = [2, 0x0d, 5].repeat(FRAME_MESSAGES_MAX);
    assert_eq!(decode_frame(&pings.into()).map(|messages| messages.len()), Ok(1_024));
    let skipped = [1, 0xff].repeat(FRAME_MESSAGES_MAX + 1);
    assert_eq!(decode_frame(&skipped.into()), Err(FrameError::MessageCount), "skipped ones count");
}

#[test]
fn a_version_of_more_authors_than_a_message_takes_is_cut_short() {
    for authors in [16_383, 16_384, 16_385_u64] {
        let counts: Vec<(u64, u32)> = (0..authors).map(|peer| (peer, 1)).collect();
        let (permission, have) = (Permission::Write, version(&counts));
        let message = Message::Opened(Opened { ch: 0, feed: 0, permission, have, mark: None });
        let read = decode_frame(&encode_frame(&message)).expect("it is valid");
        let kept = version(&counts[..counts.len().min(16_384)]);
        assert!(matches!(&read[..], [Message::Opened(read)] if read.have == kept));
    }
}

#[test]
fn bytes_that_name_nothing_are_refused() {
    // The permission is the third field of `Opened`, the level the second of `Ack`.
    let mut frame = encode_frame(&opened(0)).to_vec();
    for permission in [0, 3] {
        frame[4] = permission;
        let read = decode_frame(&Bytes::from(frame.clone()));
        assert!(matches!(read, Err(FrameError::Body { kind: 0x04, .. })));
    }
    let ack = Bytes::from_static(&[4, 0x08, 0, 3, 0]);
    assert!(matches!(decode_frame(&ack), Err(FrameError::Body { kind: 0x08, .. })));
    let presence = Bytes::from_static(&[5, 0x90, 0, 2, 1, 0]);
    assert!(matches!(decode_frame(&presence), Err(FrameError::Body { kind: 0x90, .. })));
}

#[test]
fn moments_are_counted_in_milliseconds_and_never_overflow() {
    let moment = Instant::from_ms(5).plus_ms(7);
    assert_eq!((moment.as_ms(), Instant::default().as_ms()), (12, 0));
    assert_eq!(moment.plus_ms(u64::MAX), Instant::from_ms(u64::MAX));
}
