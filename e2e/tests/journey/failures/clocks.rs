//! Devices whose clocks are wrong.

use anyhow::{Context as _, Result, ensure};
use e2e::{Notebook, SOON, perform};

use super::PATIENCE;
use crate::together::same_tasks;

/// Lets a test turn the page's wall clock by `clockError` milliseconds.
const CLOCK: &str = "window.clockError = 0; const now = Date.now; \
                     Date.now = () => now() + window.clockError;";

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

async fn with_clock(browser: &e2e::Browser, url: &str) -> Result<Notebook> {
    let page = browser.open("about:blank").await?;
    page.before_each_load(CLOCK).await?;
    page.goto(url).await?;
    Notebook::on(page).await
}

async fn turn(page: &Notebook, error_ms: i64) -> Result<()> {
    page.page().eval(&format!("window.clockError = {error_ms}")).await.map(drop)
}

/// What is written after the clock went back is still later than what was written before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_back_does_not_make_later_edits_earlier() -> Result<()> {
    perform("clock-back", async |stage| {
        let mut server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let url = server.url("/d/clock-back");
        let ann = with_clock(&ann, &url).await?;
        let ben = Notebook::open(&ben, &server, "clock-back").await?;
        ann.add_task("first").await?;
        same_tasks(&[&ann, &ben], |tasks| tasks.len() == 1).await?;
        ann.wait_until_saved().await?;
        server.kill();
        ann.wait_until_offline().await?;
        turn(&ann, -YEAR_MS).await?;
        ann.rename_task("first", "second").await?;
        turn(&ann, -2 * YEAR_MS).await?;
        ann.rename_task("second", "third").await?;
        server.start().await?;
        for page in [&ann, &ben] {
            page.come_back().await?;
            page.wait_until_saved().await?;
        }
        same_tasks(&[&ann, &ben], |tasks| tasks[0].title == "third").await?;
        // Its clock is put right by the server's: the next edit of somebody else is later again.
        ann.rename_task("third", "fourth").await?;
        same_tasks(&[&ann, &ben], |tasks| tasks[0].title == "fourth").await?;
        ben.rename_task("fourth", "fifth").await?;
        same_tasks(&[&ann, &ben], |tasks| tasks[0].title == "fifth").await?;
        Ok(())
    })
    .await
}

/// While there is a server its clock counts; without one, a change from the future is held back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_far_ahead_does_not_win_and_the_badge_names_it() -> Result<()> {
    perform("clock-ahead", async |stage| {
        let mut server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let url = server.url("/d/clock-ahead");
        let ann = with_clock(&ann, &url).await?;
        let ben = Notebook::open(&ben, &server, "clock-ahead").await?;
        ann.add_task("title").await?;
        same_tasks(&[&ann, &ben], |tasks| tasks.len() == 1).await?;
        ann.wait_until_saved().await?;

        // Ahead, and connected: the welcome says what the time is.
        server.kill();
        ann.wait_until_offline().await?;
        turn(&ann, YEAR_MS).await?;
        server.start().await?;
        for page in [&ann, &ben] {
            page.come_back().await?;
            page.wait_until_saved().await?;
        }
        ann.rename_task("title", "by Ann, ahead").await?;
        same_tasks(&[&ann, &ben], |tasks| tasks[0].title == "by Ann, ahead").await?;
        ben.rename_task("by Ann, ahead", "by Ben, later").await?;
        same_tasks(&[&ann, &ben], |tasks| tasks[0].title == "by Ben, later").await?;

        // The clock jumps while there is no server to ask.
        server.kill();
        ann.wait_until_offline().await?;
        turn(&ann, 3 * YEAR_MS).await?;
        ann.rename_task("by Ben, later", "from the future").await?;
        ann.wait_until_stored().await?;
        server.start().await?;
        ben.come_back().await?;
        ann.come_back().await?;
        let named = "document.querySelector('[data-testid=sync-status]').textContent\
                     .includes('clock of this device is wrong')";
        ann.page().wait_for(named, PATIENCE).await.context("the clock is named")?;
        ben.wait_until_saved().await?;
        ben.rename_task("by Ben, later", "by Ben, now").await?;
        ben.wait_until_saved().await?;
        let shown = server.cli(&["doc", "show", "clock-ahead"])?;
        ensure!(!shown.contains("from the future"), "the future won: {shown}");
        ensure!(shown.contains("by Ben, now"), "Ben's title is not there: {shown}");
        // Ben's title has just come, and is stored like her own.
        ann.wait_until_stored().await.context("Ann's change is kept")?;
        let badge = ann.badge().await?;
        ensure!(badge.pending > 0, "Ann's change waits: {badge:?}");
        ann.page().wait_for(named, SOON).await?;
        Ok(())
    })
    .await
}
