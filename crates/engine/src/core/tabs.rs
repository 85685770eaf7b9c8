//! What the tabs of one device say to each other.
//!
//! | tag | message | fields |
//! |---|---|---|
//! | 5 | changes | stored (0 or 1) + 2 if there is a mark, that mark (8), count, then for each: |
//! | | | document, count, blocks |
//! | 2 | want | document, version vector: what the asking tab has |
//! | 3 | presence | document, session (8), present (0 or 1), payload if present |
//! | 4 | moved | document, author (8), seq, new author (8) |

use leptos_sync_crdt::{Block, DecodeError, DocId, OpId, PeerId, Reader, VersionVector, Writer};

/// One message to all other tabs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TabMessage {
    /// New blocks of each of these documents, in an order in which they can be imported: stored in
    /// one write, or to be. What is stored bears this mark, as far as that is known.
    Changes { stored: bool, mark: Option<u64>, parts: Vec<(DocId, Vec<Block>)> },
    /// A tab opened the document and would like what is not stored yet, and who is there.
    Want { doc: DocId, have: VersionVector },
    /// Somebody is in the document; without a payload: has left.
    Presence { doc: DocId, session: u64, payload: Option<Vec<u8>> },
    /// An author's changes from there on, and what builds on them, were written again; the first
    /// is the new author's first.
    Moved { doc: DocId, from: OpId, to: PeerId },
}

impl TabMessage {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Changes { stored, mark, parts } => {
                out.u8(5);
                out.u8(u8::from(*stored) | u8::from(mark.is_some()) << 1);
                mark.iter().for_each(|mark| out.u64_le(*mark));
                out.len(parts.len());
                for (doc, blocks) in parts {
                    out.str(doc.as_str());
                    out.len(blocks.len());
                    blocks.iter().for_each(|block| out.bytes(block.bytes()));
                }
            }
            Self::Want { doc, have } => {
                out.u8(2);
                out.str(doc.as_str());
                have.encode(&mut out);
            }
            Self::Presence { doc, session, payload } => {
                out.u8(3);
                out.str(doc.as_str());
                out.u64_le(*session);
                out.u8(u8::from(payload.is_some()));
                out.raw(payload.as_deref().unwrap_or_default());
            }
            Self::Moved { doc, from, to } => {
                out.u8(4);
                out.str(doc.as_str());
                out.u64_le(from.peer.0);
                out.u32_le(from.seq);
                out.u64_le(to.0);
            }
        }
        out.into_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let message = match input.u8()? {
            5 => {
                let flags = input.u8()?;
                let mark = if flags & 2 == 0 { None } else { Some(input.u64_le()?) };
                let count = input.count(1)?;
                let parts: Result<_, _> = (0..count).map(|_| read_part(&mut input)).collect();
                Self::Changes { stored: flags & 1 != 0, mark, parts: parts? }
            }
            2 => {
                let doc = read_doc(&mut input)?;
                Self::Want { doc, have: VersionVector::decode(&mut input)? }
            }
            3 => {
                let doc = read_doc(&mut input)?;
                let session = input.u64_le()?;
                let present = input.u8()? != 0;
                let payload = input.take(input.remaining())?;
                Self::Presence { doc, session, payload: present.then(|| payload.to_vec()) }
            }
            4 => {
                let doc = read_doc(&mut input)?;
                let from = OpId::new(PeerId(input.u64_le()?), input.u32_le()?);
                Self::Moved { doc, from, to: PeerId(input.u64_le()?) }
            }
            _ => return Err(DecodeError::Invalid("tab message")),
        };
        input.finish()?;
        Ok(message)
    }
}

fn read_doc(input: &mut Reader<'_>) -> Result<DocId, DecodeError> {
    DocId::new(input.str()?).map_err(|_| DecodeError::Invalid("document id"))
}

fn read_part(input: &mut Reader<'_>) -> Result<(DocId, Vec<Block>), DecodeError> {
    let doc = read_doc(input)?;
    let count = input.count(1)?;
    let blocks: Result<_, _> = (0..count).map(|_| Block::parse(input.bytes()?)).collect();
    Ok((doc, blocks?))
}

#[cfg(test)]
mod tests {
    use leptos_sync_crdt::Doc;

    use super::*;

    #[test]
    fn messages_read_back() {
        let doc = DocId::new("board/42").expect("a valid id");
        let mut content = Doc::new(PeerId(1));
        content.transact(0, |tx| tx.counter("votes").add(1));
        let messages = [
            TabMessage::Changes {
                stored: true,
                mark: Some(u64::MAX),
                parts: vec![
                    (doc.clone(), content.blocks_since(&VersionVector::new())),
                    (DocId::new("board/43").expect("a valid id"), Vec::new()),
                ],
            },
            TabMessage::Changes { stored: true, mark: None, parts: Vec::new() },
            TabMessage::Changes { stored: false, mark: Some(7), parts: Vec::new() },
            TabMessage::Want { doc: doc.clone(), have: content.version().clone() },
            TabMessage::Presence { doc: doc.clone(), session: 3, payload: Some(b"Ada".to_vec()) },
            TabMessage::Presence { doc: doc.clone(), session: 3, payload: None },
            TabMessage::Moved { doc, from: OpId::new(PeerId(1), 2), to: PeerId(u64::MAX) },
        ];
        for message in messages {
            assert_eq!(TabMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn damaged_messages_are_refused() {
        assert!(TabMessage::decode(&[]).is_err());
        assert!(TabMessage::decode(&[9, 1, b'd']).is_err());
        assert!(TabMessage::decode(&[5, 0, 0x7f]).is_err());
        assert!(TabMessage::decode(&[5, 2, 7, 7, 7, 7]).is_err());
        assert!(TabMessage::decode(&[5, 0, 1, 1, b'd', 1, 0x7f]).is_err());
    }
}
