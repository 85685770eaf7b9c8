//! One Chromium process with a profile folder that outlives it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cdp::Cdp;
use crate::notebook::RECORDER;
use crate::page::Page;
use crate::stage::Cast;
use crate::wait::{SOON, until};

/// No sandbox: tests run as root in containers. Nothing that phones home or throttles.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
    "--window-size=1200,900",
];

/// A Chromium process and all its children, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Mutex<Child>);

impl Process {
    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> Result<Option<ExitStatus>> {
        self.child().try_wait().context("could not ask after Chromium")
    }

    fn kill(&self) {
        if matches!(self.child().try_wait(), Ok(None)) {
            // The group first: children that were stopped would not notice their parent's end.
            let _ = self.signal("KILL");
        }
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Sends a signal to every process of the group.
    fn signal(&self, name: &str) -> Result<()> {
        // The shell's own `kill`: small systems have no other.
        let line = format!("kill -{name} -{}", self.child().id());
        let status = Command::new("sh")
            .args(["-c", &line])
            .stderr(Stdio::null())
            .status()
            .context("could not run sh")?;
        if !status.success() {
            bail!("`{line}` failed");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A running Chromium. It runs until it is closed or killed, or its [`Stage`](crate::Stage) ends,
/// so that a failed test can still be looked at; the profile stays as long as the stage.
#[derive(Debug)]
pub struct Browser {
    process: Arc<Process>,
    cdp: Cdp,
    profile: PathBuf,
    cast: Cast,
}

impl Browser {
    /// Starts Chromium on `profile`, a folder that is made if it is missing.
    pub(crate) async fn launch(profile: &Path, cast: Cast) -> Result<Self> {
        let program = std::env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into());
        std::fs::create_dir_all(profile).context("could not make a profile folder")?;
        let address = profile.join("DevToolsActivePort");
        // The last process may have been killed and have left its own.
        let _ = std::fs::remove_file(&address);
        let child = Command::new(&program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that it can be stopped and killed with all its children.
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let process = Arc::new(Process(Mutex::new(child)));
        cast.keep(&process);
        let found = until("Chromium tells its DevTools port", SOON * 4, async || {
            if let Some(status) = process.ended()? {
                bail!("Chromium ended at once ({status})");
            }
            Ok(read_address(&address))
        });
        let (socket, _) = found.await?;
        let cdp = Cdp::connect(&socket).await?;
        Ok(Self { process, cdp, profile: profile.to_path_buf(), cast })
    }

    /// Opens `url` in a new window of this profile.
    ///
    /// # Errors
    ///
    /// When the browser is gone.
    pub async fn open(&self, url: &str) -> Result<Page> {
        let params = json!({ "url": "about:blank", "newWindow": true });
        let made = self.cdp.call(None, "Target.createTarget", params).await?;
        let target = made["targetId"].as_str().context("a new tab has an id")?;
        let page = self.attach(target).await?;
        page.before_each_load(RECORDER).await?;
        page.goto(url).await?;
        Ok(page)
    }

    /// Runs `act`, which makes a page open another window, and attaches to that window.
    ///
    /// # Errors
    ///
    /// When `act` fails or no window appears.
    pub async fn opened_by(&self, act: impl AsyncFnOnce() -> Result<()>) -> Result<Page> {
        let before = self.targets().await?;
        act().await?;
        let (target, _) = until("a new window opens", SOON, async || {
            Ok(self.targets().await?.into_iter().find(|target| !before.contains(target)))
        })
        .await?;
        self.attach(&target).await
    }

    async fn attach(&self, target: &str) -> Result<Page> {
        let page = Page::attach(self.cdp.clone(), target).await?;
        let name = self.profile.file_name().unwrap_or_default().to_string_lossy();
        self.cast.enter(&name, &page);
        Ok(page)
    }

    /// Ends the browser as a person does, by closing it, and waits for it to be gone.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn close(self) -> Result<()> {
        // It may be gone before it answers.
        let _ = self.cdp.call(None, "Browser.close", json!({})).await;
        until("Chromium ends", SOON, async || self.process.ended()).await.map(drop)
    }

    /// Kills the browser with everything it started, at once (`kill -9`).
    pub fn kill(self) {
        self.process.kill();
    }

    /// Stops every process of the browser where it is: its sockets stay open and silent.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// The folder that a later browser can be started on.
    #[must_use]
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    async fn targets(&self) -> Result<Vec<String>> {
        let answer = self.cdp.call(None, "Target.getTargets", json!({})).await?;
        let all = answer["targetInfos"].as_array().cloned().unwrap_or_default();
        let pages = all.iter().filter(|target| target["type"] == "page");
        Ok(pages.filter_map(|page| page["targetId"].as_str().map(str::to_owned)).collect())
    }
}

/// The browser's socket address, once the file that tells it is complete.
fn read_address(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let (port, path) = text.split_once('\n')?;
    (!path.is_empty()).then(|| format!("ws://127.0.0.1:{port}{}", path.trim()))
}
