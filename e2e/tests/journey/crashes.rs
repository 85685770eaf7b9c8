//! The server dies in the middle of everything.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Notebook, SOON, Server, perform, until};
use futures::future::try_join;

const KILLS: usize = 20;

/// Scene 4: whatever the badge called saved is on the server's disk after `kill -9`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_of_the_server_lose_nothing_that_was_shown_as_saved() -> Result<()> {
    perform("kills", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "killed").await?;
        ann.put_caret(0).await?;
        let over = Cell::new(false);
        let typing = type_words(&ann, &over);
        let killing = async {
            let result = kill_repeatedly(&ann, &mut server).await;
            over.set(true);
            result
        };
        let (typed, ()) = try_join(typing, killing).await?;

        ann.wait_until_saved().await?;
        let text = ann.text().await?;
        ensure!(text == typed, "typed {typed:?}, shown {text:?}");
        server.stop().await?;
        let stored = server.stored_text("killed")?;
        ensure!(stored.trim_end() == typed.trim_end(), "typed {typed:?}, stored {stored:?}");
        println!("    {KILLS} kills during {} keystrokes", typed.len());
        Ok(())
    })
    .await
}

/// Types numbered words with a breath after each, until the killing is over.
async fn type_words(page: &Notebook, over: &Cell<bool>) -> Result<String> {
    let mut typed = String::new();
    while !over.get() {
        let word = format!("w{} ", typed.len());
        page.page().type_slowly(&word, Duration::from_millis(15)).await?;
        typed.push_str(&word);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    Ok(typed)
}

async fn kill_repeatedly(page: &Notebook, server: &mut Server) -> Result<()> {
    let mut saved = String::new();
    for kill in 1..=KILLS {
        // Something new was shown as saved, and something newer is on its way.
        let more = async || {
            let now = page.text_shown_as_saved().await?;
            Ok((now.len() > saved.len()).then_some(now))
        };
        until("more is shown as saved", SOON * 4, more)
            .await
            .with_context(|| format!("before kill {kill}, the badge says {:?}", saved.len()))?;
        page.wait_for_badge("a change is on its way", |badge| badge.pending > 0).await?;
        server.kill();

        saved = page.text_shown_as_saved().await?;
        let stored = server.stored_text("killed")?;
        ensure!(
            stored.starts_with(&saved),
            "kill {kill}: shown as saved {saved:?}, on the server's disk {stored:?}"
        );
        server.start().await?;
        // Twenty outages in a row would else be met with ever longer patience.
        page.come_back().await?;
    }
    Ok(())
}
