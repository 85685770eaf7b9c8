//! Several tabs of one profile.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Notebook, Page, perform};

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
        ensure!(peers(first.page()).await? == 3, "three tabs hold three leases");

        for (tab, name) in [(&first, "one "), (&second, "two "), (&third, "three ")] {
            tab.put_caret(0).await?;
            tab.page().type_text(name).await?;
            for other in [&first, &second, &third] {
                let seen = format!("text.includes({name:?})");
                other.wait_for_text(&seen, AT_ONCE).await?;
            }
        }
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

/// How many tabs hold a peer id of this profile. Each id is leased through a Web Lock, so the
/// browser itself vouches for one holder each; that no tab holds two is checked here.
async fn peers(page: &Page) -> Result<usize> {
    let script = "navigator.locks.query().then(({ held }) => held\
                  .filter(({ name }) => name.includes('/peer/'))\
                  .map(({ name, clientId }) => [name, clientId]))";
    let held = page.eval(script).await?;
    let held = held.as_array().context("a list of locks")?;
    let part = |at: usize| held.iter().map(|lock| lock[at].to_string()).collect::<BTreeSet<_>>();
    let (names, tabs) = (part(0), part(1));
    ensure!(names.len() == tabs.len(), "leases {names:?} of tabs {tabs:?}");
    Ok(tabs.len())
}
