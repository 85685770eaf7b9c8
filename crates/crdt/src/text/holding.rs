//! Which marks hold where.

use crate::codec::{Input, Writer};
use crate::gather::Gather;
use crate::graph::{Graph, Lv};
use crate::names::NameIx;
use crate::search::Search;
use crate::sorting::sort_set;
use crate::text::places::is_held;

/// A mark that holds from one position to another (exclusive).
pub(crate) type Hold = (u32, u32, Lv);

/// Which marks hold where, by the key's number and by position. Those whose value is null do too.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Holding(Vec<Vec<Hold>>);

impl Holding {
    pub(crate) fn of(&self, key: NameIx) -> &[Hold] {
        self.0.get(key as usize).map_or(&[], |holds| holds)
    }

    fn of_mut(&mut self, key: NameIx) -> &mut Vec<Hold> {
        while self.0.len() <= key as usize {
            self.0.push(Vec::new());
        }
        &mut self.0[key as usize]
    }

    /// The marks of each key, by its number.
    pub(crate) fn by_key(&self) -> impl Iterator<Item = (NameIx, &[Hold])> {
        (0..).zip(self.0.iter().map(|holds| &**holds))
    }

    /// Appends the holds of each key: how far from the one before, length, mark.
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.0.iter().filter(|holds| !holds.is_empty()).count());
        for (key, holds) in self.by_key().filter(|(_, holds)| !holds.is_empty()) {
            out.varint(u64::from(key));
            out.len(holds.len());
            let mut last = 0;
            for (start, end, lv) in holds {
                out.varint(u64::from(start - last));
                out.varint(u64::from(end - start));
                out.varint(u64::from(*lv));
                last = *end;
            }
        }
    }

    /// Reads what [`Holding::encode`] wrote for a text of `len` characters with so many keys; all
    /// local versions are below `below`.
    pub(crate) fn decode(input: &mut Input<'_>, keys: usize, len: u32, below: Lv) -> Self {
        let mut held = Self::default();
        for _ in 0..input.count(2) {
            let (key, mut last) = (input.varint_u32(), 0u32);
            if key as usize >= keys {
                input.refuse::<()>("mark key");
                break;
            }
            let mut holds = Vec::new();
            for _ in 0..input.count(3) {
                let start = last.checked_add(input.varint_u32());
                let (size, lv) = (input.varint_u32(), input.varint_u32());
                let end = start.and_then(|start| start.checked_add(size));
                let end = end.filter(|end| size > 0 && *end <= len && lv < below);
                last = input.some(end, "mark");
                holds.push((last.saturating_sub(size), last, lv));
            }
            *held.of_mut(key) = holds;
        }
        held
    }

    /// Keeps of each stretch what these are the parts of.
    pub(super) fn keep(&mut self, parts: &dyn Fn((u32, u32)) -> [(u32, u32); 2]) {
        for holds in &mut self.0 {
            let mut kept = Vec::new();
            for (start, end, lv) in &*holds {
                for (start, end) in parts((*start, *end)) {
                    add(&mut kept, (start, end, *lv));
                }
            }
            *holds = kept;
        }
    }

    /// Lets a mark hold where it is and none of a greater rank does.
    pub(super) fn lay(&mut self, graph: &Graph, key: NameIx, (start, end, lv): Hold) {
        let holds = self.of_mut(key);
        // With those that end or start there: they may be of the same mark.
        let first = holds.count_while(|(_, end, _)| *end < start);
        let last = holds.count_while(|(start, _, _)| *start <= end).max(first);
        let mut laid = Vec::new();
        let mut put = |hold| add(&mut laid, hold);
        let mut at = start;
        for (from, until, other) in &holds[first..last] {
            put((*from, start.min(*until), *other));
            let (low, high) = (start.max(*from), end.min(*until));
            put((at, low, lv));
            let is_over = graph.rank_of(lv) > graph.rank_of(*other);
            put((low, high, if is_over { lv } else { *other }));
            put((end.max(*from), *until, *other));
            at = high;
        }
        put((at, end, lv));
        holds.splice(first..last, laid);
    }
}

/// Appends what comes next, unless it is empty; to the last one, if that goes on there.
fn add(holds: &mut Vec<Hold>, next: Hold) {
    match holds.last_mut() {
        _ if next.0 >= next.1 => {}
        Some(last) if last.1 == next.0 && last.2 == next.2 => last.1 = next.1,
        _ => holds.push(next),
    }
}

/// The mark of a list that holds at a position.
pub(crate) fn hold_at(holds: &[Hold], pos: u32) -> Option<Lv> {
    let (start, _, lv) = holds.get(holds.count_while(|(_, end, _)| *end <= pos))?;
    (*start <= pos).then_some(*lv)
}

/// Lets marks hold in the order of their ranks, each in its places.
pub(super) fn paint(graph: &Graph, marks: &[(NameIx, Hold)]) -> Holding {
    let mut held = Holding::default();
    for at in graph.by_rank(&mut marks.iter().map(|(_, (_, _, lv))| *lv)) {
        let (key, hold) = marks[at];
        if is_held(&marks[at]) {
            held.of_mut(key).push(hold);
        }
    }
    held.0.iter_mut().for_each(|holds| *holds = painted(holds));
    held
}

/// What is left of each where those later in the list are put over those before. They are put in
/// from the last one on, each where nothing is yet: between two ends of any of them, where the next
/// free stretch is is found by following those that were taken, as in disjoint sets.
pub(super) fn painted(holds: &[Hold]) -> Vec<Hold> {
    let mut cuts = Vec::new();
    for (start, end, _) in holds {
        cuts.push(*start);
        cuts.push(*end);
    }
    sort_set(&mut cuts);
    let mut taken: Vec<Option<usize>> = vec![None; cuts.len()];
    let mut free: Vec<usize> = (0..cuts.len()).gather();
    let next_free = |free: &mut Vec<usize>, mut at: usize| {
        while free[at] != at {
            free[at] = free[free[at]];
            at = free[at];
        }
        at
    };
    for (index, (start, end, _)) in holds.iter().enumerate().rev() {
        let upto = cuts.count_while(|cut| cut < end);
        let mut at = next_free(&mut free, cuts.count_while(|cut| cut < start));
        while at < upto {
            taken[at] = Some(index);
            free[at] = at + 1;
            at = next_free(&mut free, at);
        }
    }
    let mut painted = Vec::new();
    for (at, index) in taken.into_iter().enumerate() {
        let Some((_, _, lv)) = index.map(|index| holds[index]) else { continue };
        add(&mut painted, (cuts[at], cuts[at + 1], lv));
    }
    painted
}
