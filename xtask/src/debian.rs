//! Installing what is missing where that can be done: on a Debian or Ubuntu, by root.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell::{self, step};

/// Installs these packages; returns false if this is no such system, or we are not root there.
pub(crate) fn install(what: &str, packages: &[&str]) -> Result<bool> {
    let root = shell::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root || !Path::new("/etc/debian_version").exists() {
        return Ok(false);
    }
    step(&format!("Installing {what} with apt-get"), || {
        apt(&["update", "--quiet"])?;
        apt(&[&["install", "--quiet", "--yes", "--no-install-recommends"], packages].concat())
    })?;
    Ok(true)
}

fn apt(args: &[&str]) -> Result<()> {
    shell::run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}
