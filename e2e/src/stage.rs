//! What a test plays on, and what is left to look at when it fails.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::FutureExt as _;
use tempfile::TempDir;

use crate::browser::{Browser, Process};
use crate::page::Page;
use crate::server::{self, Server};

/// No test takes longer, except when something hangs.
const SCENE_LIMIT: Duration = Duration::from_secs(240);

/// A folder for one test, with everything that is started for it.
#[derive(Debug)]
pub struct Stage {
    // First, so that browsers end before their profiles are removed.
    cast: Cast,
    folder: TempDir,
}

impl Stage {
    /// A server on a free port with an empty data folder, already answering.
    ///
    /// # Errors
    ///
    /// When it does not start; the message names what is missing.
    pub async fn server(&self) -> Result<Server> {
        let process = server::Process::default();
        self.cast.members().servers.push(process.clone());
        let mut server = Server::new(self.folder.path(), process)?;
        server.start().await?;
        Ok(server)
    }

    /// A browser on the profile of this name: empty the first time, then as it was left.
    ///
    /// # Errors
    ///
    /// When Chromium does not start.
    pub async fn browser(&self, profile: &str) -> Result<Browser> {
        let folder = self.folder.path().join("profiles").join(profile);
        Browser::launch(&folder, self.cast.clone()).await
    }

    /// Copies a profile, which no browser must be running on, to another name.
    ///
    /// # Errors
    ///
    /// When it cannot be copied.
    pub fn copy_profile(&self, from: &str, to: &str) -> Result<()> {
        let profiles = self.folder.path().join("profiles");
        server::copy_folder(&profiles.join(from), &profiles.join(to))
    }

    /// A folder for files of the test's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Every browser that was started and every page that was opened, kept until the stage ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast(Arc<Mutex<Members>>);

#[derive(Debug, Default)]
struct Members {
    servers: Vec<server::Process>,
    processes: Vec<Arc<Process>>,
    pages: Vec<(String, Page)>,
}

impl Drop for Members {
    fn drop(&mut self) {
        self.servers.iter().for_each(server::Process::kill);
    }
}

impl Cast {
    pub(crate) fn keep(&self, process: &Arc<Process>) {
        self.members().processes.push(Arc::clone(process));
    }

    pub(crate) fn enter(&self, name: &str, page: &Page) {
        self.members().pages.push((name.to_owned(), page.clone()));
    }

    fn pages(&self) -> Vec<(String, Page)> {
        self.members().pages.clone()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plays one scene. If it fails, panics or hangs, saves what its pages show and what was logged.
///
/// # Errors
///
/// Those of the scene.
pub async fn perform(name: &str, scene: impl AsyncFnOnce(&Stage) -> Result<()>) -> Result<()> {
    let folder = TempDir::with_prefix("journey-").context("there is no temporary folder")?;
    let stage = Stage { cast: Cast::default(), folder };
    let start = Instant::now();
    let played = AssertUnwindSafe(scene(&stage)).catch_unwind();
    let ended = match tokio::time::timeout(SCENE_LIMIT, played).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow!("panicked: {}", text.unwrap_or("without a message")))
        }
        Err(_) => Err(anyhow!("the test still ran after {SCENE_LIMIT:.0?}")),
    };
    match &ended {
        Ok(()) => println!("    {name} took {:.1?}", start.elapsed()),
        Err(error) => {
            println!("--- {name} failed after {:.1?}: {error:#}", start.elapsed());
            report(name, &stage).await;
        }
    }
    ended
}

/// Prints the end of every log, and saves a picture of every page that is still there.
async fn report(name: &str, stage: &Stage) {
    let shots = std::env::var_os("LEPTOS_SYNC_SHOTS").map(PathBuf::from);
    let shots = shots.unwrap_or_else(std::env::temp_dir);
    // What cannot be saved must not hide why the test failed.
    let _ = std::fs::create_dir_all(&shots);
    for (number, (browser, page)) in stage.cast.pages().into_iter().enumerate() {
        println!("--- console of {browser}, page {number}");
        print_tail(&page.console(), 40);
        let shot = tokio::time::timeout(Duration::from_secs(5), page.screenshot()).await;
        let Ok(Ok(picture)) = shot else { continue };
        let file = shots.join(format!("{name}-{browser}-{number}.png"));
        if std::fs::write(&file, decode_base64(&picture)).is_ok() {
            println!("--- screenshot: {}", file.display());
        }
    }
    println!("--- server log");
    let log = std::fs::read_to_string(stage.folder().join("server.log")).unwrap_or_default();
    print_tail(&log.lines().map(str::to_owned).collect::<Vec<_>>(), 40);
}

fn print_tail(lines: &[String], most: usize) {
    for line in &lines[lines.len().saturating_sub(most)..] {
        println!("    {line}");
    }
}

/// The bytes of standard base64; what is no letter of it is skipped.
fn decode_base64(text: &str) -> Vec<u8> {
    let sextet = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len()), 0_u32, 0);
    for value in text.bytes().filter_map(sextet) {
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decode_base64;

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        assert_eq!(decode_base64("aGVsbG8="), b"hello");
        assert_eq!(decode_base64("+/8A"), [0xfb, 0xff, 0x00]);
        assert_eq!(decode_base64(""), b"");
    }
}
