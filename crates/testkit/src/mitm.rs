//! What passes on a wire, and what planted bugs make of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use leptos_sync_crdt::{
    Block, BlockReader, BlockWriter, DocId, PeerId, VersionVector, pack_blocks, unpack_blocks,
};
use leptos_sync_protocol::{
    Ack, AckLevel, CaughtUp, Changes, Credit, LogMark, Message, Pack, Piece, PresenceState,
    decode_frame, encode_frame,
};
use xxhash_rust::xxh32::xxh32;

use crate::planted::{Bug, planted};

/// How far the log of each document was read by anybody.
pub(crate) type LatestMarks = Arc<Mutex<BTreeMap<DocId, LogMark>>>;

/// Sees every frame of one connection; without a planted bug it changes none.
#[derive(Debug, Default)]
pub(crate) struct Mitm {
    frames: u64,
    caught_up: bool,
    docs: BTreeMap<u32, DocId>,
    latest: LatestMarks,
    /// What went on each channel, up or down: as it came, and as it was sent on.
    channels: BTreeMap<(bool, u32), (BlockReader, BlockWriter)>,
}

impl Mitm {
    pub(crate) fn new(latest: LatestMarks) -> Self {
        Self { latest, ..Self::default() }
    }

    /// What is sent in the place of `frame`; `up` if it comes from the client.
    pub(crate) fn pass(&mut self, up: bool, frame: Bytes) -> Passed {
        let Some(bug) = planted() else { return Passed { on: vec![frame], back: Vec::new() } };
        self.frames += 1;
        let Ok(messages) = decode_frame(&frame) else {
            return Passed { on: vec![frame], back: Vec::new() };
        };
        let mut passed = Passed::default();
        for message in messages {
            if up {
                self.upward(bug, message, &mut passed);
            } else {
                self.downward(bug, message, &mut passed);
            }
        }
        passed
    }

    fn upward(&mut self, bug: Bug, message: Message, passed: &mut Passed) {
        match (bug, message) {
            (Bug::AckBeforeStore, Message::Changes(changes)) => {
                let edit = |blocks: &mut Vec<Block>| {
                    let through = versions(blocks);
                    let level = AckLevel::Durable;
                    passed.back(&Message::Ack(Ack { ch: changes.ch, level, through }));
                };
                let same = self.edited(true, &changes, edit);
                passed.on(&same);
            }
            (Bug::UploadSkipsOne, Message::Changes(changes)) => {
                passed.on(&self.edited(true, &changes, |blocks| drop(blocks.pop())));
            }
            (Bug::PieceIsLost, Message::Piece(piece)) if is_last(&piece) => {}
            (Bug::UploadStops, Message::Changes(_)) if self.frames > 6 => {}
            (Bug::HaveClaimsTooMuch, Message::Open(mut open)) => {
                let more: Vec<_> = open.have.iter().map(|(peer, n)| (peer, n + 4)).collect();
                open.have = more.into_iter().collect();
                passed.on(&Message::Open(open));
            }
            (Bug::MarkIsTooLate, Message::Open(mut open)) => {
                let latest = self.latest.lock().expect("one thread").get(&open.doc).copied();
                open.since = open.since.and(latest);
                self.docs.insert(open.ch, open.doc.clone());
                passed.on(&Message::Open(open));
            }
            (Bug::HelloFromTheFuture, Message::Hello(mut hello)) => {
                hello.version_min = 2;
                hello.version_max = 2;
                passed.on(&Message::Hello(hello));
            }
            (_, message) => passed.on(&message),
        }
    }

    fn downward(&mut self, bug: Bug, message: Message, passed: &mut Passed) {
        match (bug, message) {
            (Bug::AckTooMuch, Message::Ack(mut ack)) => {
                let more: Vec<_> = ack.through.iter().map(|(peer, n)| (peer, n + 4)).collect();
                ack.through = more.into_iter().collect();
                passed.on(&Message::Ack(ack));
            }
            (Bug::AckIsLost, Message::Ack(_))
            | (Bug::CreditIsLost, Message::Credit(Credit { .. }))
            | (Bug::CaughtUpIsLost, Message::CaughtUp(_)) => {}
            (Bug::NackIsSwallowed, Message::Nack(nack)) => {
                let through: VersionVector = [(nack.peer, nack.seq + 4)].into_iter().collect();
                let level = AckLevel::Durable;
                passed.on(&Message::Ack(Ack { ch: nack.ch, level, through }));
            }
            (Bug::FanOutSkipsOne, Message::Changes(changes)) => {
                let skip_one = |blocks: &mut Vec<Block>| {
                    if blocks.len() > 1 {
                        blocks.remove(0);
                    }
                };
                passed.on(&self.edited(false, &changes, skip_one));
            }
            (Bug::FanOutStops, Message::Changes(_)) if self.caught_up => {}
            (Bug::OpenedClaimsTooMuch, Message::Opened(mut opened)) => {
                if let Some(mark) = opened.mark {
                    opened.have.extend(mark.peer, mark.seq + 4);
                } else {
                    opened.have.extend(PeerId(1), 1);
                    let known: Vec<_> = opened.have.iter().map(|(p, n)| (p, n + 4)).collect();
                    opened.have = known.into_iter().collect();
                }
                passed.on(&Message::Opened(opened));
            }
            (Bug::PresenceOfTheDead, Message::PresenceState(mut state)) => {
                keep_the_dead(&mut state);
                passed.on(&Message::PresenceState(state));
            }
            (Bug::WindowIsIgnored, Message::Welcome(mut welcome)) => {
                welcome.limits.window_bytes = u32::MAX;
                passed.on(&Message::Welcome(welcome));
            }
            (Bug::PresenceIsLost, Message::PresenceState(_)) => {}
            (Bug::BlocksAreCut, Message::Changes(changes)) => {
                let cut = |blocks: &mut Vec<Block>| blocks.truncate(blocks.len().div_ceil(2));
                passed.on(&self.edited(false, &changes, cut));
            }
            (Bug::PackIsCut, Message::Pack(pack)) => {
                let mut blocks = unpack_blocks(&pack.update).expect("the server's own pack");
                blocks.pop();
                let update = pack_blocks(&blocks).expect("what is left of it").into();
                passed.on(&Message::Pack(Pack { ch: pack.ch, update }));
            }
            (Bug::PackIsLost, Message::Pack(_)) => {}
            (Bug::MarksArriveUnderAnotherKey, Message::Changes(changes)) => {
                let rename = |blocks: &mut Vec<Block>| blocks.iter_mut().for_each(rename_mark);
                passed.on(&self.edited(false, &changes, rename));
            }
            (_, message) => {
                if let Message::CaughtUp(CaughtUp { ch, at }) = message {
                    self.note_mark(ch, at);
                }
                self.caught_up |= matches!(message, Message::CaughtUp(_));
                passed.on(&message);
            }
        }
    }
}

impl Mitm {
    /// Remembers how far anybody has read the document.
    fn note_mark(&self, ch: u32, at: LogMark) {
        let Some(doc) = self.docs.get(&ch) else { return };
        let mut latest = self.latest.lock().expect("one thread");
        let latest = latest.entry(doc.clone()).or_insert(at);
        if latest.position < at.position {
            *latest = at;
        }
    }

    /// The message with other blocks. One whose blocks cannot be read passes as it is.
    fn edited(
        &mut self,
        up: bool,
        changes: &Changes,
        edit: impl FnOnce(&mut Vec<Block>),
    ) -> Message {
        let (reader, writer) = self.channels.entry((up, changes.ch)).or_default();
        let Ok(mut blocks) = changes.read(reader) else { return Message::Changes(changes.clone()) };
        edit(&mut blocks);
        Message::Changes(Changes::write(writer, changes.ch, &blocks))
    }
}

/// What a frame has become.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Goes on in its direction.
    pub(crate) on: Vec<Bytes>,
    /// Goes back to its sender, as from the other end.
    pub(crate) back: Vec<Bytes>,
}

impl Passed {
    fn on(&mut self, message: &Message) {
        self.on.push(encode_frame(message));
    }

    fn back(&mut self, message: &Message) {
        self.back.push(encode_frame(message));
    }
}

fn is_last(piece: &Piece) -> bool {
    piece.offset as usize + piece.data.len() == piece.total as usize
}

fn versions(blocks: &[Block]) -> VersionVector {
    blocks.iter().map(|block| (block.peer(), block.end())).collect()
}

/// Marks under another key in a block, if it marks something bold.
fn rename_mark(block: &mut Block) {
    let mut bytes = block.bytes().to_vec();
    let Some(at) = bytes.windows(4).position(|window| window == b"bold") else { return };
    bytes[at + 1] = b'a';
    // The last four bytes are a checksum of the others.
    bytes.truncate(bytes.len() - 4);
    let checksum = xxh32(&bytes, 0);
    bytes.extend(checksum.to_le_bytes());
    *block = Block::parse(bytes).expect("a block with another name in it");
}

fn keep_the_dead(state: &mut PresenceState) {
    state.entries.retain(|entry| entry.payload.is_some());
    state.full = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bug_a_frame_passes_as_it_is() {
        let frame = Bytes::from_static(b"any bytes");
        assert_eq!(planted(), None);
        let passed = Mitm::default().pass(true, frame.clone());
        assert_eq!(passed.on, [frame]);
        assert!(passed.back.is_empty());
    }
}
