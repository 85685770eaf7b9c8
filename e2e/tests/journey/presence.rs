//! Who is here, and who no longer is.

use std::time::Duration;

use anyhow::Result;
use e2e::{Browser, Notebook, Server, Stage, perform};

const APPEARS: Duration = Duration::from_secs(1);
const LEAVES: Duration = Duration::from_secs(2);
const FORGOTTEN: Duration = Duration::from_secs(35);

/// A browser of that name with the document open and its caret in the text.
async fn guest(stage: &Stage, server: &Server, name: &str) -> Result<(Browser, Notebook)> {
    let browser = stage.browser(name).await?;
    let page = Notebook::open(&browser, server, "presence").await?;
    page.set_name(name).await?;
    page.put_caret(0).await?;
    Ok((browser, page))
}

/// Scene 7: names and carets come within a second and go with their owners.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_appear_within_a_second_and_vanish_when_they_close() -> Result<()> {
    perform("presence-close", async |stage| {
        let server = stage.server().await?;
        let (_ann_browser, ann) = guest(stage, &server, "Ann").await?;
        ann.page().type_text("hello").await?;
        ann.wait_until_saved().await?;
        let (_ben_browser, ben) = guest(stage, &server, "Ben").await?;
        let here = ann.wait_to_see("presence-peer", "Ben", APPEARS).await?;
        let caret = ann.wait_to_see("remote-caret", "Ben", APPEARS).await?;
        ben.wait_to_see("presence-peer", "Ann", APPEARS).await?;
        ben.wait_to_see("remote-caret", "Ann", APPEARS).await?;
        println!("    Ben appeared after {here:.0?}, his caret after {caret:.0?}");

        ben.page().clone().close().await?;
        let gone = ann.wait_to_miss("presence-peer", "Ben", LEAVES).await?;
        ann.wait_to_miss("remote-caret", "Ben", LEAVES).await?;
        println!("    Ben closed his tab and vanished after {gone:.0?}");
        Ok(())
    })
    .await
}

/// Scene 7: whoever is killed, or falls silent with the sockets open, is forgotten in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_vanish_within_35_seconds_when_they_die() -> Result<()> {
    perform("presence-die", async |stage| {
        let server = stage.server().await?;
        let (_ann_browser, ann) = guest(stage, &server, "Ann").await?;
        let (killed, _page) = guest(stage, &server, "Killed").await?;
        let (frozen, _page) = guest(stage, &server, "Frozen").await?;
        ann.wait_to_see("presence-peer", "Killed", APPEARS).await?;
        ann.wait_to_see("presence-peer", "Frozen", APPEARS).await?;

        frozen.freeze()?;
        killed.kill();
        let after = ann.wait_to_miss("presence-peer", "Killed", FORGOTTEN).await?;
        println!("    Killed vanished after {after:.1?}");
        let after = ann.wait_to_miss("presence-peer", "Frozen", FORGOTTEN).await?;
        ann.wait_to_miss("remote-caret", "Frozen", FORGOTTEN).await?;
        println!("    Frozen vanished after {after:.1?}");
        Ok(())
    })
    .await
}
