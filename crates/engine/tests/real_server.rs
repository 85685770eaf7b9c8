//! The engine against the real server, over a real socket: it dies in the middle of the work, and
//! nothing that was shown as saved is lost.
#![cfg(not(target_family = "wasm"))]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use leptos_sync_engine::{
    DocHandle, DocId, EngineConfig, NativeEnv, NoTabs, SyncEngine, SyncState,
};
use leptos_sync_server::SyncServer;
use leptos_sync_storage::MemoryStorage;
use leptos_sync_transport::WebSocketTransport;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

/// A server process, as far as one can be had within a test: what it has not stored dies with it.
struct Server {
    runtime: Option<Runtime>,
    storage: MemoryStorage,
    address: SocketAddr,
}

impl Server {
    fn start(storage: MemoryStorage, address: SocketAddr) -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let store = storage.reopen();
        let address = runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind(address).await.expect("the port is free");
            let address = listener.local_addr().expect("it is bound");
            let server = SyncServer::builder(store).start().await.expect("storage works");
            let router = server.router();
            tokio::spawn(async move {
                let _server = server;
                axum::serve(listener, router).await
            });
            address
        });
        Self { runtime: Some(runtime), storage, address }
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    fn restart(&mut self) {
        self.kill();
        *self = Self::start(self.storage.clone(), self.address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn engine(server: &Server) -> SyncEngine {
    SyncEngine::start(
        EngineConfig::default(),
        MemoryStorage::new(),
        Some(WebSocketTransport::new(format!("ws://{}/sync", server.address))),
        NoTabs,
        NativeEnv::new(),
    )
}

async fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn text(doc: &DocHandle) -> String {
    doc.read(|doc| doc.text("note").to_string())
}

fn is_saved(doc: &DocHandle) -> bool {
    doc.status().state == SyncState::Saved
}

fn on_this_thread(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime starts");
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn nothing_saved_is_lost_when_the_server_is_killed_while_two_people_type() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut server = Server::start(MemoryStorage::new(), any_port);
    let board = DocId::new("board/42").expect("a valid id");
    let addressed = server.address;
    let (kill, killed) = std::sync::mpsc::channel::<()>();
    // Runtimes cannot be shut down from within one.
    let killer = std::thread::spawn(move || {
        while killed.recv().is_ok() {
            server.restart();
        }
        server
    });
    on_this_thread(async {
        let reach = |address| {
            let storage = MemoryStorage::new();
            let stub = Server { runtime: None, storage, address };
            engine(&stub)
        };
        let (ada, ben) = (reach(addressed), reach(addressed));
        let docs = [ada.open(&board), ben.open(&board)];
        until(|| docs.iter().all(is_saved)).await;
        for round in 0..6 {
            for doc in &docs {
                let at = doc.read(|doc| doc.text("note").len());
                let word = format!("{round} ");
                doc.transact(|tx| tx.text("note").insert(at, &word)).expect("in range");
                if round % 2 == 0 {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
            kill.send(()).expect("the killer waits");
            ada.nudge();
            ben.nudge();
            if round % 3 == 0 {
                until(|| docs.iter().all(is_saved)).await;
            }
        }
        until(|| docs.iter().all(is_saved) && text(&docs[0]) == text(&docs[1])).await;
        let expected = text(&docs[0]);
        for round in 0..6 {
            assert_eq!(expected.matches(&format!("{round} ")).count(), 2, "{expected:?}");
        }
        assert_eq!(ada.status().pending + ben.status().pending, 0);

        kill.send(()).expect("the killer waits");
        let newcomer = reach(addressed);
        let doc = newcomer.open(&board);
        until(|| is_saved(&doc)).await;
        assert_eq!(text(&doc), expected);
    });
    drop(kill);
    drop(killer.join().expect("the server can be killed"));
}

#[test]
fn people_see_each_other_and_large_documents_arrive() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(MemoryStorage::new(), any_port);
    let board = DocId::new("board/42").expect("a valid id");
    on_this_thread(async {
        let (ada, ben) = (engine(&server), engine(&server));
        let docs = [ada.open(&board), ben.open(&board)];
        docs[0].set_presence(Some(b"Ada".to_vec()));
        until(|| docs[1].peers().iter().any(|peer| peer.payload == b"Ada")).await;
        let long = "A line of text.\n".repeat(20_000);
        for (at, piece) in long.as_bytes().chunks(100_000).enumerate() {
            let piece = std::str::from_utf8(piece).expect("ascii");
            docs[0].transact(|tx| tx.text("note").insert(at * 100_000, piece)).expect("in range");
        }
        until(|| is_saved(&docs[0]) && text(&docs[1]).len() == long.len()).await;
        assert_eq!(text(&docs[1]), long);
        drop(docs);
        let [alone] = [ben.open(&board)];
        until(|| alone.peers().is_empty()).await;
    });
}
