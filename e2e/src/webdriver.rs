//! A browser other than Chromium, through the little of WebDriver that one scene needs.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::page::quoted;
use crate::wait::{SOON, until};

/// No command takes longer, except when something hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The name of an element's id in the answers of a driver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Firefox, by the geckodriver that `GECKODRIVER` names.
    Firefox,
    /// WebKitGTK, by the WebKitWebDriver that `WEBKITDRIVER` names, on a screen of its own.
    WebKit,
}

impl Engine {
    fn variable(self) -> &'static str {
        match self {
            Self::Firefox => "GECKODRIVER",
            Self::WebKit => "WEBKITDRIVER",
        }
    }

    fn capabilities(self) -> Value {
        match self {
            Self::Firefox => json!({ "moz:firefoxOptions": { "args": ["-headless"] } }),
            Self::WebKit => json!({}),
        }
    }
}

/// One tab of such a browser, which ends when this is dropped.
#[derive(Debug)]
pub struct Driven {
    port: u16,
    session: String,
    _process: Group,
}

/// A driver and all that it started.
#[derive(Debug)]
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let line = format!("kill -KILL -{}", self.0.id());
        let _ = Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

impl Driven {
    /// Starts the browser with an empty profile.
    ///
    /// # Errors
    ///
    /// When no driver is named, or it does not start a browser.
    pub async fn start(engine: Engine) -> Result<Self> {
        let driver = std::env::var_os(engine.variable()).with_context(|| {
            format!("{} is not set; run `cargo xtask test --browsers`", engine.variable())
        })?;
        let port = free_port()?;
        let mut command = match engine {
            Engine::Firefox => Command::new(&driver),
            Engine::WebKit => Command::new("xvfb-run"),
        };
        if engine == Engine::WebKit {
            command.arg("-a").arg(&driver);
        }
        let child = command
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {engine:?}"))?;
        let mut driven = Self { port, session: String::new(), _process: Group(child) };
        let request = json!({ "capabilities": { "alwaysMatch": engine.capabilities() } });
        // The driver takes a moment to listen.
        let (made, _) = until("the driver starts a browser", SOON * 4, async || {
            match driven.send("POST", "/session", &request).await {
                Ok(made) => Ok(Some(made)),
                Err(error) if error.is::<std::io::Error>() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
        let session = made["sessionId"].as_str().context("a session has an id")?;
        driven.session = format!("/session/{session}");
        Ok(driven)
    }

    /// Goes to `url` and waits until it is loaded.
    ///
    /// # Errors
    ///
    /// When it cannot be loaded.
    pub async fn goto(&self, url: &str) -> Result<()> {
        self.command("/url", &json!({ "url": url })).await.map(drop)
    }

    /// Loads the page anew, as its own script would, and waits until it is loaded.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub async fn reload(&self) -> Result<()> {
        self.eval("window.beforeReload = true, setTimeout(() => location.reload()), 0").await?;
        let fresh = "!window.beforeReload && document.readyState === 'complete'";
        self.wait_for(fresh, SOON * 2).await.map(drop)
    }

    /// The value of a JavaScript expression; promises are awaited.
    ///
    /// # Errors
    ///
    /// When it throws.
    pub async fn eval(&self, expression: &str) -> Result<Value> {
        let script = format!("return ({expression})");
        self.command("/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until `condition`, a JavaScript expression, is truthy.
    ///
    /// # Errors
    ///
    /// When it does not become so within `limit`; tells what the page shows.
    pub async fn wait_for(&self, condition: &str, limit: Duration) -> Result<Duration> {
        let guarded = format!("(() => {{ try {{ return !!({condition}) }} catch {{ }} }})()");
        let met = async || Ok(self.eval(&guarded).await.is_ok_and(|met| met == true).then_some(()));
        match until(condition, limit, met).await {
            Ok(((), time)) => Ok(time),
            Err(error) => {
                let shown = self.eval("document.body.innerText").await?;
                Err(error.context(format!("the page shows {shown}")))
            }
        }
    }

    /// Types into what bears this `data-testid`, with real keys, at its end.
    ///
    /// # Errors
    ///
    /// When nothing does.
    pub async fn type_into(&self, testid: &str, text: &str) -> Result<()> {
        let selector = format!("[data-testid={testid}]");
        let end = format!(
            "((field) => {{ field.focus(); field.selectionStart = field.value.length }})\
             (document.querySelector({}))",
            quoted(&selector)
        );
        self.eval(&end).await?;
        let query = json!({ "using": "css selector", "value": selector });
        let found = self.command("/element", &query).await?;
        let element = found[ELEMENT].as_str().context("an element has an id")?;
        self.command(&format!("/element/{element}/value"), &json!({ "text": text })).await.map(drop)
    }

    async fn command(&self, path: &str, body: &Value) -> Result<Value> {
        self.send("POST", &format!("{}{path}", self.session), body).await
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = tokio::time::timeout(COMMAND_LIMIT, self.exchange(method, path, body));
        let answer = answer.await.with_context(|| format!("{path}: no answer"))??;
        let (_, json) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
        let answer: Value = serde_json::from_str(json).context("an answer is JSON")?;
        let value = &answer["value"];
        if let Some(error) = value["error"].as_str() {
            bail!("{path}: {error}: {}", value["message"]);
        }
        Ok(value.clone())
    }

    /// One request over a connection of its own.
    async fn exchange(&self, method: &str, path: &str, body: &Value) -> Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        socket.write_all(request.as_bytes()).await?;
        // Drivers keep the connection, whatever they are asked: the length says where the end is.
        let mut answer = Vec::new();
        while !is_whole(&answer) && socket.read_buf(&mut answer).await? > 0 {}
        String::from_utf8(answer).context("an answer is text")
    }
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr().context("a bound socket has an address")?.port())
}

/// Whether an HTTP answer is there with all of its body.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    length.is_some_and(|length| answer.len() >= head.len() + 4 + length)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    }
}
