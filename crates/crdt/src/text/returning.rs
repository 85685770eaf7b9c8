//! Bringing deleted characters back, for undo: where they return to, and under which ids.
//!
//! A deleted character never comes back under its own id; undo inserts it anew. [`Reborn`]
//! remembers that the two are the same to the person who undoes, so that a later undo or redo finds
//! it.

use crate::graph::{Graph, Lv};
use crate::id::PeerId;
use crate::rope::cut_at_scalar;
use crate::text::Tracker;
use crate::text::edge::without;

/// A run of characters that a deletion hid, with what it takes to bring them back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hidden {
    pub(crate) id: Lv,
    pub(crate) content: String,
}

/// Characters that an undo brought back under new ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reborn {
    pub(crate) old: Lv,
    pub(crate) len: u32,
    pub(crate) new: Lv,
    /// The first of the operations that deleted them.
    pub(crate) deleted: Lv,
}

/// The id that a character brought back by an undo had before, and what deleted it then.
pub(crate) fn earlier_life(reborn: &[Reborn], id: Lv) -> Option<(Lv, Lv)> {
    reborn.iter().find_map(|reborn| {
        let offset = id.checked_sub(reborn.new)?;
        (offset < reborn.len).then(|| (reborn.old + offset, reborn.deleted))
    })
}

/// A run of characters, as a range, under every id it has had.
pub(crate) fn lives_of(reborn: &[Reborn], start: Lv, end: Lv) -> Vec<(Lv, Lv)> {
    let mut lives = vec![(start, end)];
    // A rebirth is recorded after the life it follows, so one pass in order finds them all.
    for reborn in reborn {
        for life in 0..lives.len() {
            let start = lives[life].0.max(reborn.old);
            let end = lives[life].1.min(reborn.old + reborn.len);
            if start < end {
                let by = reborn.new.wrapping_sub(reborn.old);
                lives.push((start.wrapping_add(by), end.wrapping_add(by)));
            }
        }
    }
    lives
}

impl Tracker {
    /// What the deletions from `start` on hid and nobody but `ours` hid too. `content` is what they
    /// hid, in the order of the deletions.
    pub(crate) fn hidden_only_by(
        &self,
        graph: &Graph,
        start: Lv,
        content: &str,
        ours: &dyn Fn(PeerId) -> bool,
    ) -> Vec<Hidden> {
        let end = start + content.chars().count() as u32;
        let mut hidden = Vec::new();
        for (deletion, target, len, is_down) in self.hidden_by(start, end) {
            let (_, text) = cut_at_scalar(content, (deletion - start) as usize);
            let (text, _) = cut_at_scalar(text, len as usize);
            let (mut low, mut text) = (target, text.to_owned());
            if is_down {
                low = target + 1 - len;
                let upwards = std::mem::take(&mut text);
                upwards.chars().rev().for_each(|char| text.push(char));
            }
            for kept in self.not_hidden_by_others(graph, low, low + len, ours) {
                for (start, end) in self.stretches(kept) {
                    let (_, text) = cut_at_scalar(&text, (start - low) as usize);
                    let (text, _) = cut_at_scalar(text, (end - start) as usize);
                    hidden.push(Hidden { id: start, content: text.to_owned() });
                }
            }
        }
        hidden
    }

    /// What the deletions from `start` to `end` hid and nobody but `ours` hid too, in the order of
    /// the deletions. What has no id, since its history is unknown, is not among it.
    pub(crate) fn hidden_ids_only_by(
        &self,
        graph: &Graph,
        start: Lv,
        end: Lv,
        ours: &dyn Fn(PeerId) -> bool,
    ) -> Vec<(Lv, Lv)> {
        let mut hidden = Vec::new();
        for (_, target, len, is_down) in self.hidden_by(start, end) {
            let low = if is_down { target + 1 - len } else { target };
            if self.tracks(low) {
                hidden.append(&mut self.not_hidden_by_others(graph, low, low + len, ours));
            }
        }
        hidden
    }

    /// The parts of a range of characters that stand next to each other: ids that follow each other
    /// may be those of characters far apart.
    fn stretches(&self, (low, high): (Lv, Lv)) -> Vec<(Lv, Lv)> {
        let mut stretches: Vec<(Lv, Lv)> = Vec::new();
        let mut at = low;
        while at < high {
            let (place, _) = self.find(at);
            let end = self.item(place).end().min(high);
            let left = self.left_of(at).next().map(|(first, len, _)| first + len);
            match stretches.last_mut() {
                Some(last) if left == Some(at) => last.1 = end,
                _ => stretches.push((at, end)),
            }
            at = end;
        }
        stretches
    }

    fn not_hidden_by_others(
        &self,
        graph: &Graph,
        low: Lv,
        high: Lv,
        ours: &dyn Fn(PeerId) -> bool,
    ) -> Vec<(Lv, Lv)> {
        let mut kept = vec![(low, high)];
        for (deletion, len, target) in self.all_deletions() {
            if target >= high || target + len <= low {
                continue;
            }
            // A run of deletions can be of several authors; which targets are whose is looked up
            // one stretch of the graph at a time.
            let mut at = deletion;
            while at < deletion + len {
                let stretch = graph.stretch_at(at);
                let upto = stretch.end.min(deletion + len);
                if !ours(graph.peer(stretch.peer)) {
                    for (_, first, len, is_down) in self.hidden_by(at, upto) {
                        let first = if is_down { first + 1 - len } else { first };
                        kept = without(&kept, (first, first + len));
                    }
                }
                at = upto;
            }
        }
        kept
    }

    /// Where a deleted character comes back: right of its nearest left neighbour that is shown, be
    /// it under its own id or under a later one. Characters that are themselves such later lives
    /// stand where they were put, which says nothing about their neighbours; they are passed over.
    pub(crate) fn return_position(&self, id: Lv, reborn: &[Reborn]) -> u32 {
        let (mut end, is_shown) = self.position_of(id);
        if is_shown {
            return end;
        }
        for (first, len, is_shown) in self.left_of(id) {
            if earlier_life(reborn, first).is_none() {
                if is_shown {
                    return end;
                }
                let mut after = None;
                for (start, end) in lives_of(reborn, first, first + len).iter().skip(1) {
                    for (pos, len) in self.shown(*start, *end) {
                        after = after.max(Some(pos + len));
                    }
                }
                if let Some(after) = after {
                    return after;
                }
            }
            end -= if is_shown { len } else { 0 };
        }
        0
    }
}
