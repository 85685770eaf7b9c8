//! The main journey in browsers other than Chromium: `cargo xtask test --browsers`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Driven, Engine, Notebook, perform};

const PATIENCE: Duration = Duration::from_secs(30);

const READY: &str = "document.querySelector('[data-testid=editor]') \
                     && !document.querySelector('[data-testid=editor]').disabled";

const INSTALLED: &str = "navigator.serviceWorker.controller";

fn shows(text: &str) -> String {
    format!("document.querySelector('[data-testid=editor]').value === {text:?}")
}

/// The badge's attribute has this value.
fn badge(attribute: &str, value: &str) -> String {
    format!("document.querySelector('[data-testid=sync-status]').dataset.{attribute} === {value:?}")
}

/// Typed together with Chromium, offline, over a reload without a server, and back.
async fn journey(engine: Engine, name: &str) -> Result<()> {
    perform(name, async |stage| {
        let mut server = stage.server().await?;
        let guest = Driven::start(engine).await?;
        guest.goto(&server.url("/d/guest")).await?;
        guest.wait_for(READY, PATIENCE).await?;
        guest.type_into("editor", "hello").await?;
        guest.wait_for(&badge("state", "saved"), PATIENCE).await?;

        let ben = stage.browser("ben").await?;
        let ben = Notebook::open(&ben, &server, "guest").await?;
        ben.wait_for_part("hello").await?;
        ben.put_caret("hello".len()).await?;
        ben.page().type_text(", Ben here").await?;
        guest.wait_for(&shows("hello, Ben here"), PATIENCE).await?;
        guest.wait_for(INSTALLED, PATIENCE).await.context("the service worker takes over")?;

        server.kill();
        guest.wait_for(&badge("state", "offline"), PATIENCE).await?;
        guest.type_into("editor", ", offline").await?;
        guest.wait_for(&badge("stored", "true"), PATIENCE).await?;
        guest.reload().await?;
        guest.wait_for(READY, PATIENCE).await?;
        guest.wait_for(&shows("hello, Ben here, offline"), PATIENCE).await?;
        guest.wait_for(&format!("!({})", badge("pending", "0")), PATIENCE).await?;

        server.start().await?;
        guest.eval("dispatchEvent(new Event('pageshow')), 0").await?;
        ben.come_back().await?;
        guest.wait_for(&badge("state", "saved"), PATIENCE).await?;
        ben.wait_for_part("hello, Ben here, offline").await?;
        let stored = server.stored_text("guest")?;
        ensure!(stored.trim_end() == "hello, Ben here, offline", "the server has {stored:?}");
        Ok(())
    })
    .await
}

mod firefox {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_main_journey_works_in_firefox() -> Result<()> {
        journey(Engine::Firefox, "firefox").await
    }
}

mod webkit {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_main_journey_works_in_webkitgtk() -> Result<()> {
        journey(Engine::WebKit, "webkit").await
    }
}
