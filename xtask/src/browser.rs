//! Chromium and chromedriver: found, or installed where that is possible, or asked for.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::shell::find_program;

/// The two programs that browser tests need.
pub(crate) struct Browser {
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
}

/// Finds both programs, installing them first if this is a Debian or Ubuntu and we are root.
///
/// `CHROMIUM` and `CHROMEDRIVER` name other binaries than those on PATH.
pub(crate) fn ensure() -> Result<Browser> {
    if let Some(browser) = find() {
        return Ok(browser);
    }
    let packages = packages();
    if !debian::install("Chromium", packages)? {
        bail!(
            "browser tests need Chromium and chromedriver on PATH (or in CHROMIUM and \
             CHROMEDRIVER); on Debian run `sudo apt-get install {}`",
            packages.join(" ")
        );
    }
    find().context("apt-get succeeded, but chromium and chromedriver are not on PATH")
}

/// Both programs, if they are here already.
fn find() -> Option<Browser> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let chromium = named("CHROMIUM").or_else(|| {
        find_program(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])
    })?;
    let chromedriver = named("CHROMEDRIVER").or_else(|| find_program(&["chromedriver"]))?;
    Some(Browser { chromium, chromedriver })
}

/// What the packages are called here: Ubuntu has its own names.
fn packages() -> &'static [&'static str] {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if system.lines().any(|line| line == "ID=ubuntu") {
        &["chromium-browser", "chromium-chromedriver"]
    } else {
        &["chromium", "chromium-driver"]
    }
}
