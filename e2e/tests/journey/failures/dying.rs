//! A tab or a browser is killed while it writes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{Notebook, Page, SOON, perform, until};
use serde_json::json;

use super::disk::unbroken_chains;

const KILLS: u32 = 6;
const PACE: Duration = Duration::from_millis(8);

/// Whatever the badge called stored is there after the next start, with the server down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_shown_as_stored_is_there_after_the_browser_or_its_tab_was_killed() -> Result<()> {
    perform("killed-browser", async |stage| {
        let mut server = stage.server().await?;
        let mut browser = stage.browser("ann").await?;
        let mut ann = Notebook::open(&browser, &server, "dying").await?;
        ann.wait_until_installed().await?;
        ann.wait_until_saved().await?;
        server.kill();

        let mut kept = String::new();
        for kill in 0..KILLS {
            ann.put_caret(usize::MAX >> 32).await?;
            let time = Duration::from_millis(300 + 130 * u64::from(kill));
            let stored = type_for(&ann, time, kept.len()).await?;
            if kill % 2 == 0 {
                browser.kill();
                browser = stage.browser("ann").await?;
                ann = Notebook::open(&browser, &server, "dying").await?;
            } else {
                crash(ann.page()).await?;
                ann = Notebook::open(&browser, &server, "dying").await?;
            }
            ann.wait_for_part(&stored).await.with_context(|| format!("after kill {kill}"))?;
            kept = ann.text().await?;
            ensure!(kept.starts_with(&stored), "stored {stored:?}, after kill {kill} {kept:?}");
            unbroken_chains(ann.page()).await?;
        }
        server.start().await?;
        ann.come_back().await?;
        ann.wait_until_saved().await?;
        server.stop().await?;
        let on_server = server.stored_text("dying")?;
        ensure!(on_server.trim_end() == kept.trim_end(), "kept {kept:?}, sent {on_server:?}");
        println!("    {KILLS} kills, {} characters kept", kept.len());
        Ok(())
    })
    .await
}

/// Ends the tab's process in the middle of whatever it does, and waits until it is gone.
pub(super) async fn crash(page: &Page) -> Result<()> {
    // Nobody is left to answer.
    let _ = tokio::time::timeout(PACE, page.call("Page.crash", json!({}))).await;
    let gone = async || {
        let gone = page.console().iter().any(|line| line == "the tab crashed");
        Ok(gone.then_some(()))
    };
    until("the tab's process ends", SOON, gone).await.map(drop)
}

/// Types for this long, and until the badge called more than `least` characters stored; returns
/// what it last called so.
async fn type_for(ann: &Notebook, time: Duration, least: usize) -> Result<String> {
    let start = Instant::now();
    let typed = async || {
        ann.page().type_slowly("word ", PACE).await?;
        let stored = ann.text_shown_as_stored().await?;
        Ok((start.elapsed() >= time && stored.len() > least).then_some(stored))
    };
    let (stored, _) = until("something new is shown as stored", SOON * 2, typed).await?;
    Ok(stored)
}
