// Yjs under Node.js on the workloads of the bench: the same edits, every result checked before its
// time counts, medians. Writes rows {workload, engine, metric, value, unit} as JSON.
//
//   node bench.mjs FOLDER FILE [RUNS]
//
// FOLDER is what the bench wrote with --export. Node.js compiles code while it runs, so a first run
// of each measurement is not counted.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import * as Y from "yjs";

const [folder, output, runsWanted] = process.argv.slice(2);
const runs = Number(runsWanted ?? 5);
const rows = [];

const note = (workload, metric, value, unit) =>
  rows.push({ workload, engine: "Yjs (node)", metric, value, unit });

const check = (holds, message) => {
  if (!holds) throw new Error(message);
};

/** The median time in milliseconds of what `work` does to what `prepare` made. */
function time(prepare, work) {
  const times = [];
  for (let run = 0; run <= runs; run += 1) {
    const prepared = prepare();
    const start = performance.now();
    work(prepared);
    if (run > 0) times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

const kilobytes = (bytes) => bytes.length / 1000;
const stored = (bytes) => kilobytes(deflateRawSync(bytes, { level: 9 }));

function edit(doc, [pos, deleted, inserted]) {
  const text = doc.getText("text");
  doc.transact(() => {
    if (deleted > 0) text.delete(pos, deleted);
    if (inserted.length > 0) text.insert(pos, inserted);
  });
}

function newDoc(client) {
  // Deleted text is kept, as the others keep it: a history without it is less than theirs.
  const doc = new Y.Doc({ gc: false });
  doc.clientID = client;
  return doc;
}

function written(trace) {
  const doc = newDoc(1);
  if (trace.start.length > 0) edit(doc, [0, 0, trace.start]);
  for (const patch of trace.patches) edit(doc, patch);
  return doc;
}

function loaded(update) {
  const doc = newDoc(2);
  Y.applyUpdateV2(doc, update);
  check(doc.getText("text").length >= 0, "no text");
  return doc;
}

function text(workload, trace) {
  const doc = written(trace);
  check(doc.getText("text").toString() === trace.end, "the text written is not the trace's");
  const local = time(() => null, () => written(trace));
  note(workload, "local edits", local, "ms");
  note(workload, "local edit", (local * 1e6) / trace.patches.length, "ns");
  const history = Y.encodeStateAsUpdateV2(doc);
  note(workload, "encode history", time(() => null, () => Y.encodeStateAsUpdateV2(doc)), "ms");
  note(workload, "history", kilobytes(history), "KB");
  note(workload, "history, stored", stored(history), "KB");
  check(loaded(history).getText("text").toString() === trace.end, "the text loaded is another");
  note(workload, "load history", time(() => null, () => loaded(history)), "ms");
}

/** Makes one edit and returns the update that others get. */
function produce(doc, patch) {
  let update = null;
  const listener = (bytes) => {
    update = bytes;
  };
  doc.on("update", listener);
  edit(doc, patch);
  doc.off("update", listener);
  return update;
}

function stream(workload, trace) {
  const produced = () => {
    const doc = newDoc(1);
    return trace.patches.map((patch) => produce(doc, patch));
  };
  const updates = produced();
  const count = updates.length;
  note(workload, "produce an update", (time(() => null, produced) * 1e3) / count, "µs");
  const bytes = updates.reduce((sum, update) => sum + update.length, 0);
  note(workload, "an update", bytes / count, "B");
  const receive = (doc) => updates.forEach((update) => Y.applyUpdate(doc, update));
  const reader = newDoc(2);
  receive(reader);
  check(reader.getText("text").toString() === trace.end, "the reader has another text");
  note(workload, "receive an update", (time(() => newDoc(2), receive) * 1e3) / count, "µs");
}

function offline2(workload, { start, branches }) {
  const ada = newDoc(1);
  const first = produce(ada, [0, 0, start]);
  const ben = newDoc(2);
  Y.applyUpdate(ben, first);
  const updates = [ada, ben].map((doc, who) => branches[who].map((patch) => produce(doc, patch)));
  const [hers, his] = updates;
  const receive = (doc, list) => list.forEach((update) => Y.applyUpdate(doc, update));
  const alone = () => {
    const doc = newDoc(3);
    receive(doc, [first, ...hers]);
    return doc;
  };
  const both = alone();
  receive(both, his);
  const other = newDoc(4);
  receive(other, [first, ...his, ...hers]);
  const merged = both.getText("text").toString();
  check(merged === other.getText("text").toString(), "the order of arrival shows in the text");
  const one = time(alone, (doc) => receive(doc, his));
  note(workload, "receive one by one", (one * 1e3) / his.length, "µs");
  const history = Y.encodeStateAsUpdateV2(both);
  note(workload, "history, stored", stored(history), "KB");
  check(loaded(history).getText("text").toString() === merged, "merging at once gives another text");
  note(workload, "merge at once", time(() => null, () => loaded(history)), "ms");
}

function records(workload, list) {
  const insert = (doc, some) =>
    doc.transact(() => {
      const table = doc.getMap("rows");
      for (const [id, record] of some) table.set(id, new Y.Map(Object.entries(record)));
    });
  const named = list.map((record, index) => [String(index), record]);
  const filled = () => {
    const doc = newDoc(1);
    insert(doc, named);
    return doc;
  };
  note(workload, "insert, one change", time(() => null, filled), "ms");
  const apart = (doc) => named.forEach((record) => insert(doc, [record]));
  note(workload, "insert, a change each", time(() => newDoc(1), apart), "ms");
  const doc = filled();
  const bytes = Y.encodeStateAsUpdateV2(doc);
  note(workload, "encode", time(() => null, () => Y.encodeStateAsUpdateV2(doc)), "ms");
  note(workload, "bytes", kilobytes(bytes), "KB");
  note(workload, "bytes, stored", stored(bytes), "KB");
  const middle = named[list.length >> 1];
  const one = () => loaded(bytes).getMap("rows").get(middle[0]).get("title");
  check(one() === middle[1].title, "a record reads otherwise");
  note(workload, "load and read one", time(() => null, one), "ms");
  const all = () => {
    let length = 0;
    for (const row of loaded(bytes).getMap("rows").values()) {
      for (const value of row.values()) length += String(value).length;
    }
    return length;
  };
  note(workload, "load and read all", time(() => null, all), "ms");
  const change = (doc) =>
    doc.transact(() => {
      for (let i = 0; i < 1000; i += 1) {
        doc.getMap("rows").get(String((i * 7919) % list.length)).set("priority", 100 + i);
      }
    });
  note(workload, "change 1,000 fields", time(() => loaded(bytes), change), "ms");
  const changed = loaded(bytes);
  const before = Y.encodeStateVector(changed);
  change(changed);
  const delta = Y.encodeStateAsUpdateV2(changed, before);
  note(workload, "the change", kilobytes(delta), "KB");
  const apply = (doc) => Y.applyUpdateV2(doc, delta);
  note(workload, "apply the change", time(() => loaded(bytes), apply), "ms");
}

const kinds = { text, stream, offline2, records };
for (const file of readdirSync(folder).sort()) {
  const { workload, kind, content } = JSON.parse(readFileSync(join(folder, file), "utf8"));
  console.error(`${workload} Yjs (node) …`);
  kinds[kind](workload, content);
}
writeFileSync(output, JSON.stringify(rows));
