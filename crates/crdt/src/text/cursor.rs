//! Cursors: positions that stay with their neighbours while others edit.

use super::Text;
use super::item::Item;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::OpId;

/// Which neighbour a cursor stays with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The character before it: text inserted at the cursor goes after it.
    Before,
    /// The character after it: text inserted at the cursor goes before it.
    After,
}

/// A position anchored to a character, good across edits and across replicas.
///
/// ```
/// use leptos_sync_crdt::{Doc, PeerId, Side};
/// let mut doc = Doc::new(PeerId(1));
/// doc.transact(0, |tx| tx.text("t").insert(0, "brave world")).0?;
/// let cursor = doc.text("t").cursor(5, Side::Before);
/// doc.transact(0, |tx| tx.text("t").insert(0, "hello ")).0?;
/// assert_eq!(doc.text("t").resolve(&cursor), 11);
/// # Ok::<(), leptos_sync_crdt::TextError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The neighbour; none at the text's edge on that side.
    anchor: Option<OpId>,
    side: Side,
}

impl Cursor {
    /// The cursor as bytes, at most 15 of them, for a presence message or a stored bookmark.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(u8::from(self.side == Side::After) | (u8::from(self.anchor.is_some()) << 1));
        if let Some(anchor) = self.anchor {
            anchor.encode(&mut out);
        }
        out.into_vec()
    }

    /// Reads what [`Cursor::to_bytes`] wrote.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are not one cursor.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let flags = input.u8()?;
        if flags > 3 {
            return Err(DecodeError::Invalid("cursor"));
        }
        let side = if flags & 1 == 0 { Side::Before } else { Side::After };
        let anchor = if flags & 2 == 0 { None } else { Some(OpId::decode(&mut input)?) };
        input.finish()?;
        Ok(Self { anchor, side })
    }
}

impl Text {
    /// A cursor at `pos` (past the end counts as the end) that stays with its neighbour on `side`.
    #[must_use]
    pub fn cursor(&self, pos: usize, side: Side) -> Cursor {
        let wanted = match side {
            Side::Before => pos.min(self.len()).checked_sub(1),
            Side::After => Some(pos),
        };
        Cursor { anchor: wanted.and_then(|char| self.id_at(char)), side }
    }

    /// Where a cursor stands now. If its neighbour was deleted, it is where that one was; a
    /// neighbour that this replica does not know yet counts as the text's edge.
    #[must_use]
    pub fn resolve(&self, cursor: &Cursor) -> usize {
        let edge = if cursor.side == Side::Before { 0 } else { self.len() };
        let Some(anchor) = cursor.anchor else { return edge };
        let Some((at, offset)) = self.items.find(anchor) else { return edge };
        let inside = offset + u32::from(cursor.side == Side::Before);
        let shown = self.items.get(at).is_some_and(Item::is_visible);
        (self.items.shown_before(at) + if shown { inside } else { 0 }) as usize
    }

    fn id_at(&self, pos: usize) -> Option<OpId> {
        let pos = u32::try_from(pos).ok()?;
        let (at, before) = self.items.at_scalar(pos)?;
        self.items.get(at).map(|item| item.id.plus(pos - before))
    }

    /// Where a deleted character comes back: right of its nearest left neighbour that is shown,
    /// be it under its own id or under one that `later_lives` gives for a deleted run. Characters
    /// that are themselves such later lives (`is_later_life`) stand where they were put, which
    /// says nothing about their neighbours; they are passed over.
    pub(crate) fn return_position(
        &self,
        id: OpId,
        later_lives: impl Fn(OpId, u32) -> Vec<(OpId, u32)>,
        is_later_life: impl Fn(OpId) -> bool,
    ) -> usize {
        let Some((at, offset)) = self.items.find(id) else { return self.len() };
        let mut end = self.items.shown_before(at);
        let first = OpId::new(id.peer, id.seq - offset);
        let own = (offset > 0).then_some((first, offset, false));
        let left = self.items.iter_back_from(at);
        let left = left.map(|item| (item.id, item.len, item.is_visible()));
        for (id, len, is_visible) in own.into_iter().chain(left) {
            if !is_later_life(id) {
                if is_visible {
                    return end as usize;
                }
                let lives = later_lives(id, len).into_iter();
                let shown = lives.flat_map(|(id, len)| self.shown_ranges(id, len));
                if let Some(after) = shown.map(|(pos, len)| pos + len).max() {
                    return after as usize;
                }
            }
            end -= if is_visible { len } else { 0 };
        }
        0
    }
}
