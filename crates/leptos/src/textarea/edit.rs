//! What was typed, as an edit of the text, and how edits move positions. No browser in here.
//!
//! Two counts meet: the DOM counts UTF-16 code units, documents count Unicode scalars. Names end
//! in `16` where UTF-16 is counted. A textarea also shows every line break as `\n`, so a text
//! with carriage returns is compared in its normalised form.

use std::borrow::Cow;
use std::ops::Range;

use leptos_sync_engine::TextDelta;

/// Replaces `deleted` characters at `at` by `inserted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splice {
    pub(crate) at: usize,
    pub(crate) deleted: usize,
    pub(crate) inserted: String,
}

/// The shortest edit that turns `old` into `new`, `None` if they are equal.
///
/// Where several are possible (which of five equal letters was typed?), the one that ends at
/// `caret`, the place of the caret in `new`, is taken.
pub(crate) fn diff(old: &str, new: &str, caret: Option<usize>) -> Option<Splice> {
    if old == new {
        return None;
    }
    let caret_byte = caret.map_or(0, |caret| byte_of(new, caret));
    let suffix = common_suffix(old, &new[caret_byte..]);
    let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);
    let prefix = common_prefix(old, new);
    // Without a caret inside the edit the suffix may have left something equal before it.
    let (old_rest, new_rest) = (&old[prefix..], &new[prefix..]);
    let suffix = common_suffix(old_rest, new_rest);
    Some(Splice {
        at: old[..prefix].chars().count(),
        deleted: old_rest[..old_rest.len() - suffix].chars().count(),
        inserted: new_rest[..new_rest.len() - suffix].to_owned(),
    })
}

fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    // Two characters can start with equal bytes.
    floor_boundary(a, same).min(floor_boundary(b, same))
}

fn common_suffix(a: &str, b: &str) -> usize {
    let same = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    let ceil = |text: &str| {
        let start = text.len() - same;
        text.len() - (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(start)
    };
    ceil(a).min(ceil(b))
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn byte_of(text: &str, scalar: usize) -> usize {
    text.char_indices().nth(scalar).map_or(text.len(), |(byte, _)| byte)
}

/// A textarea's length and selection at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) len16: usize,
    pub(crate) start16: usize,
    pub(crate) end16: usize,
}

/// What one keystroke replaced: `deleted` of the old value by `inserted` of the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) deleted: Range<usize>,
    pub(crate) inserted: Range<usize>,
}

/// Finds an edit without looking at the text: what follows the caret afterwards was not touched,
/// nor was what preceded the selection and the caret.
///
/// True for typing, pasting, cutting and deleting. `None` if the numbers contradict that.
pub(crate) fn typed(before: Moment, after: Moment) -> Option<Typed> {
    let kept_after = after.len16.checked_sub(after.end16)?;
    let deleted_end = before.len16.checked_sub(kept_after)?;
    let start = before.start16.min(after.end16).min(deleted_end);
    let plausible = deleted_end >= before.end16 && after.start16 == after.end16;
    plausible.then_some(Typed { deleted: start..deleted_end, inserted: start..after.end16 })
}

/// Whether [`typed`] may be asked about an input event of this type.
pub(crate) fn is_simple(input_type: &str) -> bool {
    matches!(
        input_type,
        "insertText"
            | "insertLineBreak"
            | "insertParagraph"
            | "insertFromPaste"
            | "deleteByCut"
            | "deleteContentBackward"
            | "deleteContentForward"
            | "deleteWordBackward"
            | "deleteWordForward"
            | "deleteSoftLineBackward"
            | "deleteSoftLineForward"
            | "deleteHardLineBackward"
            | "deleteHardLineForward"
    )
}

/// Where a position is after an edit. One at which text is inserted stays before it, or goes
/// after it if `after`.
pub(crate) fn map_position(delta: &[TextDelta], position: usize, after: bool) -> usize {
    let (mut old, mut new) = (0usize, 0usize);
    for step in delta {
        match step {
            TextDelta::Retain(len) => {
                let len = *len as usize;
                if position < old + len {
                    break;
                }
                (old, new) = (old + len, new + len);
            }
            TextDelta::Insert(text) => {
                if position == old && !after {
                    break;
                }
                new += text.chars().count();
            }
            TextDelta::Delete(len) => {
                old += *len as usize;
                if position < old {
                    return new;
                }
            }
        }
    }
    new + (position - old)
}

/// What is left of ranges after an edit: parts that it deleted are gone, and text that it
/// inserted inside is not in them.
pub(crate) fn map_ranges(delta: &[TextDelta], ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut mapped = Vec::new();
    let mut keep = |old: Range<usize>, new: usize| {
        for range in ranges {
            let (start, end) = (range.start.max(old.start), range.end.min(old.end));
            if start < end {
                mapped.push(start - old.start + new..end - old.start + new);
            }
        }
    };
    let (mut old, mut new) = (0usize, 0usize);
    for step in delta {
        match step {
            TextDelta::Retain(len) => {
                keep(old..old + *len as usize, new);
                (old, new) = (old + *len as usize, new + *len as usize);
            }
            TextDelta::Insert(text) => new += text.chars().count(),
            TextDelta::Delete(len) => old += *len as usize,
        }
    }
    keep(old..usize::MAX, new);
    mapped
}

/// Where an edit of one's own leaves the caret: after what was inserted or deleted last.
pub(crate) fn end_of(delta: &[TextDelta]) -> usize {
    let (mut new, mut end) = (0usize, 0usize);
    for step in delta {
        match step {
            TextDelta::Retain(len) => new += *len as usize,
            TextDelta::Insert(text) => {
                new += text.chars().count();
                end = new;
            }
            TextDelta::Delete(_) => end = new,
        }
    }
    end
}

/// An edit of a text as a delta.
pub(crate) fn delta_of(splice: &Splice) -> Vec<TextDelta> {
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    vec![
        TextDelta::Retain(count(splice.at)),
        TextDelta::Delete(count(splice.deleted)),
        TextDelta::Insert(splice.inserted.as_str().into()),
    ]
}

/// The text as a textarea shows it: every line break is `\n`.
pub(crate) fn normalised(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The position in `text` of a position in its normalised form.
pub(crate) fn from_normalised(text: &str, position: usize) -> usize {
    let mut chars = text.chars().peekable();
    let mut at = 0;
    for _ in 0..position {
        match chars.next() {
            None => break,
            Some('\r') if chars.peek() == Some(&'\n') => {
                chars.next();
                at += 2;
            }
            Some(_) => at += 1,
        }
    }
    at
}

/// The position in the normalised form of a position in `text`.
pub(crate) fn to_normalised(text: &str, position: usize) -> usize {
    let head: String = text.chars().take(position).collect();
    normalised(&head).chars().count()
}

/// How many UTF-16 units the first `scalars` characters take.
pub(crate) fn units(text: &str, scalars: usize) -> usize {
    text.chars().take(scalars).map(char::len_utf16).sum()
}

/// How many characters the first `units16` UTF-16 units hold.
pub(crate) fn scalars(text: &str, units16: usize) -> usize {
    let mut left = units16;
    text.chars()
        .take_while(|c| {
            let fits = c.len_utf16() <= left;
            left = left.saturating_sub(c.len_utf16());
            fits
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `check("ab|c", "abx|c", "2 -0 +x")`: the bar is the caret.
    fn check(old: &str, new: &str, expected: &str) {
        let caret = new.chars().position(|c| c == '|');
        let (old, new) = (old.replace('|', ""), new.replace('|', ""));
        let found = diff(&old, &new, caret);
        let found = found.map_or("none".to_owned(), |splice| {
            let deleted = splice.deleted;
            format!("{} -{deleted} +{}", splice.at, splice.inserted)
        });
        assert_eq!(found, expected, "{old:?} to {new:?}");
    }

    #[test]
    fn a_difference_is_as_short_as_it_can_be() {
        check("ab|c", "abx|c", "2 -0 +x");
        check("abc", "abc|", "none");
        check("", "abc|", "0 -0 +abc");
        check("abc", "|", "0 -3 +");
        check("one two", "one 2|", "4 -3 +2");
    }

    #[test]
    fn among_equal_letters_the_caret_decides() {
        check("aaaa", "aa|aaa", "1 -0 +a");
        check("aaaa", "aaaaa|", "4 -0 +a");
        check("aaaa", "aa|a", "2 -1 +");
    }

    #[test]
    fn characters_are_never_split() {
        check("😀", "😁|", "0 -1 +😁");
        check("é", "è|", "0 -1 +è");
        check("a😀b", "a😀😀|b", "2 -0 +😀");
    }

    #[test]
    fn a_difference_applies() {
        let words = ["", "a", "ab", "ba", "aa😀", "😀a", "é😀é", "aabaa", "ab\nab"];
        for old in words {
            for new in words {
                for caret in 0..=new.chars().count() {
                    let Some(splice) = diff(old, new, Some(caret)) else { continue };
                    let mut chars: Vec<char> = old.chars().collect();
                    chars.splice(splice.at..splice.at + splice.deleted, splice.inserted.chars());
                    assert_eq!(chars.iter().collect::<String>(), new, "{old:?} at {caret}");
                }
            }
        }
    }

    fn moment(len16: usize, start16: usize, end16: usize) -> Moment {
        Moment { len16, start16, end16 }
    }

    #[test]
    fn typing_is_found_from_the_caret_alone() {
        let insert = typed(moment(10, 4, 4), moment(11, 5, 5));
        assert_eq!(insert, Some(Typed { deleted: 4..4, inserted: 4..5 }));
        let replace = typed(moment(10, 2, 6), moment(9, 5, 5));
        assert_eq!(replace, Some(Typed { deleted: 2..6, inserted: 2..5 }));
        let backspace = typed(moment(10, 4, 4), moment(8, 2, 2));
        assert_eq!(backspace, Some(Typed { deleted: 2..4, inserted: 2..2 }));
        let delete = typed(moment(10, 4, 4), moment(9, 4, 4));
        assert_eq!(delete, Some(Typed { deleted: 4..5, inserted: 4..4 }));
        assert_eq!(typed(moment(3, 3, 3), moment(10, 1, 1)), None);
    }

    fn delta() -> Vec<TextDelta> {
        // "0123456789" becomes "01ab567!89"
        vec![
            TextDelta::Retain(2),
            TextDelta::Delete(3),
            TextDelta::Insert("ab".into()),
            TextDelta::Retain(3),
            TextDelta::Insert("!".into()),
        ]
    }

    #[test]
    fn positions_stay_with_their_text() {
        let mapped: Vec<_> =
            [0, 2, 3, 5, 6, 8, 10].map(|at| map_position(&delta(), at, false)).into();
        assert_eq!(mapped, [0, 2, 2, 2, 5, 7, 10]);
        assert_eq!(map_position(&delta(), 8, true), 8);
        assert_eq!(map_position(&[TextDelta::Insert("ab".into())], 0, false), 0);
        assert_eq!(map_position(&[TextDelta::Insert("ab".into())], 0, true), 2);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]
    fn ranges_lose_what_is_deleted_and_take_nothing_in() {
        assert_eq!(map_ranges(&delta(), &[1..9]), [1..2, 4..7, 8..9]);
        assert!(map_ranges(&delta(), &[2..5]).is_empty());
        assert_eq!(map_ranges(&[], &[3..4]), [3..4]);
    }

    #[test]
    fn an_own_edit_ends_where_it_changed_last() {
        assert_eq!(end_of(&delta()), 8);
        assert_eq!(end_of(&[TextDelta::Retain(4), TextDelta::Delete(2)]), 4);
    }

    #[test]
    fn an_edit_is_a_delta_too() {
        let splice = diff("one two", "one 2 three", None).expect("they differ");
        assert_eq!(map_position(&delta_of(&splice), 7, true), 11);
        assert_eq!(end_of(&delta_of(&splice)), 11);
    }

    #[test]
    fn the_caret_tells_about_typing_but_not_about_replacing() {
        assert!(is_simple("insertText") && is_simple("deleteWordBackward"));
        assert!(!is_simple("insertReplacementText") && !is_simple("insertFromDrop"));
    }

    #[test]
    fn carriage_returns_are_counted_as_a_textarea_does() {
        let text = "a\r\nb\rc\n";
        assert_eq!(normalised(text), "a\nb\nc\n");
        let there: Vec<_> = (0..=6).map(|at| from_normalised(text, at)).collect();
        assert_eq!(there, [0, 1, 3, 4, 5, 6, 7]);
        assert!(there.iter().enumerate().all(|(at, there)| to_normalised(text, *there) == at));
    }

    #[test]
    fn units_and_scalars_are_inverse() {
        let text = "a😀é";
        assert_eq!((0..=3).map(|at| units(text, at)).collect::<Vec<_>>(), [0, 1, 3, 4]);
        assert_eq!((0..=4).map(|at| scalars(text, at)).collect::<Vec<_>>(), [0, 1, 1, 2, 3]);
    }
}
