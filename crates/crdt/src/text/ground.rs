//! What a trimmed text or list starts from: what was in it, by id, without how it came to be.

use crate::codec::{Input, Writer};
use crate::graph::{Graph, Lv};
use crate::rope::cut_at_scalar;
use crate::search::Search;
use crate::sorting::sort;
use crate::text::tracker::Tracker;

/// Characters of a text, or slots of a list, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// The first id, how many, and whether they are shown. What is not shown stays because
    /// something else that stays names it.
    runs: Vec<(Lv, u32, bool)>,
    /// The shown characters; nothing for a list.
    text: String,
    /// Of those that are not shown, which in front of one count as behind it:
    /// `(that one, first, end)`. See [`crate::text::edge`].
    past: Vec<(Lv, Lv, Lv)>,
}

impl Ground {
    pub(crate) const fn new() -> Self {
        Self { runs: Vec::new(), text: String::new(), past: Vec::new() }
    }

    /// What a tracker shows, which is `text`, and of what was deleted the characters that something
    /// names.
    pub(crate) fn of(whole: &Tracker, text: String, named: &[Lv]) -> Self {
        let mut ground = Self { text, ..Self::new() };
        for (id, len, is_shown) in whole.all_items() {
            if is_shown {
                ground.push(id, len, true);
            } else {
                let first = named.count_while(|named| *named < id);
                let named = named[first..].iter().take_while(|named| **named < id + len);
                named.for_each(|id| ground.push(*id, 1, false));
            }
        }
        ground
    }

    /// The slots of a list.
    pub(crate) fn of_slots(slots: impl Iterator<Item = Lv>) -> Self {
        let mut ground = Self::default();
        slots.for_each(|slot| ground.push(slot, 1, true));
        ground
    }

    fn push(&mut self, id: Lv, len: u32, is_shown: bool) {
        match self.runs.last_mut() {
            Some(last) if last.0 + last.1 == id && last.2 == is_shown => last.1 += len,
            _ => self.runs.push((id, len, is_shown)),
        }
    }

    /// Notes which characters count as behind some that are not shown, as far as they stay.
    pub(crate) fn note_past(&mut self, past: impl Iterator<Item = (Lv, (Lv, Lv))>) {
        let runs = self.sorted();
        for (char, (start, end)) in past {
            let first = runs.count_while(|(id, len, _)| id + len <= start);
            for (id, len, _) in runs[first..].iter().take_while(|(id, ..)| *id < end) {
                self.past.push((char, start.max(*id), end.min(id + len)));
            }
        }
    }

    /// The runs by id.
    fn sorted(&self) -> Vec<(Lv, u32, bool)> {
        let mut sorted = self.runs.clone();
        sort(&mut sorted);
        sorted
    }

    pub(crate) fn typed_past(&self, char: Lv) -> impl Iterator<Item = (Lv, Lv)> {
        let first = self.past.count_while(|(of, ..)| *of < char);
        let past = self.past[first..].iter().take_while(move |(of, ..)| *of == char);
        past.map(|(_, start, end)| (*start, *end))
    }

    /// Whether it has this character, shown or not.
    pub(crate) fn has(&self, id: Lv) -> bool {
        self.runs.iter().any(|(first, len, _)| (*first..first + len).contains(&id))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The runs in order: the first id, how many, and whether they are shown.
    pub(crate) fn runs(&self) -> &[(Lv, u32, bool)] {
        &self.runs
    }

    /// The characters with these ids, as far as they are shown.
    pub(crate) fn inserted(&self, start: Lv, len: u32) -> String {
        let (mut out, mut rest) = (Vec::new(), &*self.text);
        for (id, count, _) in self.runs.iter().filter(|(_, _, is_shown)| *is_shown) {
            let (run, after) = cut_at_scalar(rest, *count as usize);
            rest = after;
            let from = start.max(*id).min(id + count) - id;
            let upto = (start + len).max(*id).min(id + count) - id;
            if from < upto {
                let (_, text) = cut_at_scalar(run, from as usize);
                out.push((id + from, cut_at_scalar(text, (upto - from) as usize).0));
            }
        }
        sort(&mut out);
        out.into_iter().map(|(_, text)| text).collect()
    }

    /// Of the ids from `low` to `high` that are shown, the last before `id` and the first after it.
    pub(crate) fn neighbours(&self, id: Lv, (low, high): (Lv, Lv)) -> [Option<Lv>; 2] {
        let mut nearest = [None, None];
        for (start, len, _) in self.runs.iter().filter(|(_, _, is_shown)| *is_shown) {
            let (start, end) = ((*start).max(low), (start + len).min(high));
            if start >= end {
                continue;
            }
            if start < id {
                nearest[0] = nearest[0].max(Some(end.min(id) - 1));
            }
            if end > id {
                let first = start.max(id);
                nearest[1] = Some(nearest[1].map_or(first, |other: Lv| other.min(first)));
            }
        }
        nearest
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.runs.iter().map(|(_, len, _)| u64::from(*len)).sum()
    }

    /// Appends the ground; `now` is what the text shows now, which is mostly the same.
    pub(crate) fn encode(&self, now: Option<&str>, out: &mut Writer) {
        out.len(self.runs.len());
        let mut next = 0;
        for (id, len, is_shown) in &self.runs {
            out.varint_i64(i64::from(*id) - i64::from(next));
            out.varint(u64::from(*len) << 1 | u64::from(*is_shown));
            next = id + len;
        }
        let Some(now) = now else { return };
        let is_same = now == self.text;
        out.u8(u8::from(is_same));
        if !is_same {
            out.str(&self.text);
        }
        if self.runs.iter().any(|(_, _, is_shown)| !is_shown) {
            out.len(self.past.len());
            for (char, start, end) in &self.past {
                for lv in [char, start, end] {
                    out.varint(u64::from(*lv));
                }
            }
        }
    }

    /// Reads what [`Ground::encode`] wrote; all ids are below `end`, and none is there twice.
    pub(crate) fn decode(input: &mut Input<'_>, now: Option<&str>, end: Lv) -> Self {
        let mut ground = Self::default();
        let (mut next, mut shown) = (0i64, 0u64);
        for _ in 0..input.count(2) {
            let id = next.saturating_add(input.varint_i64());
            let (id, head) = (Lv::try_from(id).ok(), input.varint());
            let len = u32::try_from(head >> 1).ok().filter(|len| *len > 0);
            let run =
                id.zip(len).filter(|(id, len)| id.checked_add(*len).is_some_and(|to| to <= end));
            let (id, len) = input.some(run, "local version");
            let is_shown = head & 1 == 1;
            shown += if is_shown { u64::from(len) } else { 0 };
            ground.runs.push((id, len, is_shown));
            next = i64::from(id + len);
        }
        let sorted = ground.sorted();
        let are_apart = sorted.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0);
        input.ensure(are_apart, "local version");
        let Some(now) = now else { return ground };
        ground.text = match input.u8() {
            0 => input.str().to_owned(),
            1 => now.to_owned(),
            _ => input.refuse("text"),
        };
        input.ensure(ground.text.chars().count() as u64 == shown, "text");
        if ground.runs.iter().any(|(_, _, is_shown)| !is_shown) {
            for _ in 0..input.count(3) {
                let past = (input.varint_u32(), input.varint_u32(), input.varint_u32());
                let is_next = ground.past.last().is_none_or(|last| last.0 <= past.0);
                let run = sorted.count_while(|(id, len, _)| id + len <= past.1);
                let is_within = sorted.get(run).is_some_and(|(id, len, _)| {
                    *id <= past.1 && past.1 < past.2 && past.2 <= id + len
                });
                input.ensure(is_next && is_within, "local version");
                ground.past.push(past);
            }
        }
        ground
    }
}

impl Tracker {
    /// A tracker of a whole text or list above `base`.
    pub(crate) fn on(ground: &Ground, base: Lv) -> Self {
        let mut tracker = Self::new(base.checked_sub(1));
        tracker.set_len(0);
        for (id, len, is_shown) in ground.runs.iter().rev() {
            tracker.put_first(*id, *len, *is_shown);
        }
        tracker
    }

    /// A tracker of a sequence whose characters so far have no known ids.
    pub(crate) fn unknown(graph: &Graph, len: u32) -> Self {
        let mut tracker = Self::new(None);
        tracker.done = graph.end();
        tracker.views.iter_mut().for_each(|view| view.stand_at(graph.heads()));
        tracker.set_len(len);
        tracker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{DecodeError, Reader};

    /// "abcdef" as 4 to 7, then 0 and 1, with 2 and 9 and 10 between them, which are not shown.
    fn ground() -> Ground {
        let runs = vec![(4, 4, true), (2, 1, false), (9, 2, false), (0, 2, true)];
        Ground { runs, text: "äbcdéf".to_owned(), past: Vec::new() }
    }

    /// The ground as it reads back, where all ids are below `end`.
    fn read(ground: &Ground, now: Option<&str>, end: Lv) -> Result<Ground, DecodeError> {
        let mut out = Writer::new();
        ground.encode(now, &mut out);
        let mut input = Reader::new(out.as_slice());
        let read = input.read(|input| Ground::decode(input, now, end))?;
        input.finish().map(|()| read)
    }

    #[test]
    fn what_goes_on_is_one_run() {
        let mut ground = Ground::of_slots([3, 4, 5, 9, 8].into_iter());
        assert_eq!(ground.runs, [(3, 3, true), (9, 1, true), (8, 1, true)]);
        ground.push(9, 1, false);
        ground.push(10, 2, false);
        assert_eq!(ground.runs[3..], [(9, 3, false)]);
        assert_eq!(ground.len(), 8);
    }

    #[test]
    fn it_has_what_is_shown_and_what_is_not() {
        let has: Vec<Lv> = (0..13).filter(|id| ground().has(*id)).collect();
        assert_eq!(has, [0, 1, 2, 4, 5, 6, 7, 9, 10]);
        assert_eq!(ground().len(), 9);
    }

    #[test]
    fn shown_characters_are_found_by_their_ids() {
        let inserted = |start, len| ground().inserted(start, len);
        assert_eq!(inserted(0, 11), "éfäbcd");
        assert_eq!(inserted(1, 1), "f");
        assert_eq!(inserted(1, 5), "fäb");
        assert_eq!(inserted(5, 2), "bc");
        assert_eq!(inserted(7, 9), "d");
        assert_eq!((inserted(2, 2), inserted(9, 2), inserted(5, 0)), Default::default());
    }

    #[test]
    fn the_nearest_by_id_are_among_those_that_are_shown() {
        let near = |id, range| ground().neighbours(id, range);
        assert_eq!(near(2, (0, 11)), [Some(1), Some(4)]);
        assert_eq!(near(5, (0, 11)), [Some(4), Some(5)]);
        assert_eq!(near(0, (0, 11)), [None, Some(0)]);
        assert_eq!(near(9, (0, 11)), [Some(7), None]);
        assert_eq!(near(4, (2, 6)), [None, Some(4)]);
        assert_eq!(near(9, (2, 6)), [Some(5), None]);
        assert_eq!(near(3, (0, 1)), [Some(0), None]);
        assert_eq!(near(3, (2, 4)), [None, None]);
    }

    #[test]
    fn what_counts_as_behind_is_kept_as_far_as_it_stays() {
        let mut ground = ground();
        ground.note_past([(2, (0, 6)), (2, (7, 10)), (9, (3, 4)), (10, (10, 12))].into_iter());
        let past = |char| ground.typed_past(char).collect::<Vec<_>>();
        assert_eq!(past(2), [(0, 2), (2, 3), (4, 6), (7, 8), (9, 10)]);
        assert_eq!((past(9), past(10), past(1)), (vec![], vec![(10, 11)], vec![]));
        let same = read(&ground, Some("äbcdéf"), 11).unwrap();
        assert_eq!(format!("{same:?}"), format!("{ground:?}"));
        let other = read(&ground, Some("now"), 11).unwrap();
        assert_eq!(format!("{other:?}"), format!("{ground:?}"));
    }

    #[test]
    fn ids_are_below_the_end_and_there_once() {
        let wrong = |runs: &[(Lv, u32, bool)], end| {
            let ground = Ground { runs: runs.to_vec(), ..Ground::default() };
            read(&ground, None, end).map(|read| assert_eq!(read.runs, runs))
        };
        assert_eq!(wrong(&[(3, 2, true), (0, 3, true)], 5), Ok(()));
        let refused = Err(DecodeError::Invalid("local version"));
        assert_eq!(wrong(&[(3, 2, true), (0, 3, true)], 4), refused);
        assert_eq!(wrong(&[(3, 2, true), (0, 4, true)], 5), refused);
        assert_eq!(wrong(&[(3, 2, true), (4, 1, false)], 5), refused);
        assert_eq!(wrong(&[(3, 0, true)], 5), refused);
    }

    #[test]
    fn the_text_is_as_long_as_what_is_shown() {
        let text = |text: &str| {
            let ground = Ground { text: text.to_owned(), ..ground() };
            read(&ground, Some("äbcdéf"), 11).map(|read| read.text)
        };
        assert_eq!(text("äbcdéf"), Ok("äbcdéf".to_owned()));
        assert_eq!(text("ABCDEF"), Ok("ABCDEF".to_owned()));
        for wrong in ["ABCDE", "ABCDEFG"] {
            assert_eq!(text(wrong), Err(DecodeError::Invalid("text")));
        }
    }

    #[test]
    fn what_counts_as_behind_is_in_one_run_and_in_order() {
        let past = |past: &[(Lv, Lv, Lv)]| {
            let ground = Ground { past: past.to_vec(), ..ground() };
            read(&ground, Some("äbcdéf"), 11).map(|read| assert_eq!(read.past, past))
        };
        assert_eq!(past(&[(2, 4, 8), (2, 0, 2), (9, 5, 6)]), Ok(()));
        let refused = Err(DecodeError::Invalid("local version"));
        for wrong in [
            &[(9, 5, 6), (2, 4, 8)][..],
            &[(2, 3, 4)],
            &[(2, 3, 5)],
            &[(2, 4, 4)],
            &[(2, 6, 5)],
            &[(2, 6, 9)],
            &[(2, 7, 10)],
            &[(2, 11, 12)],
        ] {
            assert_eq!(past(wrong), refused, "{wrong:?}");
        }
    }
}
