//! Working without a server, apart or alone, and coming back.

use anyhow::{Context, Result, ensure};
use e2e::{Notebook, TaskRow, perform};

use crate::together::{same_tasks, same_text};

fn titled<'a>(tasks: &'a [TaskRow], title: &str) -> Result<&'a TaskRow> {
    let found = tasks.iter().find(|task| task.title == title);
    found.with_context(|| format!("no task {title:?} among {tasks:?}"))
}

/// Scene 2: both go offline, edit everything in every way, and come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_edit_offline_and_come_back_to_the_same_document() -> Result<()> {
    perform("offline-both", async |stage| {
        let mut server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "both-offline").await?;
        let ben = Notebook::open(&ben, &server, "both-offline").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("middle").await?;
        for title in ["fields", "contested", "doomed"] {
            ann.add_task(title).await?;
        }
        same_text(&[&ann, &ben], &["middle"]).await?;
        same_tasks(&[&ann, &ben], |tasks| tasks.len() == 3).await?;
        ann.wait_until_saved().await?;

        server.kill();
        ann.wait_until_offline().await?;
        ben.wait_until_offline().await?;
        edit_apart(&ann, &ben).await?;
        server.start().await?;

        ann.wait_until_saved().await?;
        ben.wait_until_saved().await?;
        let text = same_text(&[&ann, &ben], &["Ann's start, ", ", Ben's end"]).await?;
        ensure!(text == "Ann's start, middle, Ben's end", "the text is {text:?}");
        let tasks = same_tasks(&[&ann, &ben], |tasks| tasks.len() == 4).await?;
        let fields = titled(&tasks, "fields renamed")?;
        ensure!(fields.done && fields.votes == 2, "one field's edit lost another's: {fields:?}");
        titled(&tasks, "by Ann").or_else(|_| titled(&tasks, "by Ben"))?;
        titled(&tasks, "new from Ann")?;
        titled(&tasks, "new from Ben")?;
        Ok(())
    })
    .await
}

/// Different fields of one task, one field of another, and a task removed against edited.
async fn edit_apart(ann: &Notebook, ben: &Notebook) -> Result<()> {
    ann.put_caret(0).await?;
    ann.page().type_text("Ann's start, ").await?;
    ann.click_in_task("fields", "task-done").await?;
    ann.click_in_task("fields", "task-vote").await?;
    ann.rename_task("contested", "by Ann").await?;
    ann.click_in_task("doomed", "task-remove").await?;
    ann.add_task("new from Ann").await?;

    ben.put_caret("middle".len()).await?;
    ben.page().type_text(", Ben's end").await?;
    ben.click_in_task("fields", "task-vote").await?;
    ben.rename_task("fields", "fields renamed").await?;
    ben.rename_task("contested", "by Ben").await?;
    ben.rename_task("doomed", "doomed, but edited").await?;
    ben.add_task("new from Ben").await?;

    for (page, own) in [(ann, "Ann"), (ben, "Ben")] {
        let badge = page.badge().await?;
        ensure!(badge.pending > 0, "{own} made changes offline, but the badge says {badge:?}");
    }
    Ok(())
}

/// Scene 3: the browser ends, the server is killed, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_edits_outlive_the_browser_and_the_server() -> Result<()> {
    perform("offline-restart", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "kept").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("written online").await?;
        ann.wait_until_saved().await?;

        server.kill();
        ann.wait_until_offline().await?;
        ann.page().type_text(", then offline").await?;
        ann.add_task("offline task").await?;
        let badge = ann.wait_for_badge("changes wait", |badge| badge.pending > 0).await?;
        println!("    offline: {badge:?}");
        ann.wait_until_stored().await?;
        browser.close().await?;

        server.start().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "kept").await?;
        ann.wait_for_part("written online, then offline").await?;
        ann.wait_for_task("offline task").await?;
        ann.wait_until_saved().await?;
        let badges = ann.badges().await?;
        ensure!(
            badges.iter().any(|badge| badge.pending > 0),
            "the badge never showed what was waiting: {badges:?}"
        );

        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "kept").await?;
        ben.wait_for_part("written online, then offline").await?;
        ben.wait_for_task("offline task").await?;
        Ok(())
    })
    .await
}

/// Scene 6: a reload needs no server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_without_a_server_shows_the_document() -> Result<()> {
    perform("offline-reload", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "reload").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("still here").await?;
        ann.add_task("still to do").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_installed().await?;

        server.kill();
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        ann.wait_for_part("still here").await?;
        ann.wait_for_task("still to do").await?;
        ann.put_caret("still here".len()).await?;
        ann.page().type_text(" and growing").await?;
        ann.wait_until_stored().await?;
        ann.page().reload().await?;
        let ann = Notebook::on(ann.page().clone()).await?;
        ann.wait_for_part("still here and growing").await?;
        let badge = ann.badge().await?;
        ensure!(badge.pending > 0, "offline typing does not count as waiting: {badge:?}");

        let home = browser.open(&server.url("/")).await?;
        let listed = "document.querySelector('[data-testid=document-link]')";
        home.wait_for(listed, e2e::SOON).await.context("the list of documents, offline")?;
        Ok(())
    })
    .await
}
