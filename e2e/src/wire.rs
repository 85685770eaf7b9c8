//! The network between browsers and the server, and what it does to them on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::server::Server;

/// What a [`Wire`] does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Carries them to the server.
    Clear,
    /// Keeps them open, old and new ones, and carries nothing.
    Silent,
    /// Cuts them, and answers everything with a page and status 200, as a hotel's network does.
    Portal,
    /// Cuts them, and takes sockets to close each at once with this code.
    Closing(u16),
}

/// A port of its own in front of a server.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    dialed: Dialed,
    task: JoinHandle<()>,
}

/// When somebody asked a portal for the sync socket.
#[derive(Clone, Debug, Default)]
struct Dialed(Arc<Mutex<Vec<Instant>>>);

impl Dialed {
    fn times(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// A wire to `server` in clear weather.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub async fn to(server: &Server) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("there is no free port")?;
        let address = listener.local_addr().context("a bound socket has an address")?;
        let (weather, report) = watch::channel(Weather::Clear);
        let dialed = Dialed::default();
        let (server, noted) = (server.address(), dialed.clone());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(carry(socket, server.clone(), report.clone(), noted.clone()));
            }
        });
        Ok(Self { address, weather, dialed, task })
    }

    /// Changes the weather, for connections that are open as well.
    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// When the sync socket was asked for while the weather was [`Weather::Portal`].
    #[must_use]
    pub fn dialed(&self) -> Vec<Instant> {
        self.dialed.times().clone()
    }

    /// The address to open in a browser for `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, to its end. How it ends is for the browser to find out.
async fn carry(
    mut browser: TcpStream,
    server: String,
    mut report: watch::Receiver<Weather>,
    dialed: Dialed,
) {
    let weather = *report.borrow_and_update();
    match weather {
        Weather::Clear => {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            let ended = tokio::select! {
                _ = copy_bidirectional(&mut browser, &mut server) => true,
                _ = report.wait_for(|weather| *weather != Weather::Clear) => false,
            };
            if !ended {
                be_silent(&mut report).await;
            }
        }
        Weather::Silent => be_silent(&mut report).await,
        Weather::Portal => {
            let _ = show_portal(&mut browser, &dialed).await;
        }
        Weather::Closing(code) => {
            let _ = close(browser, code).await;
        }
    }
}

/// Returns when connections are not to be kept any more.
async fn be_silent(report: &mut watch::Receiver<Weather>) {
    // An error says that the wire is gone, and the connection goes with it.
    let _ = report.wait_for(|weather| *weather != Weather::Silent).await;
}

async fn show_portal(browser: &mut TcpStream, dialed: &Dialed) -> Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if browser.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    if request.starts_with(b"GET /sync") {
        dialed.times().push(Instant::now());
    }
    let page = "<!doctype html><title>Welcome</title><p>Please sign in to use this network.";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    );
    browser.write_all(answer.as_bytes()).await?;
    browser.shutdown().await?;
    Ok(())
}

async fn close(browser: TcpStream, code: u16) -> Result<()> {
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let agree = |request: &Request, mut response: Response| {
        if let Some(name) = request.headers().get("Sec-WebSocket-Protocol") {
            response.headers_mut().insert("Sec-WebSocket-Protocol", name.clone());
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(browser, agree).await?;
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    socket.send(Message::Close(Some(frame))).await?;
    // The browser's answer, or its end.
    let _ = futures::StreamExt::next(&mut socket).await;
    Ok(())
}
