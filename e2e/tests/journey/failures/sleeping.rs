//! Pages that a browser stops for a while.

use anyhow::{Result, ensure};
use e2e::{Notebook, SOON, perform};
use serde_json::json;

use super::append;
use crate::together::{same_tasks, same_text};

/// A frozen page goes on as if it had been away: caught up, with nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_was_frozen_catches_up_and_doubles_nothing() -> Result<()> {
    perform("frozen", async |stage| {
        let mut server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "frozen").await?;
        let ben = Notebook::open(&ben, &server, "frozen").await?;
        append(&ann, "before").await?;
        ann.add_task("shared").await?;
        same_text(&[&ann, &ben], &["before"]).await?;
        same_tasks(&[&ann, &ben], |tasks| tasks.len() == 1).await?;
        for restart in [false, true] {
            let frozen = json!({ "state": "frozen" });
            ann.page().call("Page.setWebLifecycleState", frozen).await?;
            ben.click_in_task("shared", "task-vote").await?;
            append(&ben, &format!(", restart {restart}")).await?;
            ben.wait_until_saved().await?;
            if restart {
                server.kill();
                server.start().await?;
                ben.come_back().await?;
                append(&ben, ", and back").await?;
                ben.wait_until_saved().await?;
            }
            let active = json!({ "state": "active" });
            ann.page().call("Page.setWebLifecycleState", active).await?;
            ann.wait_for_part(&format!(", restart {restart}")).await?;
            ann.wait_until_saved().await?;
        }
        append(&ann, ", awake").await?;
        let text = same_text(&[&ann, &ben], &[", awake"]).await?;
        let wanted = "before, restart false, restart true, and back, awake";
        ensure!(text == wanted, "the text is {text:?}");
        same_tasks(&[&ann, &ben], |tasks| tasks.len() == 1 && tasks[0].votes == 2).await?;
        Ok(())
    })
    .await
}

/// Leaving the page and going back: from the browser's memory or anew, it is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_one_goes_back_to_catches_up_and_doubles_nothing() -> Result<()> {
    perform("back", async |stage| {
        let mut server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "back").await?;
        let ben = Notebook::open(&ben, &server, "back").await?;
        ann.wait_until_installed().await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        same_text(&[&ann, &ben], &["before"]).await?;
        server.kill();
        ann.wait_until_offline().await?;
        append(&ann, ", unsent").await?;
        ann.wait_until_stored().await?;

        // The app's own icon: a page without the app.
        ann.page().goto(&server.url("/icon.svg")).await?;
        server.start().await?;
        ben.come_back().await?;
        append(&ben, ", by Ben").await?;
        ben.wait_until_saved().await?;
        ann.page().eval("history.back()").await?;
        ann.page().wait_for("document.querySelector('[data-testid=editor]')", SOON).await?;
        let kept = "performance.getEntriesByType('navigation')[0].type";
        println!("    navigation: {}", ann.page().eval(kept).await?);
        let ann = Notebook::on(ann.page().clone()).await?;
        ann.wait_until_saved().await?;
        let text = same_text(&[&ann, &ben], &["before", ", unsent", ", by Ben"]).await?;
        ensure!(text.len() == "before, unsent, by Ben".len(), "something is twice: {text:?}");
        append(&ann, "!").await?;
        same_text(&[&ann, &ben], &["!"]).await?;
        Ok(())
    })
    .await
}

/// A page that has a connection when it is left is kept in the browser's memory: shown at once when
/// one goes back, as it was, and then caught up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_left_while_connected_is_kept_by_the_browser_and_catches_up() -> Result<()> {
    perform("kept", async |stage| {
        let server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "kept").await?;
        let ben = Notebook::open(&ben, &server, "kept").await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        same_text(&[&ann, &ben], &["before"]).await?;
        let mark = "window.mark = 'the same page'; \
                    window.addEventListener('pageshow', ({ persisted }) => { \
                    window.cameBack = persisted; })";
        ann.page().eval(mark).await?;

        ann.page().goto(&server.url("/icon.svg")).await?;
        append(&ben, ", by Ben").await?;
        ben.wait_until_saved().await?;
        ann.page().eval("history.back()").await?;
        ann.page().wait_for("document.querySelector('[data-testid=editor]')", SOON).await?;
        let state = ann.page().eval("`${window.mark}, ${window.cameBack}`").await?;
        let entry = "performance.getEntriesByType('navigation')[0].notRestoredReasons";
        let reasons = ann.page().eval(&format!("JSON.stringify({entry})")).await?;
        ensure!(state == "the same page, true", "it was not kept ({state}), for: {reasons}");
        ann.wait_for_part(", by Ben").await?;
        ann.wait_until_saved().await?;
        append(&ann, "!").await?;
        let text = same_text(&[&ann, &ben], &["before", ", by Ben", "!"]).await?;
        ensure!(text.len() == "before, by Ben!".len(), "something is twice: {text:?}");
        Ok(())
    })
    .await
}
