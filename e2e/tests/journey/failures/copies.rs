//! A profile that exists twice.

use anyhow::{Result, ensure};
use e2e::{Notebook, perform};

use super::append;
use super::disk::{authors, unbroken_chains};
use crate::together::same_text;

/// Both copies of a profile write, each under an id of its own from the first change on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_profile_gets_a_peer_id_of_its_own_and_nothing_diverges() -> Result<()> {
    perform("copied-profile", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "copied").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("before the copy").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_installed().await?;
        browser.close().await?;
        stage.copy_profile("ann", "copy")?;

        server.kill();
        let (ann, copy) = (stage.browser("ann").await?, stage.browser("copy").await?);
        let ann = Notebook::open(&ann, &server, "copied").await?;
        let copy = Notebook::open(&copy, &server, "copied").await?;
        let mut new = Vec::new();
        for (page, words) in [(&ann, ", by Ann"), (&copy, ", by her copy")] {
            page.wait_for_part("before the copy").await?;
            let before = authors(page.page()).await?;
            append(page, words).await?;
            page.wait_until_stored().await?;
            new.push(&authors(page.page()).await? - &before);
        }
        ensure!(!new[0].is_empty() && new[0].is_disjoint(&new[1]), "they write as {new:?}");
        server.start().await?;
        for page in [&ann, &copy] {
            page.come_back().await?;
            page.wait_until_saved().await?;
        }
        append(&ann, "!").await?;
        append(&copy, "?").await?;
        for page in [&ann, &copy] {
            page.wait_until_saved().await?;
            page.wait_until_stored().await?;
        }
        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "copied").await?;
        let parts = ["before the copy", ", by Ann", ", by her copy", "!", "?"];
        let text = same_text(&[&ann, &copy, &ben], &parts).await?;
        ensure!(text.len() == parts.concat().len(), "something is there twice: {text:?}");
        for page in [&ann, &copy, &ben] {
            unbroken_chains(page.page()).await?;
        }
        Ok(())
    })
    .await
}
