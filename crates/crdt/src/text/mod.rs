//! Collaborative text: a sequence whose concurrent insertions never interleave.
//!
//! Operations carry positions in the text as their author saw it. To apply one, the positions are
//! counted over the items that the author's version shows, and the insertion is then placed among
//! the ones the author had not seen: the tracker of Gentle and Kleppmann, "Collaborative Text
//! Editing with Eg-walker" (EuroSys 2025), kept for the whole text instead of rebuilt. The order
//! among concurrent insertions is FugueMax of Weidner and Kleppmann, "The Art of the Fugue"
//! (IEEE TPDS 2025), the lower peer id first.
//!
//! Merge rule in one sentence: an insertion stays next to the characters it was typed between, a
//! character that anyone deleted is gone, and whole runs of concurrent typing stand side by side.

mod cursor;
mod item;
mod items;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::codec::{DecodeError, Reader, Writer};
use crate::graph::View;
use crate::id::{OpId, PeerId};
use crate::patch::TextDelta;

pub use cursor::{Cursor, Side};
use item::{Content, Item, byte_at, items_of};
use items::{At, Items};

/// Why a text edit was refused. The text is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The edit reaches past the end of the text.
    #[error("position {end} is past the end of a text of {len} characters")]
    OutOfRange {
        /// The position that the edit reaches, in Unicode scalars.
        end: usize,
        /// The text's length, in Unicode scalars.
        len: usize,
    },
    /// The edit inserts more than [`crate::INSERT_BYTES_MAX`] at once.
    #[error("one edit may insert at most 4 MiB")]
    TooLarge,
}

/// A text that many edit at once. Positions count Unicode scalars unless a name says UTF-16.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    items: Items,
    len: u32,
    utf16_len: u32,
}

/// A run of characters that a deletion hid, with what an undo needs to bring them back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hidden {
    pub(crate) id: OpId,
    pub(crate) content: String,
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.visible().try_for_each(|item| f.write_str(item.content.as_str()))
    }
}

impl Text {
    pub(crate) const fn new() -> Self {
        Self { items: Items::new(), len: 0, utf16_len: 0 }
    }

    /// The number of Unicode scalars.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no character is shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of UTF-16 code units: the length as JavaScript counts it.
    #[must_use]
    pub fn len_utf16(&self) -> usize {
        self.utf16_len as usize
    }

    /// The characters from `start` to `end` (exclusive); positions past the end are cut off.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> String {
        let mut out = String::new();
        let clamp = |pos: usize| pos.min(self.len()) as u32;
        let (start, end) = (clamp(start), clamp(end));
        let Some((at, mut before)) = self.items.at_scalar(start) else { return out };
        for (_, item) in self.items.iter_from(at) {
            if before >= end {
                break;
            }
            if item.is_visible() {
                let text = item.content.as_str();
                let head = byte_at(text, start.saturating_sub(before));
                let tail = byte_at(text, end - before);
                out.push_str(&text[head..tail]);
                before += item.len;
            }
        }
        out
    }

    /// The position of a UTF-16 offset. An offset inside a surrogate pair counts as before it, one
    /// past the end as the end.
    #[must_use]
    pub fn utf16_to_scalar(&self, utf16: usize) -> usize {
        let unit = utf16.min(self.len_utf16()) as u32;
        let Some((at, before)) = self.items.at_utf16(unit) else { return self.len() };
        let mut units = unit - before;
        let mut scalars = self.items.shown_before(at) as usize;
        let text = self.items.get(at).map_or("", |item| item.content.as_str());
        for c in text.chars() {
            if units < c.len_utf16() as u32 {
                break;
            }
            units -= c.len_utf16() as u32;
            scalars += 1;
        }
        scalars
    }

    /// The UTF-16 offset of a position; a position past the end counts as the end.
    #[must_use]
    pub fn scalar_to_utf16(&self, scalar: usize) -> usize {
        let pos = scalar.min(self.len()) as u32;
        let Some((at, before)) = self.items.at_scalar(pos) else { return self.len_utf16() };
        let text = self.items.get(at).map_or("", |item| item.content.as_str());
        let head = &text[..byte_at(text, pos - before)];
        self.items.utf16_before(at) as usize + head.encode_utf16().count()
    }

    fn visible(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.is_visible())
    }

    /// Inserts `content` at `pos` of the text in `view`; returns the edit of the present text.
    /// A position past that version's end changes nothing, on every replica alike.
    pub(crate) fn insert(
        &mut self,
        id: OpId,
        pos: u32,
        content: &Arc<str>,
        view: &View,
    ) -> Option<Vec<TextDelta>> {
        self.items.split_at_cuts(view);
        let at = self.items.after(pos, view)?;
        let origin_left = self.items.before(at).map(Item::last_id);
        let seen = self.items.iter_from(at).find(|(_, item)| view.sees(item.id));
        let right = seen.map(|(_, item)| item.id);
        let at = self.place(at, id, origin_left, right, view);
        let shown_before = self.items.shown_before(at);

        let new = items_of(id, content, origin_left, right);
        self.len += new.iter().map(|item| item.len).sum::<u32>();
        self.utf16_len += new.iter().map(|item| item.content.utf16_len()).sum::<u32>();
        self.items.insert(at, new);
        self.items.balance();
        Some(vec![TextDelta::Retain(shown_before), TextDelta::Insert(content.clone())])
    }

    /// Deletes `len` characters from `pos` of the text in `view`; returns the edit of the present
    /// text and what it hid. A range past that version's end changes nothing.
    pub(crate) fn delete(
        &mut self,
        id: OpId,
        pos: u32,
        len: u32,
        view: &View,
    ) -> Option<(Vec<TextDelta>, Vec<Hidden>)> {
        let end = pos.checked_add(len)?;
        self.items.split_at_cuts(view);
        // Checked before anything is marked: an edit happens whole or not at all.
        self.items.after(end, view)?;
        let start = self.items.after(pos, view)?;
        let mut at = self.items.normal(start);
        let mut shown = self.items.shown_before(at);
        let (mut delta, mut hidden, mut retained, mut done) = (Vec::new(), Vec::new(), 0, 0);
        while done < len {
            let item = self.items.get(at).expect("the range was checked");
            if !item.is_visible_in(view) {
                shown += item.visible_len();
                at = self.items.next(at);
                continue;
            }
            self.items.split(at, len - done);
            self.items.update(at, |item| {
                if item.is_visible() {
                    self.len -= item.len;
                    self.utf16_len -= item.content.utf16_len();
                    let content = std::mem::take(&mut item.content).into_string();
                    hidden.push(Hidden { id: item.id, content });
                    if shown > retained {
                        delta.push(TextDelta::Retain(shown - retained));
                        retained = shown;
                    }
                    delta.push(TextDelta::Delete(item.len));
                }
                item.deleted_by.push(id.plus(done));
                done += item.len;
            });
            at = self.items.next(at);
        }
        self.items.balance();
        Some((delta, hidden))
    }

    /// Where an insertion goes among the unseen items from `at` on (FugueMax).
    fn place(
        &self,
        at: At,
        id: OpId,
        origin_left: Option<OpId>,
        origin_right: Option<OpId>,
        view: &View,
    ) -> At {
        if self.items.get(at).is_none_or(|item| view.sees(item.id)) {
            return at;
        }
        // A character's place; `None`, the start, is before all others.
        let left_of = |id: Option<OpId>| id.and_then(|id| self.items.find(id));
        let right_of = |id: Option<OpId>| id.and_then(|id| self.items.find(id)).ok_or(());
        let (left, right) = (left_of(origin_left), right_of(origin_right));
        let (mut dest, mut scanning) = (at, false);
        for (here, other) in self.items.iter_from(at) {
            if view.sees(other.id) {
                break;
            }
            let other_left = left_of(other.origin_left);
            if other_left < left {
                break;
            }
            if other_left == left {
                // `Ok` places come before `Err`, the end.
                let other_right = right_of(other.origin_right);
                if other_right == right && id.peer < other.id.peer {
                    break;
                }
                scanning = other_right < right;
            }
            if !scanning {
                dest = self.items.next(here);
            }
        }
        dest
    }

    /// The characters of a run of ids that are shown now, as `(position, length)` from the right,
    /// so that deleting them one after the other keeps the positions true.
    pub(crate) fn shown_ranges(&self, id: OpId, len: u32) -> Vec<(u32, u32)> {
        let (mut ranges, mut before) = (Vec::new(), 0);
        for item in self.items.iter() {
            let end = (item.id.seq + item.len).min(id.seq + len);
            let start = item.id.seq.max(id.seq);
            if item.id.peer == id.peer && start < end && item.is_visible() {
                ranges.push((before + start - item.id.seq, end - start));
            }
            before += item.visible_len();
        }
        ranges.reverse();
        ranges
    }

    /// The parts of a hidden run that nobody but `peers` deleted.
    pub(crate) fn hidden_only_by(&self, run: &Hidden, peers: &BTreeSet<PeerId>) -> Vec<Hidden> {
        let run_end = run.id.seq + run.content.chars().count() as u32;
        let mut parts = Vec::new();
        for item in self.items.iter() {
            let start = item.id.seq.max(run.id.seq);
            let end = (item.id.seq + item.len).min(run_end);
            let ours = item.deleted_by.iter().all(|delete| peers.contains(&delete.peer));
            if item.id.peer == run.id.peer && start < end && ours {
                let from = byte_at(&run.content, start - run.id.seq);
                let to = byte_at(&run.content, end - run.id.seq);
                let id = OpId::new(run.id.peer, start);
                parts.push(Hidden { id, content: run.content[from..to].to_owned() });
            }
        }
        parts
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.items.iter().count());
        for item in self.items.iter() {
            item.id.encode(out);
            out.varint(u64::from(item.len));
            for origin in [item.origin_left, item.origin_right] {
                out.u8(u8::from(origin.is_some()));
                if let Some(origin) = origin {
                    origin.encode(out);
                }
            }
            out.len(item.deleted_by.len());
            for delete in &item.deleted_by {
                delete.encode(out);
            }
            out.str(item.content.as_str());
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut text, mut items) = (Self::default(), Vec::new());
        for _ in 0..input.count(14)? {
            let item = decode_item(input)?;
            text.len = text
                .len
                .checked_add(item.visible_len())
                .ok_or(DecodeError::Invalid("text length"))?;
            text.utf16_len = text.utf16_len.saturating_add(item.visible_utf16_len());
            items.push(item);
        }
        text.items = Items::from_items(items);
        Ok(text)
    }
}

fn decode_item(input: &mut Reader<'_>) -> Result<Item, DecodeError> {
    let id = OpId::decode(input)?;
    let len = input.varint_u32()?;
    if len == 0 || id.seq.checked_add(len).is_none() {
        return Err(DecodeError::Invalid("text item length"));
    }
    let origin_left = decode_origin(input)?;
    let origin_right = decode_origin(input)?;
    let mut deleted_by = Vec::new();
    for _ in 0..input.count(9)? {
        let delete = OpId::decode(input)?;
        if delete.seq.checked_add(len).is_none() {
            return Err(DecodeError::Invalid("text deletion"));
        }
        deleted_by.push(delete);
    }
    let content = Content::new(input.str()?.to_owned());
    let shown = if deleted_by.is_empty() { len as usize } else { 0 };
    if content.as_str().chars().count() != shown {
        return Err(DecodeError::Invalid("text item content"));
    }
    Ok(Item { id, len, origin_left, origin_right, deleted_by, content })
}

fn decode_origin(input: &mut Reader<'_>) -> Result<Option<OpId>, DecodeError> {
    Ok(if input.u8()? == 0 { None } else { Some(OpId::decode(input)?) })
}
