//! Programs of different ages.

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{SOON, Weather, Wire, perform};
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{append, open_at};
use crate::hostile::connect;

/// Close code of the protocol: the two sides share no version.
const UNSUPPORTED: u16 = 4406;

/// An old page on a new server: refused by name, shown, not hammered, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_page_is_told_that_a_newer_version_is_needed_and_keeps_its_work() -> Result<()> {
    perform("old-page", async |stage| {
        let server = stage.server().await?;
        let wire = Wire::to(&server).await?;
        let browser = stage.browser("ann").await?;
        let ann = open_at(&browser, &wire.url("/d/old")).await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;

        wire.turn(Weather::Closing(UNSUPPORTED));
        let named = |badge: &e2e::Badge| {
            badge.state == "offline" && badge.says.contains("a newer version is needed")
        };
        let badge = ann.wait_for_badge("the page says so", named).await?;
        println!("    refused: {}", badge.says);
        append(&ann, ", kept").await?;
        ann.wait_until_stored().await?;
        let kept = |badge: &e2e::Badge| named(badge) && badge.pending > 0;
        ann.wait_for_badge("the change waits, and it is still said why", kept).await?;

        // The page is loaded again from a server that it fits.
        wire.turn(Weather::Clear);
        ann.page().reload().await?;
        let ann = e2e::Notebook::on(ann.page().clone()).await?;
        ann.wait_until_saved().await?;
        let stored = server.stored_text("old")?;
        ensure!(stored.trim_end() == "before, kept", "the server has {stored:?}");
        Ok(())
    })
    .await
}

/// A hello of a client that speaks the versions 7 to 9 and no other: one frame with one message
/// (tag, length, the two versions, no features, an id, no token, the time).
const HELLO_OF_THE_FUTURE: &[u8] = &[14, 1, 7, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A new page on an old server: the server says which code, before anything else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_future_is_refused_by_name() -> Result<()> {
    perform("future-client", async |stage| {
        let server = stage.server().await?;
        let mut socket = connect(&server).await?;
        socket.send(Message::binary(HELLO_OF_THE_FUTURE)).await?;
        let closed = async {
            while let Some(message) = socket.next().await {
                if let Message::Close(frame) = message.context("the socket broke")? {
                    return Ok(frame.map_or(1005, |frame| frame.code.into()));
                }
            }
            bail!("the socket ended without a code")
        };
        let code: u16 = tokio::time::timeout(SOON, closed).await.context("it stays open")??;
        ensure!(code == UNSUPPORTED, "closed with {code}");
        Ok(())
    })
    .await
}
