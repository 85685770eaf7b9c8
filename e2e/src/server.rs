//! The real server process, on one port for the whole test.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::{SOON, until};

/// The server: started, stopped, killed and started again on the same port and data.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    assets: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    process: Process,
}

/// The process, if one runs. The [`Stage`](crate::Stage) has it too and ends it last, so that a
/// failed test can be looked at with its server still there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process(Arc<Mutex<Option<Child>>>);

impl Process {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> Result<Option<ExitStatus>> {
        let mut child = self.child();
        let child = child.as_mut().context("the server does not run")?;
        child.try_wait().context("could not ask after the server")
    }

    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    /// A server that is not started yet, with its data and its log in `folder`.
    pub(crate) fn new(folder: &Path, process: Process) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
        let port = port.local_addr().context("a bound socket has an address")?.port();
        Ok(Self {
            binary: given("LEPTOS_SYNC_SERVER")?,
            assets: given("LEPTOS_SYNC_DIST")?,
            data: folder.join("data"),
            log: folder.join("server.log"),
            port,
            process,
        })
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends early or does not answer.
    pub async fn start(&mut self) -> Result<()> {
        if self.process.child().is_some() {
            bail!("the server is started twice");
        }
        let log = || -> Result<File> {
            let mut options = OpenOptions::new();
            options.create(true).append(true).open(&self.log).context("no server log")
        };
        let child = Command::new(&self.binary)
            .args(["serve", "--listen", &self.address(), "--data"])
            .arg(&self.data)
            .arg("--assets")
            .arg(&self.assets)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .spawn()
            .with_context(|| format!("could not start {}", self.binary.display()))?;
        *self.process.child() = Some(child);
        let address = format!("127.0.0.1:{}", self.port);
        until("the server answers /healthz", SOON, async || {
            if let Some(status) = self.process.ended()? {
                bail!("the server ended at once ({status})");
            }
            Ok(is_healthy(&address).await.then_some(()))
        })
        .await
        .map(drop)
    }

    /// Asks the process to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end, or ends with a failure.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(id) = self.process.child().as_ref().map(Child::id) else { return Ok(()) };
        let line = format!("kill -TERM {id}");
        Command::new("sh").args(["-c", &line]).status().context("could not run sh")?;
        let ended = until("the server ends after SIGTERM", SOON, async || self.process.ended());
        let ended = ended.await;
        self.process.kill();
        let (status, _) = ended?;
        if !status.success() {
            bail!("the server ended with {status} after SIGTERM");
        }
        Ok(())
    }

    /// Kills the process at once (`kill -9`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Keeps a copy of the data, which must not be in use: stop the server first.
    ///
    /// # Errors
    ///
    /// When the data cannot be copied.
    pub fn back_up(&self) -> Result<()> {
        copy_folder(&self.data, &self.data.with_extension("backup"))
    }

    /// Puts the copy in the place of the data, which must not be in use.
    ///
    /// # Errors
    ///
    /// When there is no copy, or it cannot be put back.
    pub fn restore(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.data).context("could not remove the server's data")?;
        copy_folder(&self.data.with_extension("backup"), &self.data)
    }

    /// Runs the server binary's command line on the same data, and returns what it prints.
    ///
    /// # Errors
    ///
    /// When the command fails, with its own words.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = Command::new(&self.binary)
            .args(args)
            .arg("--data")
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("could not run {}", self.binary.display()))?;
        if !status.success() {
            bail!("{args:?} failed ({status}): {}", String::from_utf8_lossy(&stderr).trim());
        }
        String::from_utf8(stdout).context("the command line printed what is not text")
    }

    /// The text of a document as the server holds it on disk.
    ///
    /// # Errors
    ///
    /// When the document is unknown.
    pub fn stored_text(&self, doc: &str) -> Result<String> {
        self.cli(&["doc", "export", doc, "--format", "text"])
    }

    /// The address to open in a browser for `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What the process has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Copies a folder with all that is in it; links are copied as links.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    if !status.context("could not run cp")?.success() {
        bail!("could not copy {} to {}", from.display(), to.display());
    }
    Ok(())
}

/// A path that `cargo xtask test` passes on.
fn given(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).with_context(|| {
        format!("{variable} is not set; run these tests with `cargo xtask test --only e2e`")
    })?;
    if !path.exists() {
        bail!("{variable} names {}, which does not exist", path.display());
    }
    Ok(path)
}

async fn is_healthy(address: &str) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!("GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    // A server that accepts and then says nothing is not healthy.
    let limit = std::time::Duration::from_secs(2);
    let answer = tokio::time::timeout(limit, ask).await;
    answer.is_ok_and(|answer| {
        answer.is_ok_and(|text| {
            text.split(|byte| *byte == b'\r').next().is_some_and(|line| line.ends_with(b"200 OK"))
        })
    })
}
