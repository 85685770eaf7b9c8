//! Networks that fall silent or lie, and a server that forgot.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Notebook, SOON, Weather, Wire, perform, until};

use super::{append, open_at};
use crate::together::same_text;

/// A ping each 20 s, and 5 s for its answer; one more for looking.
const DEAD_WITHIN: Duration = Duration::from_secs(26);

/// A socket on which nothing moves any more looks open to a browser for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_socket_is_given_up_within_25_seconds_and_loses_nothing() -> Result<()> {
    perform("half-open", async |stage| {
        let server = stage.server().await?;
        let wire = Wire::to(&server).await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = open_at(&ann, &wire.url("/d/silent")).await?;
        let ben = Notebook::open(&ben, &server, "silent").await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        same_text(&[&ann, &ben], &["before"]).await?;

        wire.turn(Weather::Silent);
        let silent = Instant::now();
        append(&ann, ", into the void").await?;
        append(&ben, ", by Ben").await?;
        ben.wait_until_saved().await?;
        let missed = "document.querySelector('[data-testid=sync-status]').dataset.state \
                      !== 'syncing'";
        ann.wait_for_badge("it is not claimed to be saved", |badge| badge.pending > 0).await?;
        ann.page().wait_for(missed, DEAD_WITHIN).await?;
        let badge = ann.badge().await?;
        ensure!(badge.state == "offline" && badge.pending > 0, "the badge says {badge:?}");
        println!("    given up after {:.1?}", silent.elapsed());

        wire.turn(Weather::Clear);
        ann.come_back().await?;
        ann.wait_until_saved().await?;
        let text = same_text(&[&ann, &ben], &["before", ", into the void", ", by Ben"]).await?;
        ensure!(text.len() == "before, into the void, by Ben".len(), "the text is {text:?}");
        Ok(())
    })
    .await
}

/// How long a portal is looked at, and how often it may be asked meanwhile: full jitter between
/// nothing and 0.25 s, 0.5 s, 1 s, … makes some seven attempts, rarely twice as many.
const AT_PORTAL: Duration = Duration::from_secs(15);
const ATTEMPTS_MAX: usize = 20;

/// A hotel's sign-in page instead of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_captive_portal_counts_as_offline_is_asked_ever_more_rarely_and_loses_nothing()
-> Result<()> {
    perform("portal", async |stage| {
        let server = stage.server().await?;
        let wire = Wire::to(&server).await?;
        let browser = stage.browser("ann").await?;
        let ann = open_at(&browser, &wire.url("/d/portal")).await?;
        append(&ann, "before").await?;
        ann.wait_until_saved().await?;
        ann.wait_until_installed().await?;

        wire.turn(Weather::Portal);
        ann.wait_until_offline().await?;
        append(&ann, ", at the portal").await?;
        ann.wait_until_stored().await?;
        let start = Instant::now();
        until("the portal was looked at for long enough", SOON * 2, async || {
            let badge = ann.badge().await?;
            let honest = ["offline", "connecting"].contains(&&*badge.state) && badge.pending > 0;
            ensure!(honest, "behind a portal the badge says {badge:?}");
            Ok((start.elapsed() > AT_PORTAL).then_some(()))
        })
        .await?;
        let times = wire.dialed();
        ensure!((2..=ATTEMPTS_MAX).contains(&times.len()), "asked {} times", times.len());
        let pauses: Vec<Duration> = times.windows(2).map(|two| two[1] - two[0]).collect();
        println!("    pauses: {pauses:.2?}");
        let longest = pauses.iter().max().copied().unwrap_or_default();
        ensure!(longest > Duration::from_millis(500), "the pauses do not grow: {pauses:?}");

        wire.turn(Weather::Clear);
        ann.come_back().await?;
        ann.wait_until_saved().await?;
        let stored = server.stored_text("portal")?;
        ensure!(stored.trim_end() == "before, at the portal", "the server has {stored:?}");
        Ok(())
    })
    .await
}

/// What the server acknowledged after the backup, it gets once more: of documents that are open,
/// and of those that are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_restored_from_a_backup_gets_what_it_lost() -> Result<()> {
    perform("restored", async |stage| {
        let mut server = stage.server().await?;
        let browser = stage.browser("ann").await?;
        let ann = Notebook::open(&browser, &server, "restored").await?;
        append(&ann, "before the backup").await?;
        ann.wait_until_saved().await?;
        server.stop().await?;
        server.back_up()?;
        server.start().await?;
        ann.come_back().await?;
        append(&ann, ", after it").await?;
        ann.wait_until_saved().await?;
        let closed = Notebook::open(&browser, &server, "closed").await?;
        append(&closed, "made after it").await?;
        closed.wait_until_saved().await?;
        closed.page().clone().close().await?;

        server.stop().await?;
        server.restore()?;
        server.start().await?;
        ensure!(server.stored_text("restored")?.trim_end() == "before the backup", "it is old");
        ann.come_back().await?;
        ann.wait_until_saved().await?;
        let stored = server.stored_text("restored")?;
        ensure!(stored.trim_end() == "before the backup, after it", "shown as saved: {stored:?}");
        until("the closed document is uploaded, too", SOON * 2, async || {
            let stored = server.stored_text("closed").unwrap_or_default();
            Ok((stored.trim_end() == "made after it").then_some(()))
        })
        .await?;
        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "restored").await?;
        same_text(&[&ann, &ben], &["before the backup, after it"]).await?;
        Ok(())
    })
    .await
}
