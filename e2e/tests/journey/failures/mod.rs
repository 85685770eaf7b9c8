//! What goes wrong in real browsers, one failure each: nothing is lost, and the page says what is.
//!
//! `docs/reliability.md` has a table of them. They run several at a time, since some wait long.

mod clocks;
mod copies;
mod crowd;
pub(crate) mod disk;
mod dying;
mod network;
mod panics;
mod sleeping;
mod storage;
mod versions;

use std::time::Duration;

use anyhow::Result;
use e2e::{Badge, Notebook};

/// How long a pause of the engine's own may be: 30 s between attempts that fail in a row.
const PATIENCE: Duration = Duration::from_secs(45);

/// Opens `/d/{id}` below an address that need not be a server's own.
async fn open_at(browser: &e2e::Browser, url: &str) -> Result<Notebook> {
    Notebook::on(browser.open(url).await?).await
}

/// Types at the end of the text.
async fn append(page: &Notebook, text: &str) -> Result<()> {
    page.put_caret(usize::MAX >> 32).await?;
    page.page().type_text(text).await
}

/// Whether the badge says that something is not in this device's storage, and why.
fn is_unstored(badge: &Badge, why: &str) -> bool {
    !badge.stored && badge.says.contains("not saved on this device") && badge.says.contains(why)
}
