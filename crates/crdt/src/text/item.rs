//! Items: runs of characters that were inserted together, with what integrating others needs.

use std::sync::Arc;

use crate::graph::View;
use crate::id::OpId;

/// Longer insertions are cut into items of this many scalars, so that looking inside one is cheap.
/// Small in tests, so that short histories have cut ones.
pub(crate) const ITEM_LEN_MAX: u32 = if cfg!(test) { 3 } else { 1_024 };

/// A run of characters with consecutive ids, each inserted right of the one before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The id of the first character.
    pub(crate) id: OpId,
    /// How many scalars; at least 1.
    pub(crate) len: u32,
    /// The character left of the first one when it was inserted; `None`: the text's start.
    pub(crate) origin_left: Option<OpId>,
    /// The character right of the run when it was inserted, deleted ones included; `None`: the end.
    pub(crate) origin_right: Option<OpId>,
    /// Deletions of the run: character `i` was deleted by each of these plus `i`.
    pub(crate) deleted_by: Vec<OpId>,
    /// The characters; empty once deleted.
    pub(crate) content: Content,
}

/// Text that knows its length in UTF-16 code units.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Content {
    text: String,
    utf16_len: u32,
}

impl Content {
    pub(crate) fn new(text: String) -> Self {
        let utf16_len = text.encode_utf16().count() as u32;
        Self { text, utf16_len }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }

    pub(crate) fn utf16_len(&self) -> u32 {
        self.utf16_len
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
        self.utf16_len += text.encode_utf16().count() as u32;
    }

    fn split_off(&mut self, scalars: u32) -> Self {
        let tail = Self::new(self.text.split_off(byte_at(&self.text, scalars)));
        self.utf16_len -= tail.utf16_len;
        tail
    }
}

/// The byte offset of the scalar with this index, or the text's length.
pub(crate) fn byte_at(text: &str, scalars: u32) -> usize {
    text.char_indices().nth(scalars as usize).map_or(text.len(), |(byte, _)| byte)
}

impl Item {
    pub(crate) fn is_visible(&self) -> bool {
        self.deleted_by.is_empty()
    }

    /// The number of characters shown now.
    pub(crate) fn visible_len(&self) -> u32 {
        if self.is_visible() { self.len } else { 0 }
    }

    pub(crate) fn visible_utf16_len(&self) -> u32 {
        if self.is_visible() { self.content.utf16_len() } else { 0 }
    }

    /// Whether the characters are shown in a version. The item must not straddle its boundary.
    pub(crate) fn is_visible_in(&self, view: &View) -> bool {
        view.sees(self.id) && !self.deleted_by.iter().any(|delete| view.sees(*delete))
    }

    pub(crate) fn last_id(&self) -> OpId {
        self.id.plus(self.len - 1)
    }

    /// Where in the item this character is, if it is in the item.
    pub(crate) fn offset_of(&self, id: OpId) -> Option<u32> {
        let inside =
            id.peer == self.id.peer && id.seq >= self.id.seq && id.seq - self.id.seq < self.len;
        inside.then(|| id.seq - self.id.seq)
    }

    /// Keeps the first `at` characters and returns the rest.
    pub(crate) fn split_off(&mut self, at: u32) -> Self {
        let tail = Self {
            id: self.id.plus(at),
            len: self.len - at,
            origin_left: Some(self.id.plus(at - 1)),
            origin_right: self.origin_right,
            deleted_by: self.deleted_by.iter().map(|delete| delete.plus(at)).collect(),
            content: if self.is_visible() {
                self.content.split_off(at)
            } else {
                Content::default()
            },
        };
        self.len = at;
        tail
    }

    /// Where the item straddles the boundary of a version, if it does.
    pub(crate) fn cut_by(&self, view: &View) -> Option<u32> {
        let starts = std::iter::once(&self.id).chain(&self.deleted_by);
        starts.filter_map(|start| view.cut_inside(*start, self.len)).min()
    }

    /// Whether `next`, standing right of this item, is its continuation.
    pub(crate) fn is_continued_by(&self, next: &Self) -> bool {
        self.is_visible()
            && next.is_visible()
            && self.len + next.len <= ITEM_LEN_MAX
            && self.id.plus(self.len) == next.id
            && next.origin_left == Some(self.last_id())
            && next.origin_right == self.origin_right
    }
}

/// Cuts an insertion into items of at most [`ITEM_LEN_MAX`] characters.
pub(crate) fn items_of(
    id: OpId,
    content: &Arc<str>,
    origin_left: Option<OpId>,
    origin_right: Option<OpId>,
) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut rest, mut id, mut origin_left) = (&**content, id, origin_left);
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(byte_at(rest, ITEM_LEN_MAX));
        let len = head.chars().count() as u32;
        let content = Content::new(head.to_owned());
        items.push(Item { id, len, origin_left, origin_right, deleted_by: Vec::new(), content });
        origin_left = Some(id.plus(len - 1));
        id = id.plus(len);
        rest = tail;
    }
    items
}
