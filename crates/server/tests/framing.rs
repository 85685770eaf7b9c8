//! WebSocket framing over raw sockets: what RFC 6455 demands of a server, after the cases of groups
//! 1 to 7 and 10 of the Autobahn test suite (framing, pings, reserved bits, opcodes, fragmentation,
//! UTF-8, closing, automatic fragmentation). Not here are 9 (speed), 12 and 13 (compression, which
//! is not spoken). The protocol has no echo: what arrived is seen by the answers to pings of the
//! protocol that are in it, and a text that is sound by the code that refuses texts.

mod common;

use std::time::Duration;

use leptos_sync_protocol::{Hello, Message, Ping, Pong, decode_frame, encode_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use common::Server;

const PATIENCE: Duration = Duration::from_secs(10);
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;

/// The id of the ping that asks whether the connection works.
const ALIVE: u64 = 99;

/// So many bytes at once are written of all frames of a case: all, chops, single ones.
const CHOPS: [usize; 3] = [usize::MAX, 997, 1];

/// What the server sent.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Frame(u8, Vec<u8>),
    End,
}

/// How a connection goes on.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It works.
    Alive,
    /// The server fails it, with this code.
    Fails(u16),
    /// The server answers the close, with the same code if there was one, and nothing follows.
    Closed(Option<u16>),
}

/// Frames on a connection of their own, what is heard of them, and how it goes on.
struct Case {
    what: String,
    sent: Vec<Vec<u8>>,
    heard: Vec<Heard>,
    then: Then,
}

fn case(what: impl Into<String>, sent: Vec<Vec<u8>>, heard: Vec<Heard>, then: Then) -> Case {
    Case { what: what.into(), sent, heard, then }
}

struct Raw {
    stream: TcpStream,
}

/// A frame as a client has to send it. `first` is the first byte: FIN, reserved bits and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        client_id: 7,
        token: None,
        wall_ms: common::now_ms(),
    };
    encode_frame(&Message::Hello(hello)).to_vec()
}

fn ping(id: u64) -> Vec<u8> {
    encode_frame(&Message::Ping(Ping { id })).to_vec()
}

/// A whole message that the server answers with [`answer`].
fn good(id: u64) -> Vec<u8> {
    frame(FIN | BINARY, &ping(id))
}

fn answer(id: u64) -> Heard {
    Heard::Frame(BINARY, encode_frame(&Message::Pong(Pong { id })).to_vec())
}

fn pong(payload: &[u8]) -> Heard {
    Heard::Frame(PONG, payload.to_vec())
}

/// A payload of exactly `len` bytes: the protocol's ping, after a message whose type says that who
/// does not know it ignores it.
fn padded_ping(id: u64, len: usize) -> Vec<u8> {
    let ping = ping(id);
    let room = len - ping.len();
    let mut payload = Vec::new();
    for length_bytes in 1..=3 {
        let mut out = leptos_sync_crdt::Writer::new();
        out.len(room - length_bytes);
        out.u8(0xfe);
        out.raw(&vec![7; room - length_bytes - 1]);
        payload = out.into_vec();
        if payload.len() == room {
            break;
        }
    }
    payload.extend(ping);
    assert_eq!(payload.len(), len, "there is such a message");
    payload
}

/// A message in frames of these parts.
fn fragments<'a>(opcode: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        frames.push(frame(if frames.is_empty() { opcode } else { CONTINUATION }, part));
    }
    frames.last_mut().expect("there are parts")[0] |= FIN;
    frames
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

impl Raw {
    async fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(&server.address).await.expect("the server listens");
        let request = format!(
            "GET /sync HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: leptos-sync.v1\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        stream.set_nodelay(true).expect("a socket that is open");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("a byte"));
        }
        let head = String::from_utf8(head).expect("the head is text").to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        // The key of RFC 6455, section 1.3, and the answer to it.
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Self { stream }
    }

    /// After the greetings of the protocol.
    async fn greeted(server: &Server) -> Self {
        let mut raw = Self::open(server).await;
        raw.send(&frame(FIN | BINARY, &hello())).await;
        let Heard::Frame(opcode, payload) = raw.hear().await else { panic!("no welcome") };
        assert_eq!(opcode, BINARY);
        assert!(matches!(
            decode_frame(&payload.into()).expect("a frame").first(),
            Some(Message::Welcome(_))
        ));
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The server may have ended the connection, which is then heard.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    async fn hear(&mut self) -> Heard {
        let read = async {
            let first = self.stream.read_u8().await?;
            let second = self.stream.read_u8().await?;
            assert_eq!(second & 0x80, 0, "a server masks nothing");
            let len = match second {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                len => u64::from(len),
            };
            assert_eq!(first & 0xf0, FIN, "whole frames, no reserved bits");
            let mut payload = vec![0; len as usize];
            self.stream.read_exact(&mut payload).await?;
            Ok::<_, std::io::Error>(Heard::Frame(first & 0x0f, payload))
        };
        timeout(PATIENCE, read).await.expect("the server answers in time").unwrap_or(Heard::End)
    }

    /// The protocol's ping is answered: the connection works, and all before it was taken in.
    async fn is_alive(&mut self, what: &str) {
        self.send(&good(ALIVE)).await;
        assert_eq!(self.hear().await, answer(ALIVE), "{what}");
    }

    /// The server ends the connection with a close that bears this code, or none.
    async fn closes(&mut self, code: Option<u16>, what: &str) -> Vec<u8> {
        let heard = self.hear().await;
        let Heard::Frame(CLOSE, payload) = heard else { panic!("{what}: {heard:?}") };
        let told = payload.first_chunk().map(|&code| u16::from_be_bytes(code));
        assert_eq!(told, code, "{what}");
        payload
    }

    async fn goes_on(&mut self, then: Then, what: &str) {
        match then {
            Then::Alive => return self.is_alive(what).await,
            Then::Fails(code) => {
                let payload = self.closes(Some(code), what).await;
                self.send(&frame(FIN | CLOSE, &payload[..2])).await;
            }
            Then::Closed(code) => drop(self.closes(code, what).await),
        }
        assert_eq!(self.hear().await, Heard::End, "{what}");
    }
}

/// Plays each case, written in each of these chops, on connections of its own.
async fn play(cases: Vec<Case>, chops: &[usize]) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &[]);
    let mut neighbour = Raw::greeted(&server).await;
    for case in &cases {
        for &chop in chops {
            let what = format!("{}, {chop} bytes at once", case.what);
            let mut raw = Raw::greeted(&server).await;
            for part in case.sent.concat().chunks(chop) {
                raw.send(part).await;
            }
            for expected in &case.heard {
                assert_eq!(raw.hear().await, *expected, "{what}");
            }
            raw.goes_on(case.then, &what).await;
        }
    }
    neighbour.is_alive("a neighbour").await;
}

/// Group 1: messages of every form of length.
#[tokio::test]
async fn messages_of_every_length_arrive() {
    let mut cases = vec![
        // One of no bytes has no message of the protocol in it.
        case("a message of 0 bytes", vec![frame(FIN | BINARY, b"")], vec![], Then::Fails(4400)),
    ];
    for len in [125, 126, 127, 128, 65_535, 65_536, 200_000] {
        let sent = vec![frame(FIN | BINARY, &padded_ping(1, len))];
        cases.push(case(format!("a message of {len} bytes"), sent, vec![answer(1)], Then::Alive));
    }
    for len in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let sent = vec![frame(FIN | TEXT, &vec![b'x'; len])];
        cases.push(case(format!("a text of {len} bytes"), sent, vec![], Then::Fails(4400)));
    }
    play(cases, &CHOPS[..2]).await;
}

/// Group 2.
#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    let mut cases = Vec::new();
    for payload in [&b""[..], b"hello", &[0x00, 0xff, 0xfe, 0xfd, 0x80], &[0xfe; 125]] {
        let sent = vec![frame(FIN | PING, payload)];
        cases.push(case(format!("ping {payload:x?}"), sent, vec![pong(payload)], Then::Alive));
    }
    let (empty, full) = (frame(FIN | PONG, b""), frame(FIN | PONG, b"unsolicited"));
    let asked = frame(FIN | PING, b"asked");
    let ten: Vec<_> = (0..10u8).map(|number| [number; 3]).collect();
    let pings = ten.iter().map(|payload| frame(FIN | PING, payload)).collect();
    let pongs = ten.iter().map(|payload| pong(payload)).collect();
    cases.extend([
        case(
            "a ping of 126 bytes",
            vec![frame(FIN | PING, &[0xfe; 126])],
            vec![],
            Then::Fails(1002),
        ),
        case("an empty pong unasked", vec![empty], vec![], Then::Alive),
        case("a pong unasked", vec![full.clone()], vec![], Then::Alive),
        case("a pong, a ping", vec![full, asked], vec![pong(b"asked")], Then::Alive),
        case("ten pings", pings, pongs, Then::Alive),
    ]);
    play(cases, &CHOPS).await;
}

/// Groups 3 and 4: alone, with something in them, and between good messages.
#[tokio::test]
async fn reserved_bits_and_opcodes_fail_the_connection() {
    let mut cases = Vec::new();
    let mut refused = |what: String, bad: Vec<u8>| {
        cases.push(case(what.clone(), vec![bad.clone()], vec![], Then::Fails(1002)));
        let (sent, heard) = (vec![good(1), bad, good(2)], vec![answer(1)]);
        cases.push(case(format!("{what}, between"), sent, heard, Then::Fails(1002)));
    };
    for rsv in 1..8u8 {
        let message = ping(3);
        let kinds = [(BINARY, &message[..]), (TEXT, b"x"), (PING, b"x"), (CLOSE, &[3, 232])];
        for (opcode, payload) in kinds {
            let bad = frame(FIN | rsv << 4 | opcode, payload);
            refused(format!("reserved bits {rsv:03b} of opcode {opcode}"), bad);
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"payload"] {
            let bad = frame(FIN | opcode, payload);
            refused(format!("opcode {opcode} with {} bytes", payload.len()), bad);
        }
    }
    play(cases, &[usize::MAX, 1]).await;
}

/// Group 5, what is allowed, and 10: a message in any number of fragments, with pings between them.
#[tokio::test]
async fn fragments_are_put_together() {
    let (message, between) = (ping(9), frame(FIN | PING, b"between"));
    let halves = fragments(BINARY, [&message[..1], &message[1..]]);
    let mut with_ping = halves.clone();
    with_ping.insert(1, between.clone());
    let mut pings = Vec::new();
    for part in fragments(BINARY, message.chunks(1).chain([&b""[..]])) {
        pings.extend([part, between.clone()]);
    }
    let answers = vec![pong(b"between"), answer(9)];
    let mut many = vec![pong(b"between"); message.len()];
    many.extend([answer(9), pong(b"between")]);
    let empty = fragments(BINARY, [&b""[..], b"", &message[..], b""]);
    let long = padded_ping(9, 65_536);
    let cases = vec![
        case("two fragments", halves, vec![answer(9)], Then::Alive),
        case("a ping between two fragments", with_ping, answers, Then::Alive),
        case("a ping after each fragment", pings, many, Then::Alive),
        case("empty fragments", empty, vec![answer(9)], Then::Alive),
        case("64 KiB", fragments(BINARY, long.chunks(1_300)), vec![answer(9)], Then::Alive),
    ];
    play(cases, &CHOPS).await;
}

/// Group 5, what is not.
#[tokio::test]
async fn fragments_out_of_place_fail_the_connection() {
    let message = ping(9);
    let halves = fragments(BINARY, [&message[..1], &message[1..]]);
    let (begun, ended) = (frame(BINARY, &message[..1]), frame(FIN | CONTINUATION, b"x"));
    let more = frame(CONTINUATION, b"x");
    let mut again = halves.clone();
    again.extend([more.clone(), good(1)]);
    let cases = [
        ("a ping in fragments", vec![frame(PING, b"a"), ended.clone()], vec![]),
        ("a pong in fragments", vec![frame(PONG, b"a"), ended.clone()], vec![]),
        ("a close in fragments", vec![frame(CLOSE, &[3, 232]), ended.clone()], vec![]),
        ("a continuation of nothing", vec![ended.clone(), good(1)], vec![]),
        ("one to be continued", vec![more.clone(), good(1)], vec![]),
        ("a continuation of what has ended", again, vec![answer(9)]),
        ("continuations of nothing, again", vec![more.clone(), ended, more, good(1)], vec![]),
        ("a message inside a message", vec![begun.clone(), good(1)], vec![]),
        ("a text inside a message", vec![begun.clone(), frame(FIN | TEXT, b"x")], vec![]),
        ("a begun message inside a message", vec![begun.clone(), begun], vec![]),
    ]
    .map(|(what, sent, heard)| case(what, sent, heard, Then::Fails(1002)));
    play(cases.into(), &CHOPS).await;
}

/// What is UTF-8, to its ends: of each length the first and the last, around the surrogates, and
/// characters that are none.
const SOUND: &[&[u8]] = &[
    "κόσμε".as_bytes(),
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf0\x9f\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
];

/// What is not.
const NOISE: &[(&str, &[u8])] = &[
    ("the first continuation byte", b"\x80"),
    ("the last", b"\xbf"),
    ("seven of them", b"\x80\xbf\x80\xbf\x80\xbf\x80"),
    ("a start of two, and a space", b"\xc0 \xc1 \xdf "),
    ("a start of three, and a space", b"\xe0 \xef "),
    ("a start of four, and a space", b"\xf0 \xf7 "),
    ("starts of five and six", b"\xf8 \xfb \xfc \xfd "),
    ("bytes that are never there", b"\xfe\xfe\xff\xff"),
    ("two bytes, cut", b"\xdf"),
    ("three bytes, cut", b"\xe0\xa0"),
    ("four bytes, cut", b"\xf0\x90\x80"),
    ("a word, cut", b"\xce\xba\xe1\xbd\xb9\xcf"),
    ("cut in the middle", b"\xe2\x82x"),
    ("a slash in two bytes", b"\xc0\xaf"),
    ("a slash in three", b"\xe0\x80\xaf"),
    ("a slash in four", b"\xf0\x80\x80\xaf"),
    ("a slash in five", b"\xf8\x80\x80\x80\xaf"),
    ("a slash in six", b"\xfc\x80\x80\x80\x80\xaf"),
    ("the last of one byte, in two", b"\xc1\xbf"),
    ("the last of two bytes, in three", b"\xe0\x9f\xbf"),
    ("the last of three bytes, in four", b"\xf0\x8f\xbf\xbf"),
    ("zero in two bytes", b"\xc0\x80"),
    ("the first surrogate", b"\xed\xa0\x80"),
    ("the last", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("a surrogate in a word", b"\xce\xba\xed\xa0\x80edited"),
    ("above the last", b"\xf4\x90\x80\x80"),
    ("the last of four bytes", b"\xf7\xbf\xbf\xbf"),
    ("the first of five", b"\xf8\x88\x80\x80\x80"),
    ("the first of six", b"\xfc\x84\x80\x80\x80\x80"),
];

/// Group 6: text is not spoken here, and told so only when it is one.
#[tokio::test]
async fn text_is_refused_by_name_and_what_is_no_utf8_fails() {
    let mut cases = Vec::new();
    let mut refused = |what: String, text: &[u8], code: u16| {
        let then = Then::Fails(code);
        let single = fragments(TEXT, text.chunks(1).chain([&b""[..]]));
        cases.push(case(format!("{what}, byte by byte"), single, vec![], then));
        let inside = fragments(TEXT, [&b"before "[..], text, b""]);
        cases.push(case(format!("{what}, in a fragment"), inside, vec![], then));
        let (left, right) = text.split_at(text.len() / 2);
        let mut halves = fragments(TEXT, [left, right]);
        halves.insert(1, frame(FIN | PING, b"between"));
        // Before a half that is no beginning of a text, the ping may be answered or not.
        if std::str::from_utf8(left).is_ok_and(|left| !left.is_empty()) {
            let heard = vec![pong(b"between")];
            cases.push(case(format!("{what}, with a ping"), halves, heard, then));
        }
        cases.push(case(what, vec![frame(FIN | TEXT, text)], vec![], then));
    };
    for text in SOUND {
        refused(format!("the text {text:x?}"), text, 4400);
    }
    for (what, noise) in NOISE {
        refused((*what).to_owned(), noise, 1007);
    }
    // What cannot become a text any more is not waited for.
    for begun in [&b"\xff"[..], b"\xed\xa0\x80", b"\xf4\x90\x80"] {
        let sent = vec![frame(TEXT, b"sound"), frame(CONTINUATION, begun)];
        cases.push(case(format!("{begun:x?}, to be continued"), sent, vec![], Then::Fails(1007)));
    }
    play(cases, &[usize::MAX, 1]).await;
}

/// Group 7, what is allowed.
#[tokio::test]
async fn closing_is_answered_once_and_ends_the_connection() {
    let bye = close(1000, b"bye");
    let (large, begun) = (frame(FIN | BINARY, &padded_ping(1, 256 << 10)), frame(BINARY, b"x"));
    let ended = frame(FIN | CONTINUATION, b"x");
    let closed = Then::Closed(Some(1000));
    let mut cases = vec![
        case("nothing said", vec![frame(FIN | CLOSE, b"")], vec![], Then::Closed(None)),
        case("a message before", vec![good(1), bye.clone()], vec![answer(1)], closed),
        case("twice", vec![bye.clone(), bye.clone()], vec![], closed),
        case("a ping after", vec![bye.clone(), frame(FIN | PING, b"late")], vec![], closed),
        case("a message after", vec![bye.clone(), good(1)], vec![], closed),
        case("inside a message", vec![begun, bye.clone(), ended], vec![], closed),
        case("256 KiB before", vec![large, bye, good(2)], vec![answer(1)], closed),
        case("no reason", vec![close(1000, b"")], vec![], closed),
        case("the longest reason", vec![close(1000, &[b'r'; 123])], vec![], closed),
    ];
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013];
    for code in codes.into_iter().chain([3000, 3999, 4000, 4999]) {
        let sent = vec![close(code, "bis dann, tschüß".as_bytes())];
        cases.push(case(format!("code {code}"), sent, vec![], Then::Closed(Some(code))));
    }
    play(cases, &CHOPS[..2]).await;
}

/// Group 7, what is not.
#[tokio::test]
async fn closing_with_nonsense_fails_the_connection() {
    let mut cases = vec![
        case("one byte", vec![frame(FIN | CLOSE, &[3])], vec![], Then::Fails(1002)),
        case("a reason too long", vec![close(1000, &[b'r'; 124])], vec![], Then::Fails(1002)),
    ];
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
        for reason in [&b""[..], b"bye"] {
            let what = format!("code {code} with {} bytes", reason.len());
            cases.push(case(what, vec![close(code, reason)], vec![], Then::Fails(1002)));
        }
    }
    for (what, noise) in NOISE {
        let sent = vec![close(1000, noise)];
        cases.push(case(format!("a reason: {what}"), sent, vec![], Then::Fails(1007)));
    }
    play(cases, &[usize::MAX, 1]).await;
}

/// Frames that no client may send, or whose length is only claimed.
#[tokio::test]
async fn what_is_not_masked_or_too_long_fails_its_own_connection_only() {
    let mut unmasked = vec![FIN | BINARY, ping(1).len() as u8];
    unmasked.extend(ping(1));
    let mut cases = vec![case("an unmasked frame", vec![unmasked], vec![], Then::Fails(1002))];
    for claimed in [2u64 << 20, 1 << 40, u64::MAX] {
        let mut head = vec![FIN | BINARY, 0x80 | 127];
        head.extend(claimed.to_be_bytes());
        head.extend(MASK);
        let what = format!("a frame of {claimed} bytes");
        cases.push(case(what, vec![head], vec![], Then::Fails(4413)));
    }
    play(cases, &CHOPS[..1]).await;
}
