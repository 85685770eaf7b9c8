//! Blocks on their way to the server: documents take turns, and the server's window is kept.

use std::collections::VecDeque;

use leptos_sync_crdt::{Block, DocId};
use litemap::LiteMap;

use crate::message::Piece;
use crate::pieces::{count_for_frame, needs_pieces, piece_at};

/// What is to be sent next.
#[derive(Debug)]
pub(super) enum Upload {
    Piece(Piece),
    /// Blocks for one message.
    Blocks(DocId, Vec<Block>),
}

#[derive(Debug)]
pub(super) struct Uploads {
    /// None of them is empty.
    queues: LiteMap<DocId, VecDeque<Block>>,
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
        Self { queues: LiteMap::new(), queued_bytes: 0, under_way: 0, last: None, pieces: None }
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

    /// What to send next, if the window has room.
    pub(super) fn next(
        &mut self,
        window: usize,
        open_ch: impl Fn(&DocId) -> Option<u32>,
    ) -> Option<Upload> {
        if self.under_way >= window {
            return None;
        }
        let upload = self.next_piece(&open_ch).or_else(|| self.next_blocks(&open_ch))?;
        let bytes = match &upload {
            Upload::Piece(piece) => piece.data.len(),
            Upload::Blocks(_, blocks) => blocks.iter().map(|block| block.bytes().len()).sum(),
        };
        self.queued_bytes -= bytes;
        self.under_way += bytes;
        Some(upload)
    }

    fn next_piece(&mut self, open_ch: &impl Fn(&DocId) -> Option<u32>) -> Option<Upload> {
        let (doc, block, offset) = self.pieces.as_mut()?;
        let piece = piece_at(open_ch(doc)?, block, *offset);
        *offset += piece.data.len();
        if *offset == block.bytes().len() {
            self.pieces = None;
        }
        Some(Upload::Piece(piece))
    }

    fn next_blocks(&mut self, open_ch: &impl Fn(&DocId) -> Option<u32>) -> Option<Upload> {
        let ready = |(doc, _): &(&DocId, &VecDeque<Block>)| open_ch(doc).is_some();
        let after_last = self
            .last
            .as_ref()
            .and_then(|last| self.queues.iter().skip_while(|(doc, _)| *doc <= last).find(ready));
        let doc = after_last.or_else(|| self.queues.iter().find(ready))?.0.clone();
        let queue = self.queues.get_mut(&doc)?;
        let large = queue.front().is_some_and(needs_pieces);
        if large && self.under_way > 0 {
            // The receiver holds a large block whole, so it gets one only when it holds nothing
            // else. The others wait too, or a busy document could keep it out for ever.
            return None;
        }
        let upload = if large {
            let block = queue.pop_front()?;
            self.pieces = Some((doc.clone(), block, 0));
            None
        } else {
            let count = count_for_frame(queue.iter());
            Some(Upload::Blocks(doc.clone(), queue.drain(..count).collect()))
        };
        if queue.is_empty() {
            self.queues.remove(&doc);
        }
        self.last = Some(doc);
        upload.or_else(|| self.next_piece(open_ch))
    }
}
