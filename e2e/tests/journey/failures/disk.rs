//! What a browser's IndexedDB holds, read beside the app.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use e2e::Page;
use serde_json::Value;

const OPEN: &str = "const open = () => new Promise((done, fail) => { \
                      const request = indexedDB.open('notebook'); \
                      request.onsuccess = () => done(request.result); \
                      request.onerror = () => fail(request.error); }); \
                    const answer = (request) => new Promise((done, fail) => { \
                      request.onsuccess = () => done(request.result); \
                      request.onerror = () => fail(request.error); });";

/// Runs `code` with the open database `db`, and closes that; null if there is none. Opening would
/// make it. What is cleared meanwhile may never answer: that fails after some seconds.
async fn read(page: &Page, code: &str) -> Result<Value> {
    let script = format!(
        "(async () => {{ {OPEN} \
         const late = new Promise((_, fail) => setTimeout(fail, 5000, 'no answer from the disk')); \
         const all = await Promise.race([indexedDB.databases(), late]); \
         if (!all.some(({{ name }}) => name === 'notebook')) return; \
         const db = await Promise.race([open(), late]); \
         const read = async () => {{ {code} }}; \
         try {{ return await Promise.race([read(), late]); }} finally {{ db.close() }} }})()"
    );
    page.eval(&script).await
}

/// The mark that says that nothing was erased, if it is there.
pub(super) async fn mark(page: &Page) -> Result<Option<String>> {
    let code = "const meta = db.transaction('meta').objectStore('meta'); \
                const mark = await answer(meta.get('kept')); \
                return mark && [...mark].join();";
    Ok(read(page, code).await?.as_str().map(str::to_owned))
}

/// Whose changes are stored one by one, not in a snapshot.
pub(crate) async fn authors(page: &Page) -> Result<BTreeSet<String>> {
    let code = "const blocks = db.transaction('blocks').objectStore('blocks'); \
                return await answer(blocks.getAllKeys());";
    let keys = read(page, code).await?;
    let author = |key: &Value| Some(key[1].as_str()?.to_owned());
    Ok(keys.as_array().into_iter().flatten().filter_map(author).collect())
}

/// Checks that the stored changes of each author follow one another without a gap, from the
/// document's snapshot on if there is one.
pub(super) async fn unbroken_chains(page: &Page) -> Result<()> {
    let code = "const stores = db.transaction(['blocks', 'snapshots']); \
                return await Promise.all(['blocks', 'snapshots'].map((store) => \
                  answer(stores.objectStore(store).getAllKeys())));";
    let found = read(page, code).await?;
    let (keys, snapshots) = (&found[0], &found[1]);
    let snapshots = snapshots.as_array().context("a list of documents")?;
    let mut chains: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
    for key in keys.as_array().context("a list of keys")? {
        let part = |at: usize| key[at].as_str().unwrap_or_default().to_owned();
        let number = |at: usize| key[at].as_u64().context("a number in a key");
        chains.entry((part(0), part(1))).or_default().push((number(3)?, number(2)?));
    }
    for ((doc, peer), mut records) in chains {
        records.sort_unstable();
        let is_covered = snapshots.iter().any(|covered| covered.as_str() == Some(&doc));
        let mut next = if is_covered { records[0].0 } else { 0 };
        for (seq, end) in records {
            ensure!(seq <= next, "{doc}: of {peer} {next}..{seq} is missing");
            next = next.max(end);
        }
    }
    Ok(())
}
