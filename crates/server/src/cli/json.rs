//! A document as JSON for people and scripts: what is in it now, not how it came about.

use std::collections::BTreeMap;
use std::iter::successors;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use leptos_sync_crdt::{
    ContainerId, ContainerKind, Doc, DocId, MAX_NESTING, NodeId, RowId, Span, Text, Value,
};
use serde_json::{Map, Value as Json, json};

/// The document as indented JSON.
pub(crate) fn document(id: &DocId, doc: &Doc) -> Result<String> {
    let version: Map<String, Json> =
        doc.version().iter().map(|(peer, count)| (peer.to_string(), json!(count))).collect();
    let cells = cells(doc);
    let mut registers = Map::new();
    let mut maps = Map::new();
    let mut tables = Map::new();
    let mut lists = Map::new();
    let mut trees = Map::new();
    for (kind, name) in doc.roots() {
        match kind {
            ContainerKind::Register => {
                registers.insert(name.into(), container(doc, kind, &ContainerId::root(name)));
            }
            ContainerKind::Map => {
                maps.insert(name.into(), container(doc, kind, &ContainerId::root(name)));
            }
            ContainerKind::List | ContainerKind::MovableList => {
                lists.insert(name.into(), container(doc, kind, &ContainerId::root(name)));
            }
            ContainerKind::Tree => {
                trees.insert(name.into(), container(doc, kind, &ContainerId::root(name)));
            }
            ContainerKind::Table => {
                tables.insert(name.into(), table(doc, name, &cells));
            }
            _ => {}
        }
    }
    let mut counters = Map::new();
    for (id, value) in doc.counters() {
        if let ContainerId::Root(name) = id {
            counters.insert(name.to_string(), json!(value));
        }
    }
    let mut texts = Map::new();
    for (id, text) in doc.texts() {
        if let ContainerId::Root(name) = id {
            texts.insert(name.to_string(), shown(&text));
        }
    }
    let document = json!({
        "id": id.as_str(),
        "changes": doc.block_count(),
        "bytes": doc.encode_snapshot().len(),
        "version": version,
        "registers": registers,
        "maps": maps,
        "lists": lists,
        "trees": trees,
        "tables": tables,
        "counters": counters,
        "texts": texts,
    });
    serde_json::to_string_pretty(&document).context("cannot write JSON")
}

/// What counters and texts in rows hold: by table and row, the field and its content.
type Cells = BTreeMap<(Arc<str>, RowId), Vec<(String, Json)>>;

fn cells(doc: &Doc) -> Cells {
    let counters = doc.counters().map(|(id, value)| (id, json!(value)));
    let texts = doc.texts().map(|(id, text)| (id, shown(&text)));
    let mut cells = Cells::new();
    for (id, content) in counters.chain(texts) {
        if let ContainerId::Cell { table, row, field } = id {
            let entry = cells.entry((table.clone(), *row)).or_default();
            entry.push((field.to_string(), content));
        }
    }
    cells
}

/// A table's rows in their order, each with its counters and texts among its fields.
fn table(doc: &Doc, name: &str, cells: &Cells) -> Json {
    let table = doc.table(name);
    let name: Arc<str> = name.into();
    let rows = table.rows().map(|row| {
        let mut fields: Map<String, Json> =
            table.fields(row).map(|(field, of)| (field.to_owned(), value(&of))).collect();
        fields.extend(cells.get(&(name.clone(), row)).into_iter().flatten().cloned());
        json!({ "row": row.to_string(), "fields": fields })
    });
    Json::Array(rows.collect())
}

/// A text as a string; if something in it is marked, as stretches with their marks.
fn shown(text: &Text<'_>) -> Json {
    let spans = text.spans();
    if spans.iter().all(|span| span.marks.is_empty()) {
        return json!(text.to_string());
    }
    let span = |span: Span| {
        let marks = span.marks.iter().map(|(key, of)| (key.to_string(), value(of)));
        json!({ "text": span.text, "marks": marks.collect::<Map<String, Json>>() })
    };
    Json::Array(spans.into_iter().map(span).collect())
}

/// What a container holds, with the containers nested in it. Their ids bound how deep that goes.
fn container(doc: &Doc, kind: ContainerKind, id: &ContainerId) -> Json {
    match kind {
        ContainerKind::Register => doc.register(id).map_or(Json::Null, |of| value(&of)),
        ContainerKind::Counter => json!(doc.counter(id)),
        ContainerKind::Text => shown(&doc.text(id)),
        ContainerKind::Map => {
            let map = doc.map(id);
            let entry = |(key, of): (&str, Value)| {
                let nested = map.nested(key).map(|(kind, id)| container(doc, kind, &id));
                (key.to_owned(), nested.unwrap_or_else(|| value(&of)))
            };
            Json::Object(map.iter().map(entry).collect())
        }
        ContainerKind::List | ContainerKind::MovableList => {
            let is_plain = kind == ContainerKind::List;
            let list = if is_plain { doc.list(id) } else { doc.movable_list(id) };
            let element = |(index, of): (usize, Value)| {
                let nested = list.nested(index).map(|(kind, id)| container(doc, kind, &id));
                nested.unwrap_or_else(|| value(&of))
            };
            Json::Array(list.iter().enumerate().map(element).collect())
        }
        // Flat, since trees may be deeper than what reads JSON can go.
        ContainerKind::Tree => {
            let has_room = successors(id.parent(), |id| id.parent()).count() < MAX_NESTING;
            let node = |(depth, node): (usize, NodeId)| {
                let fields = has_room.then(|| id.clone().element(node.0));
                let fields = fields.map(|id| container(doc, ContainerKind::Map, &id));
                json!({ "node": node.to_string(), "depth": depth, "fields": fields })
            };
            Json::Array(doc.tree(id).walk().map(node).collect())
        }
        _ => Json::Null,
    }
}

/// Bytes become `{"bytes": "<hex>"}`; floats that JSON cannot say become text.
fn value(of: &Value) -> Json {
    match of {
        Value::Null => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::I64(number) => json!(number),
        Value::F64(number) if number.is_finite() => json!(number),
        Value::F64(number) => json!(number.to_string()),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "bytes": hex })
        }
        Value::List(items) => Json::Array(items.iter().map(value).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, of)| (key.to_owned(), value(of))).collect())
        }
        Value::Container(_) => Json::Null,
    }
}
