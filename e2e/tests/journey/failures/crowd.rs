//! Many tabs of one browser.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Browser, Notebook, Server, perform};
use serde_json::json;

use super::append;
use super::disk::authors;
use super::dying::crash;
use crate::together::same_text;

/// What a person would call "at once", ten tabs on two processors.
const AT_ONCE: Duration = Duration::from_secs(3);

async fn tabs(browser: &Browser, server: &Server, count: usize) -> Result<Vec<Notebook>> {
    let mut tabs = Vec::new();
    for _ in 0..count {
        tabs.push(Notebook::open(browser, server, "crowd").await?);
    }
    Ok(tabs)
}

/// Each of `tabs` writes a word, which all show at once.
async fn all_see_each(tabs: &[&Notebook], round: &str) -> Result<()> {
    for (number, tab) in tabs.iter().enumerate() {
        let word = format!("{round}{number} ");
        append(tab, &word).await?;
        for other in tabs {
            other.wait_for_text(&format!("text.includes({word:?})"), AT_ONCE).await?;
        }
    }
    Ok(())
}

/// Each tab has a connection of its own, so no other depends on the one that freezes or dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_tabs_see_each_other_at_once_offline_too_and_need_none_of_the_others() -> Result<()> {
    perform("ten-tabs", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let tabs = tabs(&browser, &server, 10).await?;
        tabs[0].wait_until_installed().await?;
        all_see_each(&tabs.iter().collect::<Vec<_>>(), "online").await?;
        tabs[0].wait_until_stored().await?;
        let known = authors(tabs[0].page()).await?;
        ensure!(known.len() >= 10, "ten tabs write as {known:?}");

        server.kill();
        tabs[0].wait_until_offline().await?;
        all_see_each(&tabs.iter().collect::<Vec<_>>(), "offline").await?;

        // The oldest freezes, the second dies: the others lose nobody but those.
        let frozen = json!({ "state": "frozen" });
        tabs[0].page().call("Page.setWebLifecycleState", frozen).await?;
        crash(tabs[1].page()).await?;
        let left: Vec<&Notebook> = tabs[2..].iter().collect();
        all_see_each(&left, "left").await?;
        server.start().await?;
        for tab in &left {
            tab.come_back().await?;
            tab.wait_until_saved().await?;
        }
        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "crowd").await?;
        let mut everyone = left;
        everyone.push(&ben);
        same_text(&everyone, &["online0 ", "online1 ", "offline1 ", "left7 "]).await?;
        let active = json!({ "state": "active" });
        tabs[0].page().call("Page.setWebLifecycleState", active).await?;
        everyone.push(&tabs[0]);
        same_text(&everyone, &["left7 "]).await?;
        Ok(())
    })
    .await
}
