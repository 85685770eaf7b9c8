//! The real server process on a disk that fails: full, read-only, failing at fsync, unreadable, or
//! held by somebody else. The disk is `failing_disk.c`, compiled here and loaded before the C
//! library, so what fails is what the server and SQLite ask of the system.
#![cfg(target_os = "linux")]

mod common;

use std::path::PathBuf;

use common::{Client, Ended, Server, command, failing_disk, log_of};
use leptos_sync_crdt::Block;
use leptos_sync_protocol::{ClientEvent, NackCode};

/// A disk with a store on it, which fails as it is told to.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// How it fails from now on; see the shim.
    fn fails(&self, how: &str) {
        let (new, control) = (self.folder.path().join("new"), self.folder.path().join("control"));
        std::fs::write(&new, how).expect("the control can be written");
        std::fs::rename(new, control).expect("the control can be replaced");
    }

    fn launch(&self) -> Result<Server, Ended> {
        let mut command = command(&self.data());
        command
            .env("LD_PRELOAD", failing_disk())
            .env("FAILING_DISK_DIR", self.data())
            .env("FAILING_DISK_CONTROL", self.folder.path().join("control"));
        Server::launch(&mut command)
    }

    fn start(&self) -> Server {
        self.launch().unwrap_or_else(|_| panic!("the server starts: {}", self.log()))
    }

    fn log(&self) -> String {
        log_of(&self.data())
    }

    /// What is said by a server that does not start.
    fn refusal(&self) -> String {
        let ended = self.launch().err().expect("the server does not start");
        assert!(!ended.success);
        self.log().lines().last().expect("it says why").to_owned()
    }
}

/// What became of what was sent last.
async fn answer(client: &mut Client) -> Option<NackCode> {
    let told = |event: &ClientEvent| {
        matches!(event, ClientEvent::Acked { .. } | ClientEvent::Rejected { .. })
    };
    match client.until(told).await {
        ClientEvent::Rejected { code, .. } => Some(code),
        _ => None,
    }
}

/// Writes until the disk is full: the text that was acknowledged, and the change that was refused.
async fn fill(client: &mut Client) -> (String, Block) {
    loop {
        let acknowledged = client.text();
        let block = client.write(&"0123456789".repeat(300));
        client.send(vec![block.clone()]).await;
        if let Some(code) = answer(client).await {
            assert_eq!(code, NackCode::Quota);
            return (acknowledged, block);
        }
    }
}

/// Nothing is acknowledged that is not stored, reading goes on, and with room again the same change
/// is taken, without a restart.
#[tokio::test]
async fn a_full_disk_refuses_changes_and_goes_on_when_there_is_room() {
    let disk = Disk::new();
    let server = disk.start();
    let mut ada = Client::open(&server, 1, "d").await;
    let mut bob = Client::open(&server, 2, "d").await;
    ada.save("before ").await;
    disk.fails("full 60000");
    let (acknowledged, refused) = fill(&mut ada).await;
    assert!(acknowledged.len() > 6_000, "there was room for some");
    bob.until_text(&acknowledged).await;
    assert_eq!(Client::open(&server, 3, "d").await.text(), acknowledged);
    assert_eq!(Client::open(&server, 4, "other").await.text(), "");
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
    ada.send(vec![refused.clone()]).await;
    assert_eq!(answer(&mut ada).await, Some(NackCode::Quota), "it is still full");

    disk.fails("");
    ada.send(vec![refused]).await;
    assert_eq!(answer(&mut ada).await, None);
    bob.until_text(&ada.text()).await;
    server.kill();
    let server = disk.start();
    assert_eq!(Client::open(&server, 5, "d").await.text(), ada.text());
}

/// Killed on a full disk, the server says why it does not start, and loses nothing.
#[tokio::test]
async fn a_server_that_cannot_start_on_a_full_disk_says_so_and_loses_nothing() {
    let disk = Disk::new();
    let server = disk.start();
    let mut ada = Client::open(&server, 1, "d").await;
    disk.fails("full 30000");
    let (acknowledged, _) = fill(&mut ada).await;
    server.kill();
    disk.fails("full 0");
    match disk.launch() {
        // It may need no room to read back its log.
        Ok(server) => assert_eq!(Client::open(&server, 2, "d").await.text(), acknowledged),
        Err(ended) => {
            assert!(!ended.success);
            let log = disk.log();
            assert!(log.contains("cannot open") && log.contains("disk is full"), "{log}");
        }
    }
    disk.fails("");
    let server = disk.start();
    assert_eq!(Client::open(&server, 3, "d").await.text(), acknowledged);
}

/// Where the log lies on the disk that is full, the server goes on without it.
#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nobody() {
    let disk = Disk::new();
    let server = disk.start();
    let mut ada = Client::open(&server, 1, "d").await;
    disk.fails("full-log 0");
    let (acknowledged, refused) = fill(&mut ada).await;
    assert_eq!(Client::open(&server, 2, "d").await.text(), acknowledged);
    disk.fails("");
    ada.send(vec![refused]).await;
    assert_eq!(answer(&mut ada).await, None);
    assert_eq!(Client::open(&server, 3, "d").await.text(), ada.text());
}

/// A server does not start on a disk that it cannot write to, and says what to look at.
#[tokio::test]
async fn a_read_only_disk_is_refused_with_advice() {
    for is_killed in [false, true] {
        let disk = Disk::new();
        let server = disk.start();
        Client::open(&server, 1, "d").await.save("kept").await;
        if is_killed {
            // Its write-ahead log is left, so there is nothing to write at the next start.
            server.kill();
        } else {
            assert!(server.terminate());
        }
        disk.fails("readonly");
        let said = disk.refusal();
        assert!(said.starts_with("error: cannot open") && said.contains("read-only"), "{said}");
        disk.fails("");
        assert_eq!(Client::open(&disk.start(), 2, "d").await.text(), "kept");
    }
}

/// The server stops rather than acknowledge what is in doubt, by whatever the disk got there.
#[tokio::test]
async fn a_disk_that_fails_while_writing_stops_the_server() {
    for how in ["unsynced", "readonly"] {
        let disk = Disk::new();
        let server = disk.start();
        let mut ada = Client::open(&server, 1, "d").await;
        ada.save("acknowledged").await;
        disk.fails(how);
        let block = ada.write(", in doubt");
        ada.send(vec![block.clone()]).await;
        while let Some(event) = ada.event().await {
            let told = matches!(event, ClientEvent::Acked { .. } | ClientEvent::Rejected { .. });
            assert!(!told, "{how}: {event:?}");
        }
        assert!(!server.ended().await.success, "{how}");
        let log = disk.log();
        assert!(log.contains("error: stopped: the disk failed while writing"), "{how}: {log}");
        disk.fails("");
        let server = disk.start();
        let mut bob = Client::open(&server, 2, "d").await;
        assert!(["acknowledged", "acknowledged, in doubt"].contains(&bob.text().as_str()));
        bob.send(vec![block]).await;
        assert_eq!(answer(&mut bob).await, None, "{how}: its author sends it again");
        assert_eq!(Client::open(&server, 3, "d").await.text(), "acknowledged, in doubt");
    }
}

/// A server does not start where fsync fails.
#[tokio::test]
async fn a_disk_that_cannot_sync_is_refused() {
    let disk = Disk::new();
    disk.fails("unsynced");
    let said = disk.refusal();
    assert!(said.starts_with("error: cannot open") && said.contains("disk"), "{said}");
}

/// Documents that cannot be read are refused by name while those that are open go on, and can be
/// read when the disk can.
#[tokio::test]
async fn a_disk_that_cannot_be_read_comes_back() {
    let disk = Disk::new();
    let server = disk.start();
    for (peer, id) in [(1, "open"), (2, "closed")] {
        Client::open(&server, peer, id).await.save(&"long ".repeat(20_000)).await;
    }
    assert!(server.terminate());
    let server = disk.start();
    let mut ada = Client::open(&server, 3, "open").await;
    disk.fails("unreadable");
    let mut bob = Client::connect(&server, 4, "closed", None).await;
    bob.open_doc().await;
    bob.until(|event| matches!(event, ClientEvent::DocError { .. })).await;
    disk.fails("");
    bob.open_doc().await;
    bob.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
    assert_eq!(bob.text(), "long ".repeat(20_000));
    ada.save("still here").await;
}

/// While another process holds the store, changes are refused by name; reading goes on, and so does
/// writing when the store is free.
#[tokio::test]
async fn a_store_that_is_held_by_another_process_comes_back() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &[]);
    let mut ada = Client::open(&server, 1, "d").await;
    ada.save("first").await;
    let other = rusqlite::Connection::open(data.path().join("leptos-sync.sqlite")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    let block = ada.write(", second");
    ada.send(vec![block.clone()]).await;
    assert_eq!(answer(&mut ada).await, Some(NackCode::Unavailable));
    assert_eq!(Client::open(&server, 2, "d").await.text(), "first");
    other.execute_batch("ROLLBACK").expect("the lock is ours");
    ada.send(vec![block]).await;
    assert_eq!(answer(&mut ada).await, None);
    assert_eq!(Client::open(&server, 3, "d").await.text(), "first, second");
}
