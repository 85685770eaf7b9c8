//! The page's own program fails.

use anyhow::{Result, ensure};
use e2e::{Notebook, SOON, perform};

use super::append;

/// The app panics where it makes a random id.
const NO_RANDOMNESS: &str = "crypto.getRandomValues = () => { throw new Error('none') }; \
                             document.querySelector('.home-link').click()";

/// The page stops, says so, and says nothing false; loaded again, it has all that was stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_panicked_stops_says_so_and_is_rebuilt_from_what_is_stored() -> Result<()> {
    perform("panic", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "panic").await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_installed().await?;
        server.kill();
        ann.wait_until_offline().await?;
        append(&ann, ", offline").await?;
        ann.wait_until_stored().await?;

        ann.page().eval(NO_RANDOMNESS).await?;
        let home = "document.querySelector('[data-testid=new-document]')";
        ann.page().wait_for(home, SOON).await?;
        ann.click("new-document").await?;
        let notice = "document.querySelector('[data-testid=sync-broken][role=alert]')";
        ann.page().wait_for(notice, SOON).await?;
        let badge = ann.badge().await?;
        ensure!(badge.says == "Stopped" && badge.state == "broken", "the badge says {badge:?}");
        let others = "[...document.body.children].every((part) => part.inert \
                      || part.dataset.testid === 'sync-broken')";
        ensure!(ann.page().eval(others).await? == true, "the page still takes input");

        // The rest goes on without it.
        server.start().await?;
        let tab = Notebook::open(&browser, &server, "panic").await?;
        tab.wait_for_part("before, offline").await?;
        append(&tab, ", elsewhere").await?;
        tab.wait_until_saved().await?;
        ensure!(ann.badge().await?.says == "Stopped", "a page that stopped is not to speak");

        ann.click("sync-broken-reload").await?;
        ann.page().wait_for(&format!("!{notice} && {home}"), SOON).await?;
        let ann = Notebook::open(&browser, &server, "panic").await?;
        ann.wait_for_part("before, offline, elsewhere").await?;
        ann.wait_until_saved().await?;
        Ok(())
    })
    .await
}
