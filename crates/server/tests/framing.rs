//! WebSocket framing over raw sockets: what RFC 6455 demands of a server, after the groups of the
//! Autobahn test suite (1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8,
//! 7 closing, 10 automatic fragmentation). The protocol has no echo; what arrived is seen by the
//! answers to pings of the protocol.

mod common;

use std::time::Duration;

use leptos_sync_protocol::{Hello, Message, Ping, decode_frame, encode_frame};
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

/// What the server sent.
#[derive(Debug, PartialEq)]
enum Heard {
    Frame(u8, Vec<u8>),
    End,
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
    async fn is_alive(&mut self, id: u64) {
        self.send(&frame(FIN | BINARY, &ping(id))).await;
        self.hears_pong_of_protocol(id).await;
    }

    async fn hears_pong_of_protocol(&mut self, id: u64) {
        let Heard::Frame(BINARY, payload) = self.hear().await else { panic!("no answer") };
        let messages = decode_frame(&payload.into()).expect("a frame");
        assert!(
            matches!(messages[..], [Message::Pong(pong)] if pong.id == id),
            "an answer to {id}: {messages:?}"
        );
    }

    /// The server fails the connection, with one of these codes.
    async fn fails(&mut self, codes: &[u16], what: &str) {
        match self.hear().await {
            Heard::Frame(CLOSE, payload) => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                assert!(codes.contains(&code), "{what}: closed with {code}");
                self.send(&frame(FIN | CLOSE, &payload[..2])).await;
                assert_eq!(self.hear().await, Heard::End, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

async fn start() -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &[]);
    (data, server)
}

/// Group 1: messages of every form of length. Their type says that who does not know it ignores it.
#[tokio::test]
async fn messages_of_every_length_arrive() {
    let (_data, server) = start().await;
    let mut raw = Raw::greeted(&server).await;
    for len in [1usize, 124, 125, 126, 127, 128, 65_535, 65_536, 200_000] {
        let mut message = leptos_sync_crdt::Writer::new();
        message.len(len + 1);
        message.u8(0xfe);
        message.raw(&vec![7; len]);
        raw.send(&frame(FIN | BINARY, message.as_slice())).await;
        raw.is_alive(len as u64).await;
    }
}

/// Group 2.
#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    let (_data, server) = start().await;
    let mut raw = Raw::greeted(&server).await;
    for payload in [&b""[..], b"hello", &[0x00, 0xff, 0xfe], &[0xfe; 125]] {
        raw.send(&frame(FIN | PING, payload)).await;
        assert_eq!(raw.hear().await, Heard::Frame(PONG, payload.to_vec()));
    }
    // Byte by byte.
    for byte in frame(FIN | PING, &[0xfe; 125]) {
        raw.send(&[byte]).await;
    }
    assert_eq!(raw.hear().await, Heard::Frame(PONG, vec![0xfe; 125]));
    // Pongs that nobody asked for are ignored.
    raw.send(&frame(FIN | PONG, b"unsolicited")).await;
    raw.is_alive(1).await;
    raw.send(&frame(FIN | PING, &[0xfe; 126])).await;
    raw.fails(&[1002], "a ping of 126 bytes").await;
}

/// Groups 3 and 4.
#[tokio::test]
async fn reserved_bits_and_opcodes_fail_the_connection() {
    let (_data, server) = start().await;
    for rsv in 1..8u8 {
        let mut raw = Raw::greeted(&server).await;
        raw.send(&frame(FIN | rsv << 4 | BINARY, &ping(1))).await;
        raw.fails(&[1002], &format!("reserved bits {rsv:03b}")).await;
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let mut raw = Raw::greeted(&server).await;
        raw.send(&frame(FIN | opcode, b"")).await;
        raw.fails(&[1002], &format!("opcode {opcode}")).await;
    }
}

/// Group 5, and 10: a message in any number of fragments, with pings between them.
#[tokio::test]
async fn fragments_are_put_together() {
    let (_data, server) = start().await;
    let mut raw = Raw::greeted(&server).await;
    let message = ping(9);
    raw.send(&frame(BINARY, &message[..1])).await;
    raw.send(&frame(FIN | PING, b"between")).await;
    assert_eq!(raw.hear().await, Heard::Frame(PONG, b"between".to_vec()));
    raw.send(&frame(CONTINUATION, b"")).await;
    raw.send(&frame(FIN | CONTINUATION, &message[1..])).await;
    raw.hears_pong_of_protocol(9).await;

    let mut long = leptos_sync_crdt::Writer::new();
    long.len(65_536);
    long.u8(0xfe);
    long.raw(&vec![7; 65_535]);
    let parts: Vec<&[u8]> = long.as_slice().chunks(1_300).collect();
    for (index, part) in parts.iter().enumerate() {
        let opcode = if index == 0 { BINARY } else { CONTINUATION };
        let fin = if index + 1 == parts.len() { FIN } else { 0 };
        raw.send(&frame(fin | opcode, part)).await;
    }
    raw.is_alive(10).await;
}

#[tokio::test]
async fn fragments_out_of_place_fail_the_connection() {
    let (_data, server) = start().await;
    let cases: [(&str, Vec<Vec<u8>>); 4] = [
        ("a ping in fragments", vec![frame(PING, b"a"), frame(FIN | CONTINUATION, b"b")]),
        ("a continuation of nothing", vec![frame(FIN | CONTINUATION, b"a")]),
        ("a continuation of nothing, to be continued", vec![frame(CONTINUATION, b"a")]),
        ("a message inside a message", vec![frame(BINARY, b"a"), frame(FIN | BINARY, b"b")]),
    ];
    for (what, frames) in cases {
        let mut raw = Raw::greeted(&server).await;
        for frame in frames {
            raw.send(&frame).await;
        }
        raw.fails(&[1002], what).await;
    }
}

/// Group 6: text is not spoken here, sound or not.
#[tokio::test]
async fn text_is_refused_by_name_and_what_is_no_utf8_fails() {
    let (_data, server) = start().await;
    let mut raw = Raw::greeted(&server).await;
    raw.send(&frame(FIN | TEXT, "κόσμε".as_bytes())).await;
    raw.fails(&[4400], "text").await;
    let noise: [&[u8]; 5] =
        [b"\xce\xba\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf", b"\xff", b"\xe2\x82"];
    for payload in noise {
        let mut raw = Raw::greeted(&server).await;
        raw.send(&frame(FIN | TEXT, payload)).await;
        raw.fails(&[1007, 4400], &format!("{payload:02x?}")).await;
    }
}

/// Group 7.
#[tokio::test]
async fn closing_is_answered_once_and_ends_the_connection() {
    let (_data, server) = start().await;
    for code in [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut raw = Raw::greeted(&server).await;
        let payload = [&code.to_be_bytes()[..], b"bye"].concat();
        raw.send(&frame(FIN | CLOSE, &payload)).await;
        // What follows a close is not looked at.
        raw.send(&frame(FIN | PING, b"late")).await;
        let Heard::Frame(CLOSE, answer) = raw.hear().await else { panic!("no answer to {code}") };
        assert_eq!(answer[..2], code.to_be_bytes(), "the same code");
        assert_eq!(raw.hear().await, Heard::End);
    }
    let mut raw = Raw::greeted(&server).await;
    raw.send(&frame(FIN | CLOSE, b"")).await;
    assert!(matches!(raw.hear().await, Heard::Frame(CLOSE, _)));
    assert_eq!(raw.hear().await, Heard::End);
}

#[tokio::test]
async fn closing_with_nonsense_fails_the_connection() {
    let (_data, server) = start().await;
    let mut cases: Vec<(String, Vec<u8>)> = [0u16, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]
        .iter()
        .map(|code| (format!("code {code}"), code.to_be_bytes().to_vec()))
        .collect();
    cases.push(("one byte".into(), vec![3]));
    cases.push(("a reason that is no text".into(), vec![3, 232, 0xce, 0xba, 0xed, 0xa0, 0x80]));
    cases.push(("126 bytes".into(), [&[3, 232][..], &[b'a'; 124]].concat()));
    for (what, payload) in cases {
        let mut raw = Raw::greeted(&server).await;
        raw.send(&frame(FIN | CLOSE, &payload)).await;
        raw.fails(&[1002, 1007], &what).await;
    }
}

#[tokio::test]
async fn what_is_not_masked_or_too_long_fails_its_own_connection_only() {
    let (_data, server) = start().await;
    let mut neighbour = Raw::greeted(&server).await;
    let mut raw = Raw::greeted(&server).await;
    let mut unmasked = vec![FIN | BINARY, ping(1).len() as u8];
    unmasked.extend(ping(1));
    raw.send(&unmasked).await;
    raw.fails(&[1002], "an unmasked frame").await;

    for claimed in [2u64 << 20, 1 << 40, u64::MAX] {
        let mut raw = Raw::greeted(&server).await;
        let mut head = vec![FIN | BINARY, 0x80 | 127];
        head.extend(claimed.to_be_bytes());
        head.extend(MASK);
        raw.send(&head).await;
        raw.fails(&[1002, 1009, 4413], &format!("a frame of {claimed} bytes")).await;
    }
    neighbour.is_alive(1).await;
}
