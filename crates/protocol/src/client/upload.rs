//! Blocks on their way to the server: documents take turns, and the server's window is kept.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use leptos_sync_crdt::{Block, DocId};

use crate::limits::FRAME_BLOCK_BYTES;
use crate::message::{Changes, Message};
use crate::pieces::{framed_len, needs_pieces, piece_at};

#[derive(Debug)]
pub(super) struct Uploads {
    queues: BTreeMap<DocId, VecDeque<Block>>,
    queued_bytes: usize,
    /// Bytes of block data sent and not credited yet.
    under_way: usize,
    /// The document that was served last.
    last: Option<DocId>,
    /// The block that is under way in pieces, and where the next one starts.
    pieces: Option<(DocId, Block, usize)>,
}

impl Uploads {
    pub(super) fn new() -> Self {
        Self { queues: BTreeMap::new(), queued_bytes: 0, under_way: 0, last: None, pieces: None }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn push(&mut self, doc: &DocId, block: Block) {
        self.queued_bytes += block.bytes().len();
        self.queues.entry(doc.clone()).or_default().push_back(block);
    }

    pub(super) fn forget(&mut self, doc: &DocId) {
        let dropped = self.queues.remove(doc).unwrap_or_default();
        self.queued_bytes -= dropped.iter().map(|block| block.bytes().len()).sum::<usize>();
        if let Some((_, block, offset)) = self.pieces.take_if(|(of, ..)| of == doc) {
            self.queued_bytes -= block.bytes().len() - offset;
        }
    }

    /// Takes out the blocks above `bytes_max`.
    pub(super) fn take_above(&mut self, bytes_max: usize) -> Vec<(DocId, Block)> {
        let mut taken = Vec::new();
        for (doc, queue) in &mut self.queues {
            queue.retain(|block| {
                let fits = block.bytes().len() <= bytes_max;
                if !fits {
                    taken.push((doc.clone(), block.clone()));
                }
                fits
            });
        }
        self.queued_bytes -= taken.iter().map(|(_, block)| block.bytes().len()).sum::<usize>();
        self.queues.retain(|_, queue| !queue.is_empty());
        taken
    }

    pub(super) fn credit(&mut self, bytes: usize) {
        self.under_way = self.under_way.saturating_sub(bytes);
    }

    /// The next message to send, if the window has room.
    pub(super) fn next(
        &mut self,
        window: usize,
        open_ch: impl Fn(&DocId) -> Option<u32>,
    ) -> Option<Message> {
        if self.under_way >= window {
            return None;
        }
        let message = self.next_piece(&open_ch).or_else(|| self.next_changes(&open_ch));
        if let Some(message) = &message {
            let bytes = match message {
                Message::Piece(piece) => piece.data.len(),
                Message::Changes(changes) => changes.blocks.iter().map(Bytes::len).sum(),
                _ => 0,
            };
            self.queued_bytes -= bytes;
            self.under_way += bytes;
        }
        message
    }

    fn next_piece(&mut self, open_ch: &impl Fn(&DocId) -> Option<u32>) -> Option<Message> {
        let (doc, block, offset) = self.pieces.as_mut()?;
        let piece = piece_at(open_ch(doc)?, block, *offset);
        *offset += piece.data.len();
        if *offset == block.bytes().len() {
            self.pieces = None;
        }
        Some(Message::Piece(piece))
    }

    fn next_changes(&mut self, open_ch: &impl Fn(&DocId) -> Option<u32>) -> Option<Message> {
        let ready =
            |(doc, queue): &(&DocId, &VecDeque<Block>)| !queue.is_empty() && open_ch(doc).is_some();
        let after_last = self.last.as_ref().and_then(|last| {
            use std::ops::Bound::{Excluded, Unbounded};
            self.queues.range((Excluded(last), Unbounded)).find(ready)
        });
        let doc = after_last.or_else(|| self.queues.iter().find(ready))?.0.clone();
        let ch = open_ch(&doc)?;
        let queue = self.queues.get_mut(&doc)?;
        let large = queue.front().is_some_and(needs_pieces);
        if large && self.under_way > 0 {
            // The receiver holds a large block whole, so it gets one only when it holds nothing
            // else. The others wait too, or a busy document could keep it out for ever.
            return None;
        }
        let message = if large {
            let block = queue.pop_front()?;
            self.pieces = Some((doc.clone(), block, 0));
            None
        } else {
            Some(Message::Changes(Changes { ch, blocks: take_batch(queue) }))
        };
        if queue.is_empty() {
            self.queues.remove(&doc);
        }
        self.last = Some(doc);
        message.or_else(|| self.next_piece(open_ch))
    }
}

/// Small blocks from the front of the queue, as many as one usual frame holds.
fn take_batch(queue: &mut VecDeque<Block>) -> Vec<Bytes> {
    let mut batch = Vec::new();
    let mut room = FRAME_BLOCK_BYTES + 3;
    while let Some(block) =
        queue.pop_front_if(|block| !needs_pieces(block) && framed_len(block) <= room)
    {
        room -= framed_len(&block);
        batch.push(Bytes::from_owner(block.shared_bytes()));
    }
    batch
}
