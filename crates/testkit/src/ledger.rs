//! What is written, and what a document that holds it must look like in every state that anybody
//! ever sees.
//!
//! A *ledger* is a document in which each change, a **token**, is written to four containers in
//! one transaction: its character into a text, a row into a table, its weight onto a counter, its
//! number into a register. A token may take out an earlier one: from the text and the table, and
//! note it in a map, in the same transaction. From the four alone follows whether a transaction is
//! there in half, something is doubled, or something is there that nobody wrote.

use std::collections::BTreeSet;

use leptos_sync_crdt::{Block, Doc, Expand, RowId, Transaction, Value, VersionVector};

use crate::planted::{Bug, is_planted};

/// One change that the simulator made.
pub(crate) type Token = u32;

/// The id of the document that is a sketch; the others are ledgers.
pub(crate) const SKETCH: &str = "sketch";

const FIRST_CHARACTER: u32 = 0x4e00;

/// How many tokens have characters of their own.
pub(crate) const TOKENS_MAX: u32 = 20_000;

fn character(token: Token) -> char {
    char::from_u32(FIRST_CHARACTER + token).expect("tokens are few")
}

fn weight(token: Token) -> i64 {
    i64::from((token.wrapping_mul(2_654_435_761) >> 8) & 0xffff) + 1
}

/// Writes a token, and takes out the one that stands at `take_out` of the text.
pub(crate) fn write(
    tx: &mut Transaction<'_>,
    token: Token,
    at: usize,
    take_out: Option<usize>,
    padding: usize,
) {
    let gone = take_out.and_then(|at| {
        let text = tx.doc().text("note");
        let found = text.slice(at, at + 1).chars().next()?;
        Some((at, found as u32 - FIRST_CHARACTER))
    });
    if let Some((at, gone)) = gone {
        if !is_planted(Bug::DropsADelete) {
            tx.text("note").delete(at, 1).expect("in range");
        }
        let row = row_of(tx.doc(), gone);
        if let Some(row) = row {
            tx.table("rows").remove(row).expect("a row that is there");
        }
        tx.map("gone").set(&gone.to_string(), true);
    }
    let len = tx.doc().text("note").len();
    let text = character(token).to_string();
    tx.text("note").insert(at % (len + 1), &text).expect("in range");
    let mut fields = vec![("n", Value::from(i64::from(token)))];
    if padding > 0 {
        fields.push(("padding", Value::from("x".repeat(padding))));
    }
    tx.table("rows").insert(fields);
    if !is_planted(Bug::AppliesHalf) || !token.is_multiple_of(5) {
        tx.counter("sum").add(weight(token));
    }
    tx.register("last").set(i64::from(token));
}

fn row_of(doc: &Doc, token: Token) -> Option<RowId> {
    let table = doc.table("rows");
    let mut rows = table.rows();
    rows.find(|row| table.get(*row, "n") == Some(Value::from(i64::from(token))))
}

/// The tokens that a ledger holds, those taken out included.
///
/// # Errors
/// A sentence that says what cannot be.
pub(crate) fn read(doc: &Doc) -> Result<BTreeSet<Token>, String> {
    let text: Vec<Token> =
        doc.text("note").to_string().chars().map(|c| c as u32 - FIRST_CHARACTER).collect();
    let table = doc.table("rows");
    let mut rows = Vec::with_capacity(text.len());
    for row in table.rows() {
        match table.get(row, "n") {
            Some(Value::I64(n)) => rows.push(n as Token),
            other => return Err(format!("row {row:?} holds {other:?}")),
        }
    }
    let in_text: BTreeSet<Token> = text.iter().copied().collect();
    let in_rows: BTreeSet<Token> = rows.iter().copied().collect();
    if in_text.len() != text.len() {
        return Err(format!("a token is in the text twice: {text:?}"));
    }
    if in_rows.len() != rows.len() {
        return Err(format!("a token is in the table twice: {rows:?}"));
    }
    if in_text != in_rows {
        let differ: Vec<_> = in_text.symmetric_difference(&in_rows).collect();
        return Err(format!("half a transaction: {differ:?} only in the text or the table"));
    }
    let gone: BTreeSet<Token> = doc.map("gone").keys().filter_map(|key| key.parse().ok()).collect();
    if let Some(token) = gone.intersection(&in_text).next() {
        return Err(format!("token {token} was taken out and is there"));
    }
    let all: BTreeSet<Token> = in_text.union(&gone).copied().collect();
    let sum: i64 = all.iter().map(|token| weight(*token)).sum();
    let counted = doc.counter("sum");
    if sum != counted {
        return Err(format!("the counter says {counted}, the tokens {all:?} weigh {sum}"));
    }
    match doc.register("last") {
        Some(Value::I64(last)) if all.contains(&(last as Token)) => {}
        None if all.is_empty() => {}
        other => return Err(format!("the register says {other:?}, the tokens are {all:?}")),
    }
    Ok(all)
}

/// Everything that a document of either kind shows, for comparison.
pub(crate) fn dump(doc: &Doc) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let _ = write!(out, "{}|{}|", doc.text("note"), doc.counter("sum"));
    for span in doc.text("note").spans().iter().filter(|span| !span.marks.is_empty()) {
        let _ = write!(out, "{}..{} {:?};", span.start, span.end, span.marks);
    }
    let table = doc.table("rows");
    for row in table.rows() {
        let _ = write!(out, "{row:?}");
        for (field, value) in table.fields(row) {
            let _ = write!(out, "{field}={value:?};");
        }
    }
    for name in ["gone", "map"] {
        let mut entries: Vec<_> = doc.map(name).iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        let _ = write!(out, "|{entries:?}");
    }
    let _ = write!(out, "|{:?}|{:?}", doc.register("last"), doc.register("x"));
    let _ = write!(out, "|{:?}", doc.list("list").iter().collect::<Vec<_>>());
    let _ = write!(out, "|{:?}", doc.movable_list("moves").iter().collect::<Vec<_>>());
    let _ = write!(out, "|{:?}", doc.tree("tree").walk().collect::<Vec<_>>());
    let _ = write!(out, "|{}|{}", doc.counter("left"), doc.counter("right"));
    out
}

/// All changes of a document as they are encoded, in the order of their names.
pub(crate) fn blocks(doc: &Doc) -> Vec<Block> {
    let mut blocks = doc.blocks_since(&VersionVector::new());
    blocks.sort_by_key(|block| (block.peer(), block.seq()));
    blocks
}

/// One of the changes that a *sketch*, the other kind of document, is made of: everything there
/// is, with undo, and two counters that are only ever changed together, to opposite sides.
pub(crate) fn scribble(tx: &mut Transaction<'_>, token: Token, kind: u8, at: usize) {
    let number = i64::from(token);
    match kind % 8 {
        0 => {
            let len = tx.doc().text("note").len();
            let word = format!("w{token} ");
            tx.text("note").insert(at % (len + 1), &word).expect("in range");
        }
        1 => {
            let len = tx.doc().text("note").len();
            if len > 0 {
                tx.text("note").delete(at % len, 1 + at % (len - at % len).min(4)).ok();
            }
        }
        2 => {
            let len = tx.doc().list("list").len();
            tx.list("list").insert(at % (len + 1), number).expect("in range");
        }
        3 => {
            let len = tx.doc().movable_list("moves").len();
            if len > 1 {
                let to = (at / 7) % len;
                tx.movable_list("moves").move_to(at % len, to).expect("in range");
            } else {
                tx.movable_list("moves").insert(0, number).expect("in range");
            }
        }
        4 => scribble_tree(tx, at),
        5 => tx.map("map").set(&(at % 4).to_string(), number),
        6 => tx.register("x").set(number),
        _ => {
            let len = tx.doc().list("list").len();
            if len > 0 {
                tx.list("list").remove(at % len).expect("in range");
            }
        }
    }
    balance(tx, token);
}

/// Marks a part of a sketch's text, or takes marks back, having typed some if there is none.
pub(crate) fn mark(tx: &mut Transaction<'_>, token: Token, kind: u64, at: usize) {
    if tx.doc().text("note").is_empty() {
        tx.text("note").insert(0, &format!("w{token} ")).expect("in range");
    }
    let len = tx.doc().text("note").len();
    let from = at % len;
    let range = from..from + 1 + (at / 3) % (len - from);
    let key = if at.is_multiple_of(2) { "bold" } else { "colour" };
    let mut text = tx.text("note");
    let mut put = |expand| text.mark(range.clone(), key, i64::from(token), expand);
    let done = match kind % 6 {
        0 => put(Expand::None),
        1 => put(Expand::Before),
        2 => put(Expand::After),
        3 => put(Expand::Both),
        _ => text.unmark(range, key),
    };
    done.expect("in range");
    balance(tx, token);
}

/// What every change of a sketch does beside what it is about.
fn balance(tx: &mut Transaction<'_>, token: Token) {
    tx.counter("left").add(weight(token));
    tx.counter("right").add(-weight(token));
}

fn scribble_tree(tx: &mut Transaction<'_>, at: usize) {
    let nodes: Vec<_> = tx.doc().tree("tree").walk().map(|(_, node)| node).collect();
    let parent = (!nodes.is_empty() && !at.is_multiple_of(3)).then(|| nodes[at % nodes.len()]);
    if nodes.len() > 3 && at.is_multiple_of(2) {
        let moved = nodes[(at / 5) % nodes.len()];
        // Below itself it may not go.
        tx.tree("tree").move_to(moved, parent, 0).ok();
    } else {
        tx.tree("tree").create(parent, 0).expect("the first place is always there");
    }
}
