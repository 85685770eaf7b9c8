//! Bodies of one edit of one text, read in place.
//!
//! Typing makes hardly any other blocks. One of them needs no lists of containers, names and
//! operations: what it says is found without allocating anything. All other bodies are decoded
//! whole ([`crate::op`]), and so is one that is not sound: that tells what is wrong with it.

use crate::codec::{Input, Writer};
use crate::container::ContainerKind;
use crate::op::{TextRun, decode_text_run};
use crate::text::RunKind;

/// The edit of a body, and where it stands there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'a> {
    /// The text's name at the top of the document.
    pub(crate) text: &'a str,
    pub(crate) run: TextRun<'a>,
    /// What stands before the position.
    head: &'a [u8],
    /// What stands after it.
    tail: &'a [u8],
}

impl<'a> Edit<'a> {
    /// Reads a body that takes `len` seqs, if it is sound and has nothing but one edit of a text at
    /// the top of the document.
    pub(crate) fn read(body: &'a [u8], len: u32) -> Option<Self> {
        let mut input = Input::new(body);
        // One container, of this kind, in nothing, by name.
        if input.take(4) != [1, ContainerKind::Text.code(), 0, 0] {
            return None;
        }
        let text = input.str();
        // No names; one operation, in the first container.
        if input.take(3) != [0, 1, 0] {
            return None;
        }
        let mut rest = input.clone();
        let run = decode_text_run(&mut input);
        if run.len != len || input.finish().is_err() {
            return None;
        }
        rest.u8();
        let head = &body[..body.len() - rest.remaining()];
        rest.varint();
        let tail = &body[body.len() - rest.remaining()..];
        Some(Self { text, run, head, tail })
    }

    /// Appends the body with the edit at another position.
    pub(crate) fn encode_at(&self, pos: u32, out: &mut Writer) {
        out.raw(self.head);
        out.varint(u64::from(pos));
        out.raw(self.tail);
    }
}

/// The position of an edit that goes on after one of a text or list.
pub(crate) fn next_position(kind: RunKind, pos: u32, len: u32) -> i64 {
    let next = match kind {
        RunKind::Delete => i64::from(pos) - 1,
        RunKind::Backspace => i64::from(pos) - i64::from(len),
        RunKind::Insert | RunKind::Aside => i64::from(pos) + i64::from(len),
    };
    next.max(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::container::ContainerId;
    use crate::op::{Action, Body, Op};

    /// A body, mostly of one edit of a text.
    fn body() -> impl Strategy<Value = Body> {
        let edit = (0..2usize, 0u8..8, 0u32..300, 1u32..5, "[a-zé😀]{1,4}");
        let op = edit.prop_map(|(container, kind, pos, len, text)| {
            let (kind, len, content) = match kind {
                0 => (RunKind::Delete, len, ""),
                1 => (RunKind::Backspace, len + 1, ""),
                _ => (RunKind::Insert, text.chars().count() as u32, &*text),
            };
            let content = content.into();
            Op { container: container / 2, action: Action::Text { kind, pos, len, content } }
        });
        (prop::collection::vec(op, 1..3), "[a-z]{0,3}", 0u8..5).prop_map(|(ops, name, kind)| {
            let id = ContainerId::root(&name);
            let (kind, id) = match kind {
                0 => (ContainerKind::Counter, id),
                1 => (ContainerKind::Text, id.entry("x")),
                _ => (ContainerKind::Text, id),
            };
            Body { containers: vec![(kind, id)], names: Vec::new(), ops }
        })
    }

    #[test]
    fn an_edit_that_goes_on_is_where_the_last_one_left_off() {
        let next = |kind| [(9, 2), (1, 1), (0, 3)].map(|(pos, len)| next_position(kind, pos, len));
        assert_eq!(next(RunKind::Insert), [11, 2, 3]);
        assert_eq!(next(RunKind::Backspace), [7, 0, 0]);
        assert_eq!(next(RunKind::Delete), [8, 0, 0]);
    }

    proptest! {
        /// It finds in any body, sound or not, what decoding all of it finds.
        #[test]
        fn it_reads_what_a_whole_body_says(
            body in body(),
            more in 0u32..2,
            damage in prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>())),
            moved in 0u32..70_000,
        ) {
            let mut out = Writer::new();
            body.encode(&mut out);
            let mut bytes = out.into_vec();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let len = body.ops.iter().map(Op::len).sum::<u32>() + more;
            let whole = Body::decode(&bytes, len).ok();
            let Some(edit) = Edit::read(&bytes, len) else {
                let is_edit = |body: &Body| {
                    let [(ContainerKind::Text, ContainerId::Root(_))] = body.containers[..] else {
                        return false;
                    };
                    matches!(body.ops[..], [Op { action: Action::Text { .. }, .. }])
                };
                prop_assert!(!whole.is_some_and(|body| is_edit(&body)));
                return Ok(());
            };
            let mut whole = whole.expect("what was read is sound");
            let text = (ContainerKind::Text, ContainerId::root(edit.text));
            prop_assert_eq!(&whole.containers[..], &[text]);
            let TextRun { kind, pos, len, content } = edit.run;
            let content = content.into();
            prop_assert_eq!(&whole.ops[0].action, &Action::Text { kind, pos, len, content });
            let [Op { action: Action::Text { pos, .. }, .. }] = &mut whole.ops[..] else {
                unreachable!("it is one edit");
            };
            *pos = moved;
            let (mut there, mut expected) = (Writer::new(), Writer::new());
            edit.encode_at(moved, &mut there);
            whole.encode(&mut expected);
            prop_assert_eq!(there.as_slice(), expected.as_slice());
        }
    }
}
