//! The browser's storage is full, taken, upgraded, or cleared.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Notebook, Page, SOON, Server, perform};
use serde_json::{Value, json};

use super::disk::mark;
use super::{PATIENCE, append, is_unstored};

/// The engine gives up waiting for another tab after five seconds.
const BLOCKED_WITHIN: Duration = Duration::from_secs(10);

async fn set_quota(page: &Page, server: &Server, bytes: Option<u64>) -> Result<Value> {
    let mut params = json!({ "origin": server.url("") });
    if let Some(bytes) = bytes {
        params["quotaSize"] = bytes.into();
    }
    page.call("Storage.overrideQuotaForOrigin", params).await
}

/// The browser tells of it only when the transaction aborts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_quota_changes_reach_the_server_and_storing_resumes_when_there_is_room()
-> Result<()> {
    perform("quota", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "full").await?;
        append(&ann, "stored").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_stored().await?;
        ann.wait_until_installed().await?;
        // For half a minute after a look at the quota a browser does not look again.
        browser.close().await?;
        let browser = stage.browser("ann").await?;
        let settings = bystander(&browser, &server).await?;

        set_quota(&settings, &server, Some(1)).await?;
        let ann = Notebook::open(&browser, &server, "full").await?;
        ann.wait_for_part("stored").await?;
        append(&ann, ", not stored").await?;
        let full = |badge: &e2e::Badge| is_unstored(badge, "no room") && badge.pending == 0;
        let badge = ann.wait_for_badge("it is only at the server, and says so", full).await?;
        println!("    full: {}", badge.says);
        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "full").await?;
        ben.wait_for_part("stored, not stored").await?;

        set_quota(&settings, &server, None).await?;
        ann.page().wait_for(STORED, PATIENCE).await.context("writing resumes")?;
        ann.wait_for_badge("the warning is gone", |badge| badge.says == "Saved").await?;
        append(&ann, ", stored again").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_stored().await?;
        server.kill();
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        ann.wait_for_part("stored, not stored, stored again").await?;
        Ok(())
    })
    .await
}

const STORED: &str =
    "document.querySelector('[data-testid=sync-status]').dataset.stored === 'true'";

/// A page of the same origin that is not the app.
async fn bystander(browser: &e2e::Browser, server: &Server) -> Result<Page> {
    browser.open(&server.url("/healthz")).await
}

/// A tab of an older version that keeps the database open without listening.
const HOLD_OLD_VERSION: &str = "new Promise((done, fail) => { \
    const request = indexedDB.open('notebook', 1); \
    request.onupgradeneeded = () => ['blocks', 'snapshots', 'meta'] \
      .forEach((store) => request.result.createObjectStore(store)); \
    request.onsuccess = () => { window.held = request.result; done(true) }; \
    request.onerror = () => fail(request.error); })";

/// The new tab does not hang: it says what is wrong, works from memory, and stores when it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_blocked_by_an_old_tab_is_named_and_goes_on_when_the_tab_closes() -> Result<()> {
    perform("blocked-upgrade", async |stage| {
        let server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let old = bystander(&browser, &server).await?;
        ensure!(old.eval(HOLD_OLD_VERSION).await? == true, "the old version is open");

        let ann = Notebook::open(&browser, &server, "blocked").await?;
        append(&ann, "written meanwhile").await?;
        let start = std::time::Instant::now();
        let named = |badge: &e2e::Badge| is_unstored(badge, "another tab");
        let badge = ann.wait_for_badge("the other tab is named", named).await?;
        ensure!(start.elapsed() < BLOCKED_WITHIN, "named after {:?}", start.elapsed());
        println!("    blocked: {}", badge.says);
        ann.wait_for_badge("it is at the server", |badge| badge.pending == 0).await?;

        old.close().await?;
        ann.page().wait_for(STORED, PATIENCE).await.context("storing goes on")?;
        ann.wait_until_saved().await?;
        ann.page().reload().await?;
        Notebook::on(ann.page().clone()).await?.wait_for_part("written meanwhile").await?;
        Ok(())
    })
    .await
}

/// What windows do in which nothing may be stored: there is no database at all, or none opens.
const NO_STORAGE: [&str; 2] = [
    "Object.defineProperty(window, 'indexedDB', { get: () => undefined })",
    "IDBFactory.prototype.open = () => { throw new DOMException('denied', 'SecurityError') }",
];

/// Such a window works from memory and the server, and says that nothing stays on the device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_may_store_nothing_works_with_the_server_and_says_so() -> Result<()> {
    perform("no-storage", async |stage| {
        let server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let other = stage.browser("ben").await?;
        for (number, script) in NO_STORAGE.into_iter().enumerate() {
            let id = format!("private-{number}");
            let ann = Notebook::open(&browser, &server, &id).await?;
            ann.page().before_each_load(script).await?;
            ann.page().reload().await?;
            let ann = Notebook::on(ann.page().clone()).await?;
            append(&ann, "at the server").await?;
            let told = |badge: &e2e::Badge| is_unstored(badge, "unavailable") && badge.pending == 0;
            let badge = ann.wait_for_badge("it is only at the server, and says so", told).await?;
            println!("    {id}: {}", badge.says);
            let ben = Notebook::open(&other, &server, &id).await?;
            ben.wait_for_part("at the server").await?;
            append(&ben, ", read").await?;
            ann.wait_for_part("at the server, read").await?;
            ann.page().reload().await?;
            let ann = Notebook::on(ann.page().clone()).await?;
            ann.wait_for_part("at the server, read").await?;
            ann.page().clone().close().await?;
        }
        Ok(())
    })
    .await
}

/// A tab that never ends a transaction over all that is stored, until it is told to.
const HOLD_TRANSACTION: &str = "new Promise((done, fail) => { \
    const request = indexedDB.open('notebook'); \
    request.onerror = () => fail(request.error); \
    request.onsuccess = () => { \
      const db = request.result; \
      const transaction = db.transaction([...db.objectStoreNames], 'readwrite'); \
      const goOn = () => { \
        if (window.released) return db.close(); \
        transaction.objectStore('meta').get('kept').onsuccess = goOn; \
        done(true) }; \
      goOn() } })";

/// A browser whose storage hangs, as some do until they are restarted, gives neither answer nor
/// error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_does_not_answer_is_named_and_keeps_nothing_from_the_server() -> Result<()> {
    perform("silent-storage", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "silent").await?;
        append(&ann, "stored").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_stored().await?;
        ann.wait_until_installed().await?;
        let holder = bystander(&browser, &server).await?;
        ensure!(holder.eval(HOLD_TRANSACTION).await? == true, "the transaction has begun");

        append(&ann, ", at the server").await?;
        let named = |badge: &e2e::Badge| is_unstored(badge, "unavailable") && badge.pending == 0;
        let badge = ann.wait_for_badge("it is only at the server, and says so", named).await?;
        println!("    silent: {}", badge.says);
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        let shown = async || Ok((ann.text().await? == "stored, at the server").then_some(()));
        e2e::until("what cannot be read here comes from the server", PATIENCE, shown).await?;

        holder.eval("window.released = true").await?;
        ann.page().wait_for(STORED, PATIENCE).await.context("storing goes on")?;
        server.kill();
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        ann.wait_for_part("stored, at the server").await?;
        Ok(())
    })
    .await
}

/// A newer program, in another tab, upgrades the database.
const UPGRADE: &str = "new Promise((done, fail) => { \
    const request = indexedDB.open('notebook', 9); \
    request.onsuccess = () => { request.result.close(); done(true) }; \
    request.onblocked = () => done(false); \
    request.onerror = () => fail(request.error); })";

/// The old tab lets go at once, says what to do, and loses nothing meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_tab_lets_a_newer_version_upgrade_and_says_so() -> Result<()> {
    perform("upgraded", async |stage| {
        let server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "upgraded").await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_stored().await?;
        let newer = bystander(&browser, &server).await?;
        ensure!(newer.eval(UPGRADE).await? == true, "the old tab keeps its connection");

        append(&ann, ", after").await?;
        let named = |badge: &e2e::Badge| is_unstored(badge, "load the page again");
        let badge = ann.wait_for_badge("the page says what to do", named).await?;
        println!("    upgraded: {}", badge.says);
        ann.wait_for_badge("it is at the server", |badge| badge.pending == 0).await?;
        ensure!(server.stored_text("upgraded")?.trim_end() == "before, after", "sent from memory");

        // Still the old program, on a database that it cannot read: it must not hang or harm.
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        ann.wait_for_part("before, after").await?;
        append(&ann, ", and on").await?;
        ann.wait_for_badge("it still says so", named).await?;
        ann.wait_for_badge("it is at the server", |badge| badge.pending == 0).await?;
        Ok(())
    })
    .await
}

/// Counts what the page asks of the browser.
const COUNT_PERSIST: &str = "window.persistAsked = 0; \
    const persist = navigator.storage.persist.bind(navigator.storage); \
    navigator.storage.persist = () => { window.persistAsked += 1; return persist(); };";

/// Site data is cleared under an open tab: what that has in memory is stored again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleared_site_data_is_noticed_stored_again_and_fetched_again() -> Result<()> {
    perform("cleared", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "cleared").await?;
        ann.page().before_each_load(COUNT_PERSIST).await?;
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        append(&ann, "at the server").await?;
        ann.wait_until_saved().await?;
        ann.page().wait_for("window.persistAsked === 1", SOON).await.context("it is asked for")?;
        let other = Notebook::open(&browser, &server, "other").await?;
        append(&other, "another document").await?;
        other.wait_until_saved().await?;

        server.kill();
        ann.wait_until_offline().await?;
        append(&ann, ", here only").await?;
        ann.wait_until_stored().await?;
        let what = json!({ "origin": server.url(""), "storageTypes": "indexeddb" });
        ann.page().call("Storage.clearDataForOrigin", what).await?;
        // Both tabs store what they have. What is being cleared may not answer; then look again.
        let again = async || Ok(mark(ann.page()).await.ok().flatten().map(drop));
        e2e::until("the mark is stored again", PATIENCE, again).await?;
        ann.wait_until_stored().await?;
        other.wait_until_stored().await?;
        append(&ann, ", and more").await?;
        ann.wait_until_stored().await?;
        browser.kill();

        server.start().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "cleared").await?;
        ann.wait_for_part("at the server, here only, and more").await?;
        ann.wait_until_saved().await?;
        let other = Notebook::open(&browser, &server, "other").await?;
        other.wait_for_part("another document").await?;

        // All is gone with no tab open to remember it: the server has it.
        other.page().call("Page.navigate", json!({ "url": server.url("/healthz") })).await?;
        ann.page().call("Page.navigate", json!({ "url": server.url("/healthz") })).await?;
        let what = json!({ "origin": server.url(""), "storageTypes": "all" });
        ann.page().call("Storage.clearDataForOrigin", what).await?;
        let ann = Notebook::open(&browser, &server, "cleared").await?;
        ann.wait_for_part("at the server, here only, and more").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_stored().await?;
        Ok(())
    })
    .await
}

/// "Connection to Indexed Database server lost": nobody says so, the next transaction throws.
const LOSE_CONNECTION: &str = "(() => { \
    const begin = IDBDatabase.prototype.transaction; \
    IDBDatabase.prototype.transaction = function (...all) { \
      IDBDatabase.prototype.transaction = begin; \
      this.close(); \
      return begin.apply(this, all); \
    } })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_to_storage_is_made_again_and_nothing_is_lost() -> Result<()> {
    perform("lost-storage", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "lost").await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_installed().await?;
        server.kill();
        ann.wait_until_offline().await?;
        for round in 0..3 {
            ann.page().eval(LOSE_CONNECTION).await?;
            append(&ann, &format!(", loss {round}")).await?;
            ann.wait_until_stored().await?;
        }
        browser.kill();
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "lost").await?;
        ann.wait_for_part("before, loss 0, loss 1, loss 2").await?;
        Ok(())
    })
    .await
}
