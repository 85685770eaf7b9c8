//! Operations as a change block's body has them.
//!
//! Text operations name positions, counted in Unicode scalars, in the text as its author saw it.
//! Each inserted or deleted scalar takes one seq; every other operation takes one. Marks name the
//! characters that they start and end at by id.

use std::sync::Arc;

use crate::cells::{CellOp, RowRef};
use crate::codec::{DecodeError, Input, Writer};
use crate::container::{ContainerId, ContainerKind};
use crate::gather::Gather;
use crate::graph::Lv;
use crate::sorting::sort_by;
use crate::text::{Piece, RunKind, Runs, goes_on, is_key};
use crate::value::Value;

/// What an operation does. Names in a [`CellOp`] are numbers in the body's list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Cell(CellOp),
    Text {
        kind: RunKind,
        pos: u32,
        len: u32,
        content: Arc<str>,
    },
    List {
        kind: RunKind,
        pos: u32,
        len: u32,
        values: Vec<Value>,
    },
    /// A list element goes to the slot position `pos`.
    Move {
        pos: u32,
        element: RowRef,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Op {
    /// A place in [`Body::containers`].
    pub(crate) container: usize,
    pub(crate) action: Action,
}

impl Op {
    /// How many seqs the operation takes.
    pub(crate) fn len(&self) -> u32 {
        match &self.action {
            Action::Cell(_) | Action::Move { .. } => 1,
            Action::Text { len, .. } | Action::List { len, .. } => *len,
        }
    }

    /// What it edits, if it is an insertion or deletion.
    fn run(&self) -> Option<Piece> {
        match &self.action {
            Action::Text { kind, pos, len, .. } | Action::List { kind, pos, len, .. } => {
                Some(Piece { len: *len, kind: *kind, pos: *pos, ..Piece::default() })
            }
            Action::Cell(_) | Action::Move { .. } => None,
        }
    }
}

/// A transaction: the containers and names that it uses, in order of first use, and its operations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Body {
    pub(crate) containers: Vec<(ContainerKind, ContainerId)>,
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) ops: Vec<Op>,
}

/// The codes of operations that name positions; those of others are smaller.
const INSERT: u8 = 16;
const DELETE: u8 = 17;
const BACKSPACE: u8 = 18;
const MOVE: u8 = 19;

fn run_code(kind: RunKind) -> u8 {
    match kind {
        RunKind::Delete => DELETE,
        RunKind::Backspace => BACKSPACE,
        RunKind::Insert | RunKind::Aside => INSERT,
    }
}

impl Body {
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.len(self.containers.len());
        for (kind, id) in &self.containers {
            out.u8(kind.code());
            id.encode(out);
        }
        out.len(self.names.len());
        for name in &self.names {
            out.str(name);
        }
        out.len(self.ops.len());
        for op in &self.ops {
            out.len(op.container);
            match &op.action {
                Action::Cell(CellOp::Opaque(bytes)) => out.bytes(bytes),
                Action::Cell(op) => op.encode(out),
                Action::Text { kind: RunKind::Insert, pos, content, .. } => {
                    out.u8(INSERT);
                    out.varint(u64::from(*pos));
                    out.str(content);
                }
                Action::List { kind: RunKind::Insert, pos, values, .. } => {
                    out.u8(INSERT);
                    out.varint(u64::from(*pos));
                    out.len(values.len());
                    values.iter().for_each(|value| value.encode(out));
                }
                Action::Text { kind, pos, len, .. } | Action::List { kind, pos, len, .. } => {
                    out.u8(run_code(*kind));
                    out.varint(u64::from(*pos));
                    out.varint(u64::from(*len));
                }
                Action::Move { pos, element } => {
                    out.u8(MOVE);
                    out.varint(u64::from(*pos));
                    element.encode(out);
                }
            }
        }
    }

    /// Reads a body, which must take exactly `len` seqs and be what [`Body::encode`] would write:
    /// one transaction has one encoding, so that hashes over it agree everywhere.
    pub(crate) fn decode(bytes: &[u8], len: u32) -> Result<Self, DecodeError> {
        let (mut containers, mut ops) = (Vec::new(), Vec::new());
        let names = read_body(&mut Input::new(bytes), len, &mut |part| match part {
            Part::Container(kind, id) => containers.push((kind, id)),
            Part::Op(op) => ops.push(op),
        })?;
        Ok(Self { containers, names: names.into_iter().map(Arc::from).gather(), ops })
    }

    /// Whether a body can be decoded. Nothing of it is kept, so that this takes little room,
    /// whatever it says.
    pub(crate) fn check(bytes: &[u8], len: u32) -> Result<(), DecodeError> {
        read_body(&mut Input::dry(bytes), len, &mut drop).map(drop)
    }

    /// Adds the operations of a container in a range of a log, of which `runs` say where things
    /// were put and deleted. `place` is that of the container here, which is added if it is new.
    pub(crate) fn take(
        &mut self,
        place: usize,
        (kind, id): (ContainerKind, &ContainerId),
        runs: &Runs,
        (start, end): (Lv, Lv),
        written: &mut dyn FnMut(Lv) -> Option<CellOp>,
    ) {
        if place == self.containers.len() {
            self.containers.push((kind, id.clone()));
        }
        let mut pieces = runs.pieces(start, end).gather();
        if !kind.is_sequence() {
            let kind = RunKind::Aside;
            pieces.push(Piece { start, len: end - start, kind, ..Piece::default() });
        }
        self.push(place, &pieces, runs, written);
    }

    /// Adds operations of one container that follow one another, in the one form that they are
    /// encoded in: `pieces` of `log`, which says where things were put and deleted, where all that
    /// is written elsewhere is an aside. `written` tells what an operation of a list, or an aside,
    /// wrote.
    pub(crate) fn push(
        &mut self,
        container: usize,
        pieces: &[Piece],
        log: &Runs,
        written: &mut dyn FnMut(Lv) -> Option<CellOp>,
    ) {
        let is_text = self.containers[container].0 == ContainerKind::Text;
        let mut open = Open { is_text, ..Open::default() };
        for piece in pieces {
            let is_written = match piece.kind {
                RunKind::Delete | RunKind::Backspace => false,
                RunKind::Insert => !is_text,
                RunKind::Aside => true,
            };
            if !is_written {
                open.push(*piece, log.content(piece.content));
                continue;
            }
            for offset in 0..piece.len {
                let pos = piece.pos_at(offset);
                let action = match written(piece.start + offset) {
                    Some(CellOp::Set(value)) if piece.kind == RunKind::Insert => {
                        open.values.push(value);
                        open.push(Piece { len: 1, pos, ..*piece }, "");
                        continue;
                    }
                    Some(CellOp::Move { element }) => Action::Move { pos, element },
                    Some(other) => Action::Cell(other),
                    // The page of the log that has it was not sound.
                    None => continue,
                };
                self.flush(container, &mut open);
                self.ops.push(Op { container, action });
            }
        }
        self.flush(container, &mut open);
    }

    fn flush(&mut self, container: usize, open: &mut Open) {
        let Open { runs, values, is_text, .. } = std::mem::take(open);
        open.is_text = is_text;
        let mut values = values.into_iter();
        for Piece { kind, pos, len, content, .. } in runs.pieces(0, u32::MAX) {
            let action = if is_text {
                Action::Text { kind, pos, len, content: runs.content(content).into() }
            } else {
                let count = if kind == RunKind::Insert { len as usize } else { 0 };
                Action::List { kind, pos, len, values: values.by_ref().take(count).gather() }
            };
            self.ops.push(Op { container, action });
        }
    }
}

/// A part of a body.
enum Part {
    Container(ContainerKind, ContainerId),
    Op(Op),
}

/// Reads a body: reports its parts, and returns its names.
fn read_body<'a>(
    input: &mut Input<'a>,
    len: u32,
    report: &mut dyn FnMut(Part),
) -> Result<Vec<&'a str>, DecodeError> {
    // Of each the bytes, which are its one encoding.
    let (mut containers, mut names) = (Vec::new(), Vec::new());
    for _ in 0..input.count(3) {
        let start = input.clone();
        report(Part::Container(ContainerKind::decode(input), ContainerId::decode(input)));
        containers.push(input.read_since(&start));
    }
    for _ in 0..input.count(1) {
        names.push(input.str());
    }
    let mut uses = Uses::default();
    let (mut total, mut last) = (0u64, None);
    for _ in 0..input.count(2) {
        let container = input.varint_usize();
        input.ensure(first_use(&mut uses.containers, container), "container order");
        let Some(id) = containers.get(container).filter(|_| input.is_sound()) else {
            input.fail(DecodeError::Invalid("container"));
            break;
        };
        let kind = ContainerKind::decode(&mut Input::new(id));
        let op = Op { container, action: decode_action(input, kind, &mut uses) };
        if !input.is_sound() {
            break;
        }
        if let Action::Cell(CellOp::Mark { key, .. }) = &op.action {
            input.ensure(names.get(*key as usize).is_some_and(|key| is_key(key)), "mark key");
        }
        total += u64::from(op.len());
        let run = op.run().map(|run| (container, run));
        if let (Some((before, last)), Some((_, run))) = (&last, &run)
            && *before == container
        {
            input.ensure(!goes_on(*last, *run), "operation runs");
        }
        last = run;
        report(Part::Op(op));
    }
    input.ensure(total == u64::from(len), "operation count");
    input.finish()?;
    let is_used_up = uses.containers == containers.len() && uses.names == names.len();
    if is_used_up && are_distinct(&containers) && are_distinct(&names) {
        Ok(names)
    } else {
        Err(DecodeError::Invalid("names or containers"))
    }
}

/// Edits of a text or list that follow one another, numbered from 0 on.
#[derive(Default)]
struct Open {
    is_text: bool,
    len: u32,
    runs: Runs,
    /// What is put into a list.
    values: Vec<Value>,
}

impl Open {
    fn push(&mut self, piece: Piece, text: &str) {
        self.runs.push_canonical(&Piece { start: self.len, ..piece }, text);
        self.len += piece.len;
    }
}

/// An edit of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextRun<'a> {
    pub(crate) kind: RunKind,
    pub(crate) pos: u32,
    pub(crate) len: u32,
    /// What it inserts.
    pub(crate) content: &'a str,
}

pub(crate) fn decode_text_run<'a>(input: &mut Input<'a>) -> TextRun<'a> {
    let code = input.u8();
    let pos = input.varint_u32();
    let mut content = "";
    let (kind, len) = match code {
        INSERT => {
            content = input.str();
            (RunKind::Insert, content.chars().count() as u32)
        }
        _ => decode_deletion(code, input),
    };
    check_run(kind, pos, len, input);
    TextRun { kind, pos, len, content }
}

fn decode_deletion(code: u8, input: &mut Input<'_>) -> (RunKind, u32) {
    match code {
        DELETE => (RunKind::Delete, input.varint_u32()),
        BACKSPACE => (RunKind::Backspace, input.varint_u32()),
        _ => (RunKind::Delete, input.refuse("operation kind")),
    }
}

fn check_run(kind: RunKind, pos: u32, len: u32, input: &mut Input<'_>) {
    let reaches_back = kind == RunKind::Backspace && (len < 2 || pos + 1 < len);
    let is_in = len > 0 && pos.checked_add(len).is_some_and(|end| end <= POS_MAX);
    input.ensure(is_in && !reaches_back, "position");
}

fn decode_list_run(input: &mut Input<'_>) -> Action {
    let code = input.u8();
    let pos = input.varint_u32();
    let mut values = Vec::new();
    let (kind, len) = match code {
        INSERT => {
            let count = input.count(1);
            for _ in 0..count {
                let value = Value::decode(input);
                if input.keeps() {
                    values.push(value);
                }
            }
            (RunKind::Insert, count as u32)
        }
        MOVE if pos < POS_MAX => {
            let element = RowRef::decode(input);
            input.ensure(is_by_id(element), "element");
            return Action::Move { pos, element };
        }
        _ => decode_deletion(code, input),
    };
    check_run(kind, pos, len, input);
    Action::List { kind, pos, len, values }
}

fn decode_action(input: &mut Input<'_>, kind: ContainerKind, uses: &mut Uses) -> Action {
    if matches!(kind, ContainerKind::Unknown(_)) {
        return Action::Cell(CellOp::Opaque(input.bytes().to_vec()));
    }
    if kind.is_sequence() && input.clone().u8() >= INSERT {
        if kind != ContainerKind::Text {
            return decode_list_run(input);
        }
        let TextRun { kind, pos, len, content } = decode_text_run(input);
        return Action::Text { kind, pos, len, content: content.into() };
    }
    let op = CellOp::decode_with(input, &mut |name| first_use(&mut uses.names, name as usize));
    // Lists hold what was set as runs, and move what they hold as those are.
    let is_run = kind.is_list() && matches!(op, CellOp::Set(_) | CellOp::Move { .. });
    let fits = op.fits(kind, uses.names) && !op.has_row(&|row| !is_by_id(row)) && !is_run;
    input.ensure(fits, "operation kind");
    Action::Cell(op)
}

/// Texts are shorter than this, in scalars.
pub(crate) const POS_MAX: u32 = 1 << 30;

fn is_by_id(row: RowRef) -> bool {
    matches!(row, RowRef::Stray(_))
}

/// How many of the lists were used so far, in order.
#[derive(Default)]
struct Uses {
    containers: usize,
    names: usize,
}

pub(crate) fn are_distinct<T: Ord>(items: &[T]) -> bool {
    are_ordered(items.len(), &|a, b| items[a].cmp(&items[b]).is_lt())
}

/// Whether so many items can be put in an order in which each is less than the next.
fn are_ordered(count: usize, is_less: &dyn Fn(usize, usize) -> bool) -> bool {
    if count < 2 {
        return true;
    }
    let mut places = (0..count).gather();
    sort_by(&mut places, |a, b| is_less(*a, *b));
    places.windows(2).all(|pair| is_less(pair[0], pair[1]))
}

fn first_use(seen: &mut usize, index: usize) -> bool {
    *seen += usize::from(index == *seen);
    index < *seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All short runs that there may be.
    fn runs() -> impl Iterator<Item = Piece> {
        let kinds = [RunKind::Insert, RunKind::Delete, RunKind::Backspace];
        let all = kinds.into_iter().flat_map(|kind| (0..64).map(move |at| (kind, at / 8, at % 8)));
        let all = all.map(|(kind, pos, len)| Piece { kind, pos, len, ..Piece::default() });
        all.filter(|Piece { kind, pos, len, .. }| {
            let mut input = Input::new(&[]);
            check_run(*kind, *pos, *len, &mut input);
            input.is_sound()
        })
    }

    #[test]
    fn runs_that_do_not_go_on_are_just_those_that_stay_apart_when_they_are_made_anew() {
        let what = |run: Piece| (run.kind, run.pos, run.len);
        for (last, next) in runs().flat_map(|last| runs().map(move |next| (last, next))) {
            let mut open = Open::default();
            open.push(last, "");
            open.push(next, "");
            let stay = open.runs.pieces(0, u32::MAX).map(what).eq([what(last), what(next)]);
            assert_eq!(goes_on(last, next), !stay, "{last:?} {next:?}");
        }
    }

    #[test]
    fn a_run_out_of_range_is_refused_wherever_it_stands() {
        let run = |kind, pos, len| Op {
            container: 0,
            action: Action::Text { kind, pos, len, content: "".into() },
        };
        let containers = vec![(ContainerKind::Text, ContainerId::root("t"))];
        for (kind, pos, len) in
            [(RunKind::Backspace, 0, 4), (RunKind::Delete, POS_MAX, 1), (RunKind::Delete, 7, 0)]
        {
            for ops in
                [vec![run(kind, pos, len)], vec![run(RunKind::Delete, 1, 1), run(kind, pos, len)]]
            {
                let total = ops.iter().map(Op::len).sum();
                let mut out = Writer::new();
                Body { containers: containers.clone(), names: Vec::new(), ops }.encode(&mut out);
                let bytes = out.into_vec();
                let refused = DecodeError::Invalid("position");
                assert_eq!(Body::decode(&bytes, total).map(drop), Err(refused));
                assert_eq!(Body::check(&bytes, total), Err(refused));
            }
        }
    }

    #[test]
    fn what_is_there_twice_is_found_wherever_it_stands() {
        assert!(are_distinct::<u8>(&[]) && are_distinct(&[1]) && are_distinct(&[3, 1, 2]));
        for twice in [&[1, 1][..], &[1, 2, 1], &[2, 1, 1], &[1, 1, 2], &[4, 3, 2, 1, 4]] {
            assert!(!are_distinct(twice), "{twice:?}");
        }
    }
}
