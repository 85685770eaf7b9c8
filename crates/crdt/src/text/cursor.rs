//! Cursors: positions that stay with their neighbours while others edit.

use super::Text;
use crate::codec::{DecodeError, Input, Writer};
use crate::graph::Lv;
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
        let mut input = Input::new(bytes);
        let flags = input.u8();
        input.ensure(flags <= 3, "cursor");
        let side = if flags & 1 == 0 { Side::Before } else { Side::After };
        let anchor = (flags & 2 != 0).then(|| OpId::decode(&mut input));
        input.finish().map(|()| Self { anchor, side })
    }
}

/// A stretch of text and who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorship {
    /// Where it starts, in Unicode scalars.
    pub pos: usize,
    /// How many Unicode scalars it has.
    pub len: usize,
    /// Who typed the first of them; the others have the seqs that follow.
    pub id: OpId,
    /// When the first was typed.
    pub stamp: crate::stamp::Stamp,
}

impl Text<'_> {
    /// A cursor at `pos` (past the end counts as the end) that stays with its neighbour on `side`.
    #[must_use]
    pub fn cursor(&self, pos: usize, side: Side) -> Cursor {
        let wanted = match side {
            Side::Before => pos.min(self.len()).checked_sub(1),
            Side::After => Some(pos).filter(|pos| *pos < self.len()),
        };
        let anchor = wanted.and_then(|char| {
            let (index, _, state) = self.content?;
            let history = self.doc.history();
            let whole = state.whole(&history.graph, history.runs(index));
            Some(history.graph.id_of(whole.id_at(char as u32)?))
        });
        Cursor { anchor, side }
    }

    /// Where a cursor stands now. If its neighbour was deleted, it is where that one was; a
    /// neighbour that this replica does not know yet counts as the text's edge. So does one that
    /// was trimmed away, unless something stays that was typed in one go with it.
    #[must_use]
    pub fn resolve(&self, cursor: &Cursor) -> usize {
        let edge = if cursor.side == Side::Before { 0 } else { self.len() };
        let (Some(anchor), Some((index, _, state))) = (cursor.anchor, self.content) else {
            return edge;
        };
        let history = self.doc.history();
        let Some(id) = history.graph.lv_of(anchor) else { return edge };
        let whole = state.whole(&history.graph, history.runs(index));
        if whole.tracks(id) {
            let (pos, is_shown) = whole.position_of(id);
            return pos as usize + usize::from(is_shown && cursor.side == Side::Before);
        }
        // Its character went with the history: what was typed in one go with it is near.
        let stretch = history.graph.stretch_of(id);
        let near = history.runs(index).ground().neighbours(id, stretch);
        let end_of = |id: Lv| {
            let (pos, is_shown) = whole.position_of(id);
            pos as usize + usize::from(is_shown)
        };
        let start_of = |id: Lv| whole.position_of(id).0 as usize;
        near[0].map(end_of).or(near[1].map(start_of)).unwrap_or(edge)
    }

    /// Who typed what is shown, and when (blame): stretches in order that make up the text.
    ///
    /// ```
    /// use leptos_sync_crdt::{Doc, PeerId};
    /// let (mut ada, mut ben) = (Doc::new(PeerId(1)), Doc::new(PeerId(2)));
    /// ada.transact(0, |tx| tx.text("note").insert(0, "milk, bread")).0?;
    /// ben.import(0, ada.blocks_since(ben.version()))?;
    /// ben.transact(60_000, |tx| tx.text("note").insert(5, " eggs,")).0?;
    /// let note = ben.text("note");
    /// let told = note.authors().into_iter().map(|by| {
    ///     (note.slice(by.pos, by.pos + by.len), by.id.peer, by.stamp.wall_ms())
    /// });
    /// let told: Vec<_> = told.collect();
    /// assert_eq!(told, [
    ///     ("milk,".into(), PeerId(1), 0),
    ///     (" eggs,".into(), PeerId(2), 60_000),
    ///     (" bread".into(), PeerId(1), 0),
    /// ]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn authors(&self) -> Vec<Authorship> {
        let Some((index, _, state)) = self.content else { return Vec::new() };
        let history = self.doc.history();
        let whole = state.whole(&history.graph, history.runs(index));
        let (mut authors, mut pos) = (Vec::<Authorship>::new(), 0);
        for (mut lv, mut len) in whole.shown_items() {
            while len > 0 {
                let stretch = history.graph.stretch_at(lv);
                let here = len.min(stretch.end - lv);
                let id = OpId::new(history.graph.peer(stretch.peer), stretch.seq);
                match authors.last_mut() {
                    Some(last) if last.id.plus(last.len as u32) == id => last.len += here as usize,
                    _ => authors.push(Authorship {
                        pos,
                        len: here as usize,
                        id,
                        stamp: stretch.stamp,
                    }),
                }
                pos += here as usize;
                (lv, len) = (lv + here, len - here);
            }
        }
        authors
    }
}
