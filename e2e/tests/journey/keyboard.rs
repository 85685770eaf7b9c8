//! The app without a mouse, without eyes, and on a phone.

use anyhow::{Context, Result, bail, ensure};
use e2e::{Key, Notebook, Page, SOON, perform};
use serde_json::json;

/// Everything can be reached by Tab and worked by Enter and Space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_made_written_and_given_a_task_by_keyboard_alone() -> Result<()> {
    perform("keyboard", async |stage| {
        let server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let page = browser.open(&server.url("/")).await?;
        page.wait_for("document.querySelector('[data-testid=new-document]')", SOON).await?;
        tab_to(&page, "new-document").await?;
        page.press(Key::Enter).await?;
        page.wait_for("location.pathname.startsWith('/d/')", SOON).await?;

        let ann = Notebook::on(page.clone()).await?;
        tab_to(&page, "editor").await?;
        page.type_text("by keyboard").await?;
        ann.wait_for_part("by keyboard").await?;
        tab_to(&page, "task-new").await?;
        page.type_text("a task").await?;
        page.press(Key::Enter).await?;
        ann.wait_for_task("a task").await?;
        tab_to(&page, "task-done").await?;
        page.press(Key::Space).await?;
        let done = "document.querySelector('[data-testid=task-done]').checked";
        page.wait_for(done, SOON).await?;
        ann.wait_until_saved().await?;

        let home = browser.open(&server.url("/")).await?;
        home.wait_for("document.querySelector('[data-testid=document-link]')", SOON).await?;
        tab_to(&home, "document-link").await?;
        home.press(Key::Enter).await?;
        Notebook::on(home).await?.wait_for_part("by keyboard").await?;
        Ok(())
    })
    .await
}

/// Every control has a name, the badge speaks, and a narrow screen shows all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_control_has_a_name_and_a_phone_needs_no_sideways_scrolling() -> Result<()> {
    perform("accessible", async |stage| {
        let server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let home = browser.open(&server.url("/")).await?;
        home.wait_for("document.querySelector('[data-testid=new-document]')", SOON).await?;
        check_page(&home).await.context("the list of documents")?;

        let ann = Notebook::open(&browser, &server, "accessible").await?;
        ann.add_task("a task with a rather long title that has to be wrapped").await?;
        check_page(ann.page()).await.context("a document")?;
        let speaks = "document.querySelector('[data-testid=sync-status]')\
                      .closest('[role=status], [aria-live], output')";
        ann.page().wait_for(speaks, SOON).await.context("the badge is announced")?;
        Ok(())
    })
    .await
}

/// What holds for each page.
async fn check_page(page: &Page) -> Result<()> {
    let basics = "[!!document.documentElement.lang, !!document.title, \
                   document.querySelectorAll('h1').length === 1, \
                   !!document.querySelector('main, [role=main]'), \
                   !!document.querySelector('meta[name=viewport]'), \
                   new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size \
                     === document.querySelectorAll('[id]').length]";
    let basics = page.eval(basics).await?;
    let wanted = ["a language", "a title", "one h1", "a main part", "a viewport", "unique ids"];
    for (number, what) in wanted.iter().enumerate() {
        ensure!(basics[number] == true, "the page lacks {what}");
    }
    let nameless = nameless_controls(page).await?;
    ensure!(nameless.is_empty(), "controls without a name: {nameless:?}");

    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
    page.call("Emulation.setDeviceMetricsOverride", phone).await?;
    page.wait_for("innerWidth === 360", SOON).await?;
    let width = page.eval("document.documentElement.scrollWidth").await?;
    ensure!(width.as_u64().is_some_and(|width| width <= 360), "{width} pixels wide on a phone");
    page.call("Emulation.clearDeviceMetricsOverride", json!({})).await?;
    Ok(())
}

/// The roles of controls that a screen reader cannot name.
async fn nameless_controls(page: &Page) -> Result<Vec<String>> {
    let tree = page.call("Accessibility.getFullAXTree", json!({})).await?;
    let controls = ["button", "link", "textbox", "checkbox", "combobox", "radio", "switch"];
    let nodes = tree["nodes"].as_array().context("the tree has nodes")?;
    let nameless = nodes.iter().filter(|node| node["ignored"] != true).filter(|node| {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        controls.contains(&role) && node["name"]["value"].as_str().unwrap_or_default().is_empty()
    });
    Ok(nameless.map(|node| node["role"]["value"].to_string()).collect())
}

/// Presses Tab until what bears this `data-testid` has the focus.
async fn tab_to(page: &Page, testid: &str) -> Result<()> {
    let there = format!("!!document.activeElement?.closest('[data-testid={testid}]')");
    for _ in 0..40 {
        if page.eval(&there).await? == true {
            return Ok(());
        }
        page.press(Key::Tab).await?;
    }
    bail!("40 presses of Tab do not reach {testid}")
}
