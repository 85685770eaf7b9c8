//! A stage for tests of the whole journey: real Chromium, the real server, the built notebook.
//!
//! [`Stage`] owns a port, a data folder and whatever was started, and stops it all at the end.
//! [`Server`] is the server process, to be stopped politely or killed. [`Browser`] is a Chromium
//! with a profile that outlives it, and [`Page`] one of its tabs. [`Notebook`] speaks in terms of
//! the app: its text, its tasks, its badge, found by the `data-testid` hooks. [`Wire`] is a network
//! between the two that falls silent or lies on demand.
//!
//! Browsers are driven over the Chrome DevTools Protocol by a small client of our own
//! ([`cdp`]) and not through WebDriver: killing a browser and starting it again on the same
//! profile, two browsers at once, input method composition, clones of tabs and console logs are
//! all plain calls there, and a driver process that outlives its browser is one thing less.
//!
//! Nothing here sleeps and hopes: waits have a condition, a limit, and a sentence for when it
//! runs out. `cargo xtask test` builds what is tested and names it in environment variables:
//!
//! | Variable             | What it names                                   |
//! |----------------------|-------------------------------------------------|
//! | `LEPTOS_SYNC_SERVER` | the server binary                               |
//! | `LEPTOS_SYNC_DIST`   | the notebook's static files                     |
//! | `LEPTOS_SYNC_SHOTS`  | where a failed test leaves screenshots and logs |
//! | `CHROMIUM`           | the browser                                     |
//! | `GECKODRIVER`        | Firefox's driver, for the scene in Firefox      |
//! | `WEBKITDRIVER`       | WebKitGTK's driver, for the scene in WebKitGTK  |
#![allow(clippy::print_stdout, reason = "tests report on standard output")]

mod browser;
pub mod cdp;
mod keys;
mod measure;
mod notebook;
mod page;
mod server;
mod stage;
mod wait;
mod webdriver;
mod wire;

pub use browser::Browser;
pub use keys::Key;
pub use measure::{Latency, summary};
pub use notebook::{Badge, Notebook, TaskRow};
pub use page::Page;
pub use server::Server;
pub use stage::{Stage, perform};
pub use wait::{SOON, until};
pub use webdriver::{Driven, Engine};
pub use wire::{Weather, Wire};
