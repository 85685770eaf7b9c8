//! Lists of values, plain and movable: the sequence of a text, with values for characters.
//!
//! An element is the operation that inserted it; a slot is a place where one stands or stood.
//! Moving an element gives it a new slot, and of several slots at once the one with the greatest
//! `(stamp, peer)` holds (Kleppmann, "Moving Elements in List CRDTs", PaPoC 2020); the others take
//! a place and show nothing. What an element holds is a register.

mod slots;
mod view;
mod writing;

use crate::cell_log::{CellLog, PAGE_OPS_MAX};
use crate::cells::{CellOp, RowRef};
use crate::codec::{Input, Writer};
use crate::graph::{Graph, Lv};
use crate::id::OpId;
use crate::lww::overrules;
use crate::numbers::{self, Numbers, encode_numbers};
use crate::patch::ListDelta;
use crate::text::{Effect, Ground, Merger, Present, Runs};
use crate::value::Value;

use slots::Slots;
pub use view::{ElementId, List};
pub use writing::{ListError, ListMut, MovableListMut};

/// What a list shows.
#[derive(Debug, Default)]
pub(crate) struct ListState {
    pub(crate) slots: Slots,
    pub(crate) merger: Merger,
    /// Which element each slot that a move made is for, plus 1; 0 if its author named none.
    elements: Numbers,
    /// The slot that holds for each element that was moved.
    moved: Numbers,
    /// The write that holds for each element that was replaced.
    replaced: Numbers,
}

impl ListState {
    /// The element that a slot is for.
    pub(crate) fn element_of(&self, slot: Lv) -> Option<Lv> {
        numbers::get(&self.elements, slot.into()).map_or(Some(slot), |lv| lv.checked_sub(1))
    }

    /// The slot that holds for an element.
    pub(crate) fn slot_of(&self, element: Lv) -> Lv {
        numbers::get(&self.moved, element.into()).unwrap_or(element)
    }

    /// The write that holds for an element's value.
    pub(crate) fn holder(&self, element: Lv) -> Lv {
        numbers::get(&self.replaced, element.into()).unwrap_or(element)
    }

    /// What an element holds.
    pub(crate) fn value(&self, log: &CellLog, element: Lv) -> Value {
        log.value(self.holder(element), None).unwrap_or_default()
    }

    /// The operations that decide what the list shows, but for the insertions.
    pub(crate) fn held(&self) -> impl Iterator<Item = Lv> {
        let slots = self.slots.iter().map(|(slot, _)| slot);
        slots.chain(self.moved.iter().chain(self.replaced.iter()).map(|(_, lv)| lv as Lv))
    }

    /// Puts the slots in that a trimmed list starts from, after all that is written about them.
    pub(crate) fn stand_on(&mut self, ground: &Ground) {
        let mut slots = std::mem::take(&mut self.slots);
        for (start, len, _) in ground.runs() {
            let pos = slots.len();
            slots.insert(pos, *start, start + len, |slot| self.shown(slot).is_none());
        }
        self.slots = slots;
    }

    /// What a slot shows, if it shows anything.
    fn shown(&self, slot: Lv) -> Option<Lv> {
        self.element_of(slot).filter(|element| self.slot_of(*element) == slot)
    }

    /// Takes in a write, after it was logged; returns the index of an element that it took from
    /// its place, and whether it replaced what an element holds.
    pub(crate) fn write(&mut self, graph: &Graph, lv: Lv, op: &CellOp) -> (Option<u32>, bool) {
        match op {
            CellOp::Move { element: RowRef::Known(element) } => {
                self.elements.insert(lv.into(), u64::from(*element) + 1);
                let held = self.slot_of(*element);
                if overrules(graph, lv, Some(held)) {
                    self.moved.insert((*element).into(), lv.into());
                    return (self.slots.hide(held), false);
                }
            }
            CellOp::Move { .. } => {
                self.elements.insert(lv.into(), 0);
            }
            CellOp::Replace { element: RowRef::Known(element), .. } => {
                let wins = overrules(graph, lv, Some(self.holder(*element)));
                if wins {
                    self.replaced.insert((*element).into(), lv.into());
                }
                return (None, wins);
            }
            _ => {}
        }
        (None, false)
    }

    /// Where an element is, if it is in the list.
    pub(crate) fn index_of(&self, element: RowRef) -> Option<u32> {
        match element {
            RowRef::Known(element) => self.slots.index_of(self.slot_of(element)),
            RowRef::Stray(_) => None,
        }
    }

    /// The element that an author saw under this id before its operation `lv`.
    pub(crate) fn element_ref(log: &CellLog, graph: &Graph, element: OpId, lv: Lv) -> RowRef {
        let is_element = |lv: &Lv| matches!(log.get(*lv), Some(CellOp::Set(_)));
        match graph.lv_of(element).filter(is_element) {
            Some(known) if graph.is_before(known, lv) => RowRef::Known(known),
            _ => RowRef::Stray(element),
        }
    }

    /// Merges new operations, which are logged; returns the edits of what is shown, in order.
    pub(crate) fn merge(
        &mut self,
        log: &CellLog,
        graph: &Graph,
        runs: &mut Runs,
        range: (Lv, Lv),
    ) -> Vec<Vec<ListDelta>> {
        let mut merger = std::mem::take(&mut self.merger);
        let mut present = Editing { list: self, log, deltas: Vec::new() };
        merger.merge(graph, runs, range, &mut present);
        let deltas = present.deltas;
        self.merger = merger;
        deltas
    }

    /// Inserts slots with consecutive names; returns the index of what they show, and that.
    fn put(&mut self, log: &CellLog, pos: u32, start: Lv, len: u32) -> (u32, Vec<Value>) {
        let mut slots = std::mem::take(&mut self.slots);
        let index = slots.shown_before(pos);
        slots.insert(pos, start, start + len, |slot| self.shown(slot).is_none());
        self.slots = slots;
        let mut values = Vec::new();
        for element in (start..start + len).filter_map(|slot| self.shown(slot)) {
            values.push(self.value(log, element));
        }
        (index, values)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        let mut runs: Vec<(Lv, u32, bool)> = Vec::new();
        for (slot, is_shown) in self.slots.iter() {
            match runs.last_mut() {
                Some(last) if last.0 + last.1 == slot && last.2 == is_shown => last.1 += 1,
                _ => runs.push((slot, 1, is_shown)),
            }
        }
        out.len(runs.len());
        let mut next = 0;
        for (start, len, is_shown) in runs {
            out.varint_i64(i64::from(start) - i64::from(next));
            out.varint(u64::from(len) << 1 | u64::from(is_shown));
            next = start + len;
        }
        for numbers in [&self.elements, &self.moved, &self.replaced] {
            encode_numbers(numbers, out);
        }
    }

    /// Reads what [`ListState::encode`] wrote; all local versions are below `end`.
    pub(crate) fn decode(input: &mut Input<'_>, end: Lv) -> Self {
        let mut list = Self::default();
        let mut next = 0i64;
        for _ in 0..input.count(2) {
            let start = next.saturating_add(input.varint_i64());
            let start = input.below(end, u64::try_from(start).unwrap_or(u64::MAX));
            let head = input.varint();
            let upto = u64::from(start) + (head >> 1);
            // What made each of them is logged further on.
            let room = input.remaining().saturating_mul(PAGE_OPS_MAX);
            let room = room.saturating_sub(list.slots.len() as usize) as u64;
            input.ensure((1..=room).contains(&(head >> 1)), "slots");
            let last = input.below(end, upto.saturating_sub(1));
            if !input.is_sound() {
                break;
            }
            let pos = list.slots.len();
            list.slots.insert(pos, start, last + 1, |_| head & 1 == 0);
            next = i64::from(last) + 1;
        }
        for _ in 0..input.count(2) {
            let (slot, element) = (input.varint_below(end), input.varint_u32());
            input.below(end, element.saturating_sub(1).into());
            let is_shown = element == 0 && list.slots.index_of(slot).is_some();
            input.ensure(!is_shown, "element");
            list.elements.insert(slot.into(), element.into());
        }
        for map in [&mut list.moved, &mut list.replaced] {
            for _ in 0..input.count(2) {
                let (element, lv) = (input.varint_below(end), input.varint_below(end));
                map.insert(element.into(), lv.into());
            }
        }
        list
    }
}

/// A list while operations are merged into it.
struct Editing<'a> {
    list: &'a mut ListState,
    log: &'a CellLog,
    deltas: Vec<Vec<ListDelta>>,
}

impl Present for Editing<'_> {
    fn len(&self) -> u32 {
        self.list.slots.len()
    }

    fn perform(&mut self, effect: Effect, _: &Runs) {
        match effect {
            Effect::Insert { pos, start, len, .. } => {
                let (index, values) = self.list.put(self.log, pos, start, len);
                if !values.is_empty() {
                    self.deltas.push(ListDelta::at(index, ListDelta::Insert(values)));
                }
            }
            Effect::Delete { pos, len } => {
                let index = self.list.slots.shown_before(pos);
                let gone = self.list.slots.delete(pos, len);
                if gone > 0 {
                    self.deltas.push(ListDelta::at(index, ListDelta::Delete(gone)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, Reader};

    /// Reads a list of these slots, each as how far its first is from the end of those before, how
    /// many, and whether they are shown, with some bytes behind the list.
    fn read(
        slots: &[(i64, u64, bool)],
        more: usize,
        end: Lv,
    ) -> Result<Vec<(Lv, bool)>, DecodeError> {
        let mut out = Writer::new();
        out.len(slots.len());
        for (by, len, is_shown) in slots {
            out.varint_i64(*by);
            out.varint(len << 1 | u64::from(*is_shown));
        }
        (0..3).for_each(|_| out.len(0));
        out.raw(&vec![0; more]);
        let mut input = Reader::new(out.as_slice());
        input.read(|input| ListState::decode(input, end)).map(|list| list.slots.iter().collect())
    }

    #[test]
    fn slots_are_below_the_end_and_no_more_than_there_is_room_for() {
        let shown = |slots: &[Lv]| Ok(slots.iter().map(|slot| (*slot, true)).collect::<Vec<_>>());
        assert_eq!(read(&[(3, 2, true), (-5, 2, true)], 9, 5), shown(&[3, 4, 0, 1]));
        assert_eq!(read(&[(2, 1, false)], 9, 5), Ok(vec![(2, false)]));
        let nowhere = Err(DecodeError::Invalid("local version"));
        assert_eq!(read(&[(3, 2, true)], 9, 4), nowhere);
        assert_eq!(read(&[(5, 1, true)], 9, 5), nowhere);
        assert_eq!(read(&[(-1, 1, true)], 9, 5), nowhere);
        // A byte behind them for each page that what made them takes, and three empty maps.
        let most = 4 * PAGE_OPS_MAX as u64;
        assert!(read(&[(0, most, true)], 1, 100).is_ok());
        let refused = Err(DecodeError::Invalid("slots"));
        assert_eq!(read(&[(0, most + 1, true)], 1, 100), refused);
        assert_eq!(read(&[(0, 9, true), (0, most, true)], 1, 100), refused);
        assert_eq!(read(&[(0, 0, true), (3, 1, true)], 9, 5), refused);
    }
}
