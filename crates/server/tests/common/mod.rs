//! The real binary as a child process, and clients that speak to it over real sockets.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use leptos_sync_crdt::{Block, Doc, DocId, PeerId, VersionVector};
use leptos_sync_protocol::{
    ClientConfig, ClientEvent, ClientInput, ClientOutput, ClientSession, Instant,
};
use leptos_sync_server::{DoorLimits, Store, SyncServer};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_leptos-sync");

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

pub(crate) fn doc_id(id: &str) -> DocId {
    DocId::new(id).expect("test ids are valid")
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(BINARY).args(args).output().expect("the binary runs")
}

/// A server on `data` and a free port, to be started; it logs into `data`.
pub(crate) fn command(data: &Path) -> Command {
    std::fs::create_dir_all(data).expect("the folder can be made");
    command_with_log(data, &log_file(data))
}

/// The same, which logs into a file elsewhere; it makes its folder itself.
pub(crate) fn command_with_log(data: &Path, log: &Path) -> Command {
    let log = File::options().create(true).append(true).open(log);
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(log.expect("the log can be written"));
    command
}

fn log_file(data: &Path) -> PathBuf {
    data.join("server.log")
}

/// `failing_disk.c`, compiled, to be loaded before the C library.
pub(crate) fn failing_disk() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        // Tests run in their package. Where it was compiled may be another checkout.
        let source = "tests/failing_disk.c";
        let name = format!("failing_disk_{}.so", std::process::id());
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let status = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&made)
            .args([source, "-ldl"])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "a C compiler, as SQLite needs one");
        made
    })
}

/// What servers on `data` have said on standard error.
pub(crate) fn log_of(data: &Path) -> String {
    std::fs::read_to_string(log_file(data)).expect("the log is text")
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
}

impl Ended {
    fn of(mut child: Child) -> Self {
        Self { success: child.wait().expect("the server ends").success() }
    }
}

/// A server. If it is a process of its own, it is killed when dropped.
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) address: String,
}

impl Server {
    /// Serves `data` on a free port.
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        Self::launch(command(data).args(args)).expect("the server starts")
    }

    /// Starts what [`command`] made, or says how it ended without serving.
    pub(crate) fn launch(command: &mut Command) -> Result<Self, Ended> {
        let mut child = command.spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("standard output is text");
        match line.trim().strip_prefix("listening on http://") {
            Some(address) => Ok(Self { child: Some(child), address: address.to_owned() }),
            None => Err(Ended::of(child)),
        }
    }

    /// Serves `router` inside this process on a free port.
    pub(crate) async fn inside(router: axum::Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { child: None, address }
    }

    /// Serves inside this process on a free port, with these limits, until the test ends.
    pub(crate) async fn with_limits<S: Store>(server: SyncServer<S>, limits: DoorLimits) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        tokio::spawn(async move {
            server.accept(listener, limits, std::future::pending()).await;
        });
        Self { child: None, address }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("the server is a process").id()
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("the server is a process")
    }

    /// How much memory the process has, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> usize {
        memory_of(self.id())
    }

    /// Forgets how much memory the process had at most; how much it has.
    #[cfg(target_os = "linux")]
    pub(crate) fn reset_memory_peak(&self) -> usize {
        let file = format!("/proc/{}/clear_refs", self.id());
        std::fs::write(file, "5").expect("the peak can be reset");
        self.memory()
    }

    /// How much memory the process had at most since then, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory_peak(&self) -> usize {
        memory_line(self.id(), "VmHWM:")
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child().kill().expect("the server is running");
        self.child().wait().expect("the server ends");
    }

    /// SIGTERM; returns whether the exit was clean.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = self.child().id().to_string();
        Command::new("kill").arg(pid).status().expect("kill exists");
        self.child().wait().expect("the server ends").success()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(mut self) -> Ended {
        let child = self.child.take().expect("the server is a process");
        let ended = tokio::task::spawn_blocking(|| Ended::of(child));
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the server ends in time");
        ended.expect("nothing panics")
    }

    /// A plain HTTP request: status line, headers and body.
    pub(crate) async fn get(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = TcpStream::connect(&self.address).await.expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the server answers");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// How much memory a process has, in bytes.
#[cfg(target_os = "linux")]
pub(crate) fn memory_of(process: u32) -> usize {
    memory_line(process, "VmRSS:")
}

#[cfg(target_os = "linux")]
fn memory_line(process: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("the server is running");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.expect("memory is told").trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().expect("a number") << 10
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket with these headers.
pub(crate) async fn connect(
    server: &Server,
    headers: &[(&'static str, &str)],
) -> Result<Socket, tungstenite::Error> {
    connect_to(&server.address, headers).await
}

/// Opens a socket to `address` with these headers.
pub(crate) async fn connect_to(
    address: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{address}/sync").into_client_request().expect("a valid url");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a valid header"));
    }
    tokio_tungstenite::connect_async(request).await.map(|(socket, _)| socket)
}

pub(crate) const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "leptos-sync.v1");

/// Sends one message on a fresh socket and returns the close code that follows.
pub(crate) async fn close_code_after(server: &Server, messages: Vec<Message>) -> u16 {
    let mut socket = connect(server, &[PROTOCOL]).await.expect("the server accepts");
    for message in messages {
        // The server may close before it has read everything.
        if socket.send(message).await.is_err() {
            break;
        }
    }
    close_code(&mut socket).await
}

/// Reads until the server closes.
pub(crate) async fn close_code(socket: &mut Socket) -> u16 {
    let read = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return frame.code.into();
            }
        }
        0
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server closes")
}

/// A client: the production session on a real socket, and one document.
pub(crate) struct Client {
    session: ClientSession,
    socket: Socket,
    started: tokio::time::Instant,
    events: VecDeque<ClientEvent>,
    pub(crate) closed: Option<u16>,
    /// How many bytes the server has sent.
    pub(crate) heard_bytes: usize,
    pub(crate) id: DocId,
    pub(crate) doc: Doc,
}

impl Client {
    /// Connects, opens `id` and catches up.
    pub(crate) async fn open(server: &Server, peer: u64, id: &str) -> Self {
        let mut client = Self::connect(server, peer, id, None).await;
        client.open_doc().await;
        client.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
        client
    }

    /// Connects and says hello.
    pub(crate) async fn connect(
        server: &Server,
        peer: u64,
        id: &str,
        token: Option<String>,
    ) -> Self {
        let socket = connect(server, &[PROTOCOL]).await.expect("the server accepts");
        Self::greet(socket, peer, id, token).await
    }

    /// Says hello on a socket.
    pub(crate) async fn greet(socket: Socket, peer: u64, id: &str, token: Option<String>) -> Self {
        let mut client = Self {
            session: ClientSession::new(ClientConfig { client_id: peer, token }),
            socket,
            started: tokio::time::Instant::now(),
            events: VecDeque::new(),
            closed: None,
            heard_bytes: 0,
            id: doc_id(id),
            doc: Doc::new(PeerId(peer)),
        };
        client.input(ClientInput::Started { wall_ms: now_ms() }).await;
        client
    }

    pub(crate) async fn open_doc(&mut self) {
        let (doc, have) = (self.id.clone(), self.doc.version().clone());
        self.input(ClientInput::Open { doc, have, me: None, since: None }).await;
    }

    pub(crate) async fn input(&mut self, input: ClientInput) {
        let now = Instant::from_ms(self.started.elapsed().as_millis() as u64);
        self.session.handle(now, input);
        while let Some(output) = self.session.poll_output() {
            match output {
                ClientOutput::Send(frame) => {
                    // A server that was killed is noticed when reading.
                    let _ = self.socket.feed(Message::Binary(frame)).await;
                }
                ClientOutput::Event(event) => {
                    if let ClientEvent::Blocks { blocks, .. } = &event {
                        self.doc.import(now_ms(), blocks.clone()).expect("valid blocks");
                    }
                    if let ClientEvent::Packs { updates, .. } = &event {
                        for update in updates {
                            self.doc.import_update(now_ms(), update).expect("a valid update");
                        }
                    }
                    self.events.push_back(event);
                }
                ClientOutput::CloseSocket { code, .. } => self.closed = Some(code),
            }
        }
        let _ = self.socket.flush().await;
    }

    /// The next event; `None` once the socket is closed.
    pub(crate) async fn event(&mut self) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.closed.is_some() {
                return None;
            }
            let message = tokio::time::timeout(PATIENCE, self.message()).await;
            let message = message.expect("the server says something");
            self.take(message).await;
        }
    }

    /// The next message, to be given to [`Client::take`]. Nothing is lost if nobody waits for it.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        self.socket.next().await.and_then(Result::ok)
    }

    /// Takes a message in; none is the end of the connection.
    pub(crate) async fn take(&mut self, message: Option<Message>) {
        match message {
            Some(Message::Binary(frame)) => {
                self.heard_bytes += frame.len();
                self.input(ClientInput::Frame(frame)).await;
            }
            Some(Message::Close(frame)) => {
                self.closed = Some(frame.map_or(0, |frame| frame.code.into()));
            }
            Some(_) => {}
            None => self.closed = Some(self.closed.unwrap_or(0)),
        }
    }

    /// What happened so far and was not asked for yet.
    pub(crate) fn pop_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Reads events up to the first that `matches`.
    pub(crate) async fn until(&mut self, matches: impl Fn(&ClientEvent) -> bool) -> ClientEvent {
        loop {
            let event = self.event().await.expect("the connection is open");
            if matches(&event) {
                return event;
            }
        }
    }

    /// Reads until the server closes, and returns the code.
    pub(crate) async fn until_closed(&mut self) -> u16 {
        while self.event().await.is_some() {}
        self.closed.expect("it is closed")
    }

    /// Appends to the text `text` and returns the block.
    pub(crate) fn write(&mut self, content: &str) -> Block {
        let end = self.doc.text("text").len();
        let (done, commit) = self.doc.transact(now_ms(), |tx| tx.text("text").insert(end, content));
        done.expect("the end is a valid position");
        self.doc.block(&commit.expect("something was written"))
    }

    pub(crate) async fn send(&mut self, blocks: Vec<Block>) {
        let doc = self.id.clone();
        self.input(ClientInput::Changes { doc, blocks }).await;
    }

    /// Appends, sends, and waits until the server has it durably.
    pub(crate) async fn save(&mut self, content: &str) {
        self.save_all(&[content]).await;
    }

    /// The same with a change for each of these.
    pub(crate) async fn save_all(&mut self, contents: &[&str]) {
        let blocks: Vec<Block> = contents.iter().map(|content| self.write(content)).collect();
        let last = blocks.last().expect("something is written");
        let (peer, end) = (last.peer(), last.end());
        self.send(blocks).await;
        self.until(|event| match event {
            ClientEvent::Acked { through, .. } => through.get(peer) >= end,
            ClientEvent::Rejected { code, .. } => panic!("rejected: {code:?}"),
            _ => false,
        })
        .await;
    }

    /// Reads until the document's text is `expected`.
    pub(crate) async fn until_text(&mut self, expected: &str) {
        while self.text() != expected {
            self.event().await.expect("the connection is open");
        }
    }

    pub(crate) fn text(&self) -> String {
        self.doc.text("text").to_string()
    }

    pub(crate) async fn show(&mut self, payload: &[u8]) {
        let (doc, payload) = (self.id.clone(), Some(payload.to_vec()));
        self.input(ClientInput::Presence { doc, payload }).await;
    }

    /// Sends a raw frame, past the session.
    pub(crate) async fn raw(&mut self, frame: Bytes) {
        self.socket.send(Message::Binary(frame)).await.expect("the socket is open");
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.expect("the socket closes");
    }

    pub(crate) fn version(&self) -> VersionVector {
        self.doc.version().clone()
    }
}
