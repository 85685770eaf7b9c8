//! Several tabs of one profile.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Notebook, perform};

use crate::failures::disk::authors;
use crate::together::same_text;

/// Tabs hear of each other without a server; a person would call this "at once".
const AT_ONCE: Duration = Duration::from_secs(1);

/// Scene 5: three tabs, one of them a clone, work together with nobody else there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_of_one_profile_work_together_without_a_server_or_a_shared_peer_id() -> Result<()> {
    perform("tabs", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let first = Notebook::open(&browser, &server, "tabs").await?;
        first.put_caret(0).await?;
        first.page().type_text("|").await?;
        first.wait_until_saved().await?;
        first.wait_until_installed().await?;
        server.kill();
        first.wait_until_offline().await?;

        let second = Notebook::open(&browser, &server, "tabs").await?;
        second.wait_for_part("|").await?;
        let clone = async || first.page().eval("window.open(location.href), 0").await.map(drop);
        let third = Notebook::on(browser.opened_by(clone).await?).await?;
        third.wait_for_part("|").await?;

        for (tab, name) in [(&first, "one "), (&second, "two "), (&third, "three ")] {
            tab.put_caret(0).await?;
            tab.page().type_text(name).await?;
            for other in [&first, &second, &third] {
                let seen = format!("text.includes({name:?})");
                other.wait_for_text(&seen, AT_ONCE).await?;
            }
        }
        first.wait_until_stored().await?;
        let known = authors(first.page()).await?;
        ensure!(known.len() >= 3, "three tabs write as {known:?}");
        second.add_task("from the second tab").await?;
        third.wait_for_task("from the second tab").await?;

        server.start().await?;
        for tab in [&first, &second, &third] {
            tab.wait_until_saved().await?;
        }
        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "tabs").await?;
        same_text(&[&first, &second, &third, &ben], &["one ", "two ", "three ", "|"]).await?;
        ben.wait_for_task("from the second tab").await?;
        Ok(())
    })
    .await
}
