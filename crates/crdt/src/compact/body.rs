//! A body by how it differs from what its author was expected to write.

use super::{LEN, MOVED, TAIL};
use crate::block::Block;
use crate::codec::{DecodeError, Reader, Writer};
use crate::edit::{Edit, next_position};
use crate::op::{Action, Op, TextRun};

/// The position of an edit of a text or list, and the one of the edit that goes on after it.
fn position(op: &mut Op) -> Option<(&mut u32, i64)> {
    let (Action::Text { kind, pos, len, .. } | Action::List { kind, pos, len, .. }) =
        &mut op.action
    else {
        return None;
    };
    let next = next_position(*kind, *pos, *len);
    Some((pos, next))
}

/// Appends the body of `last` again, an edit at its end gone on, and moved by so much.
fn put_expected(last: &Block, moved: i64, out: &mut Writer) -> Option<()> {
    let there = |next: i64| u32::try_from(next.checked_add(moved)?).ok();
    if let Some(edit) = Edit::read(last.body_bytes(), last.header().len) {
        let TextRun { kind, pos, len, .. } = edit.run;
        edit.encode_at(there(next_position(kind, pos, len))?, out);
        return Some(());
    }
    let mut body = last.body().unwrap_or_default();
    match body.ops.last_mut().and_then(position) {
        Some((pos, next)) => {
            *pos = there(next)?;
            body.encode(out);
            Some(())
        }
        None => (moved == 0).then(|| out.raw(last.body_bytes())),
    }
}

/// By how much an edit at the end of `block` is from where it was expected.
fn moved(last: &Block, block: &Block) -> Option<i64> {
    let (mut last, mut body) = (last.body().ok()?, block.body().ok()?);
    let (_, next) = position(last.ops.last_mut()?)?;
    let (pos, _) = position(body.ops.last_mut()?)?;
    Some(i64::from(*pos) - next)
}

/// The shortest form of the body, and its fields.
pub(super) fn shorten(last: &Block, block: &Block) -> Option<(u64, Vec<u8>)> {
    // Most often it is as expected, but for a letter.
    shorten_as(0, 0, last, block).or_else(|| {
        let moved = moved(last, block).unwrap_or(0);
        let forms = (MOVED..=LEN).filter_map(|form| shorten_as(form, moved, last, block));
        forms.min_by_key(|(_, fields)| fields.len())
    })
}

fn shorten_as(form: u64, moved: i64, last: &Block, block: &Block) -> Option<(u64, Vec<u8>)> {
    let (len, body) = (block.header().len, block.body_bytes());
    if form != LEN && len != last.header().len {
        return None;
    }
    let mut out = Writer::new();
    let moved = if form & MOVED == 0 { 0 } else { moved };
    let mut expected = Writer::new();
    put_expected(last, moved, &mut expected)?;
    let expected = expected.as_slice();
    let same = expected.iter().zip(body).take_while(|(a, b)| a == b).count();
    // At least a byte: it is what the shortest form says.
    let kept = same.min(expected.len().saturating_sub(1)).min(body.len().saturating_sub(1));
    let (dropped, added) = (expected.len() - kept, body.len() - kept);
    if form & MOVED != 0 {
        out.varint_i64(moved);
    }
    if form == LEN {
        out.varint(u64::from(len));
    }
    if form & TAIL != 0 {
        out.len((expected.len() + 1) * added + dropped);
    } else if (dropped, added) != (1, 1) {
        return None;
    }
    out.raw(&body[kept..]);
    Some((form, out.into_vec()))
}

/// Makes `body` the block's; returns how many seqs the block takes.
pub(super) fn restore(
    last: &Block,
    head: u64,
    input: &mut Reader<'_>,
    body: &mut Vec<u8>,
) -> Result<u32, DecodeError> {
    let moved = if head & MOVED == 0 { 0 } else { input.varint_i64()? };
    let len = if head & LEN == LEN { input.varint_u32()? } else { last.header().len };
    body.clear();
    let mut expected = Writer::from_vec(std::mem::take(body));
    put_expected(last, moved, &mut expected).ok_or(DecodeError::Invalid("position"))?;
    *body = expected.into_vec();
    let (mut dropped, mut added) = (1, 1);
    if head & TAIL != 0 {
        let (tail, base) = (input.varint()?, body.len() as u64 + 1);
        (dropped, added) = ((tail % base) as usize, tail / base);
    }
    let kept = body.len().checked_sub(dropped).ok_or(DecodeError::Invalid("tail"))?;
    let added = input.take(usize::try_from(added).map_err(|_| DecodeError::IntegerRange)?)?;
    body.truncate(kept);
    body.extend_from_slice(added);
    Ok(len)
}
