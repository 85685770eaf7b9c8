//! The real server process killed with SIGKILL again and again while clients write to it.
//!
//! Clients of the production session write under load over real sockets, connect again, and send
//! what the server lacks. After every kill, somebody who has nothing reads all documents and looks
//! for every change that was acknowledged; after each chapter of kills everybody must have the
//! same, with every change in it once.
//!
//! A program of its own, so that it can be stopped by Ctrl-C and ends its server then. Its settings
//! are environment variables, as `cargo xtask chaos` sets them: `LEPTOS_SYNC_CHAOS_KILLS`,
//! `_SEED`, `_JSON` (print JSON) and `_RECORD` (write JSON to this file).
#![allow(clippy::print_stdout, reason = "a program that reports on standard output")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Client, PROTOCOL, Server, connect_to};
use leptos_sync_crdt::{Doc, PeerId, VersionVector};
use leptos_sync_protocol::ClientEvent;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often the short form kills.
const KILLS: u32 = 60;
/// How many kills a set of documents lives through; then new ones are begun.
const CHAPTER_KILLS: u32 = 20;
const DOCUMENTS: u64 = 2;
const WRITERS_PER_DOCUMENT: u64 = 3;
/// How many changes a writer has under way at once.
const IN_FLIGHT: usize = 8;
/// How long a server lives at most after it listens, in milliseconds.
const LIFE_MS: u64 = 60;
/// How long it may take until everybody has the same.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.iter().filter(|argument| !argument.starts_with('-'));
    if arguments.iter().any(|argument| argument == "--list")
        || named.clone().count() > 0 && !named.into_iter().any(|name| "chaos".contains(name))
    {
        return ExitCode::SUCCESS;
    }
    let setting = |name: &str| std::env::var(format!("LEPTOS_SYNC_CHAOS_{name}")).ok();
    let kills = setting("KILLS").map_or(KILLS, |text| text.parse().expect("a number of kills"));
    let seed = setting("SEED").map_or_else(common::now_ms, |text| text.parse().expect("a seed"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(acknowledged_changes_survive_every_kill(kills, seed));
    if let Some(file) = setting("RECORD") {
        let text = format!("{:#}\n", report.figures(seed));
        std::fs::write(file, text).expect("the record can be written");
    }
    if setting("JSON").is_some() {
        println!("{}", report.figures(seed));
        return if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    report.print(seed);
    let verdict = if report.is_sound() { "ok. 1 passed; 0" } else { "FAILED. 0 passed; 1" };
    println!("test result: {verdict} failed; 0 ignored; 0 measured; 0 filtered out");
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What happened.
#[derive(Default)]
struct Report {
    kills: u32,
    /// Kills of a server that did not listen yet.
    kills_while_starting: u32,
    documents: u64,
    written: u64,
    acknowledged: u64,
    audits: u32,
    lost: u64,
    doubled: u64,
    /// What was in a document and written by nobody.
    invented: u64,
    diverged: u64,
    interrupted: bool,
    time: Duration,
}

impl Report {
    fn is_sound(&self) -> bool {
        self.lost + self.doubled + self.invented + self.diverged == 0
    }

    fn figures(&self, seed: u64) -> serde_json::Value {
        json!({
            "kills": self.kills,
            "kills_while_starting": self.kills_while_starting,
            "clients": self.documents * WRITERS_PER_DOCUMENT,
            "documents": self.documents,
            "changes_written": self.written,
            "changes_acknowledged": self.acknowledged,
            "readings_of_everything": self.audits,
            "lost": self.lost,
            "doubled": self.doubled,
            "invented": self.invented,
            "diverged": self.diverged,
            "interrupted": self.interrupted,
            "seconds": (self.time.as_secs_f64() * 10.0).round() / 10.0,
            "seed": seed,
        })
    }

    fn print(&self, seed: u64) {
        println!(
            "seed {seed}: {} kills ({} while starting), {} changes acknowledged of {} written in \
             {} documents, {} readings of everything: {} lost, {} doubled, {} invented, {} \
             diverged, in {:.1} s{}",
            self.kills,
            self.kills_while_starting,
            self.acknowledged,
            self.written,
            self.documents,
            self.audits,
            self.lost,
            self.doubled,
            self.invented,
            self.diverged,
            self.time.as_secs_f64(),
            if self.interrupted { ", interrupted" } else { "" },
        );
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014, figure 16): it decides when to kill.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// How many operations of each author were acknowledged, by document.
type Ledger = Arc<Mutex<BTreeMap<String, VersionVector>>>;

/// What the writers are told.
#[derive(Clone, Debug, Default)]
struct World {
    /// Where the server is; empty while there is none.
    address: String,
    /// Nothing new is written any more.
    is_closing: bool,
    /// What everybody must have in the end.
    targets: BTreeMap<String, VersionVector>,
}

/// What a writer did.
struct Written {
    id: String,
    tokens: Vec<String>,
    acknowledged: u64,
    doc: Doc,
}

async fn acknowledged_changes_survive_every_kill(kills: u32, seed: u64) -> Report {
    let started = Instant::now();
    let data = tempfile::tempdir().expect("a folder");
    let mut rng = Rng(seed);
    let mut report = Report::default();
    let interrupted = tokio::spawn(interruption());
    while report.kills < kills && !interrupted.is_finished() && report.is_sound() {
        let end = kills.min(report.kills + CHAPTER_KILLS);
        chapter(data.path(), &mut rng, &mut report, end, || interrupted.is_finished()).await;
    }
    report.interrupted = interrupted.is_finished();
    interrupted.abort();
    report.time = started.elapsed();
    report
}

/// Resolves when somebody wants this to end.
async fn interruption() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be heard");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes to new documents until the server was killed `end` times in all, then compares.
async fn chapter(
    data: &Path,
    rng: &mut Rng,
    report: &mut Report,
    end: u32,
    is_interrupted: impl Fn() -> bool,
) {
    let first = report.documents;
    let ids: Vec<String> =
        (first..first + DOCUMENTS).map(|number| format!("chaos/{number}")).collect();
    report.documents += DOCUMENTS;
    let ledger = Ledger::default();
    let world = watch::Sender::new(World::default());
    let (draining, mut drained) = tokio::sync::mpsc::unbounded_channel();
    let mut writers = JoinSet::new();
    for (index, id) in ids.iter().enumerate() {
        for writer in 0..WRITERS_PER_DOCUMENT {
            let peer = 1 + (first + index as u64) * WRITERS_PER_DOCUMENT + writer;
            let task = Writer::new(peer, id, ledger.clone(), draining.clone());
            writers.spawn(task.run(world.subscribe()));
        }
    }
    while report.kills < end && !is_interrupted() && report.is_sound() {
        if rng.below(4) == 0 {
            kill_while_starting(data, rng).await;
            report.kills_while_starting += 1;
        } else {
            let server = start(data);
            world.send_modify(|world| world.address = server.address.clone());
            audit(&server, &ledger, report).await;
            tokio::time::sleep(Duration::from_millis(rng.below(LIFE_MS))).await;
            server.kill();
            world.send_modify(|world| world.address.clear());
        }
        report.kills += 1;
    }
    let server = start(data);
    audit(&server, &ledger, report).await;
    world.send_modify(|world| {
        world.address = server.address.clone();
        world.is_closing = true;
    });
    drop(draining);
    for _ in 0..ids.len() as u64 * WRITERS_PER_DOCUMENT {
        let waited = tokio::time::timeout(PATIENCE, drained.recv()).await;
        waited.expect("everything is acknowledged in time").expect("every writer is drained");
    }
    let mut ends = BTreeMap::new();
    for id in &ids {
        ends.insert(id.clone(), Client::open(&server, u64::MAX, id).await.doc);
    }
    let targets = ends.iter().map(|(id, doc)| (id.clone(), doc.version().clone())).collect();
    world.send_modify(|world| world.targets = targets);
    let written = tokio::time::timeout(PATIENCE, writers.join_all()).await;
    compare(&ends, &written.expect("everybody has everything in time"), report);
    assert!(server.terminate(), "the server ends when it is asked to");
}

/// A server that Ctrl-C does not reach, since it is ended here.
fn server(data: &Path) -> Command {
    let mut command = common::command(data);
    command.process_group(0);
    command
}

fn start(data: &Path) -> Server {
    Server::launch(&mut server(data)).expect("the server starts")
}

/// Kills a server in the middle of its start, which reads back the log of the one before.
async fn kill_while_starting(data: &Path, rng: &mut Rng) {
    let mut child = server(data).spawn().expect("the binary starts");
    tokio::time::sleep(Duration::from_micros(rng.below(20_000))).await;
    child.kill().expect("the server is running");
    child.wait().expect("the server ends");
}

/// Somebody who has nothing reads everything: what was acknowledged must be there.
async fn audit(server: &Server, ledger: &Ledger, report: &mut Report) {
    report.audits += 1;
    let promised = ledger.lock().expect("nobody panics").clone();
    for (id, promised) in promised {
        let client = Client::open(server, u64::MAX, &id).await;
        for (peer, count) in promised.iter() {
            let missing = count.saturating_sub(client.doc.version().get(peer));
            if missing > 0 {
                println!("{id}: {missing} operations of {peer} of {count} acknowledged are gone");
                report.lost += 1;
            }
        }
    }
}

/// Everybody has the same, and each change that was written is in it once.
fn compare(ends: &BTreeMap<String, Doc>, written: &[Written], report: &mut Report) {
    for (id, end) in ends {
        let text = end.text("text").to_string();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for token in text.split_terminator(' ') {
            *counts.entry(token).or_default() += 1;
        }
        report.doubled += counts.values().filter(|&&count| count > 1).count() as u64;
        let mine = written.iter().filter(|writer| writer.id == *id);
        let tokens: BTreeSet<&str> =
            mine.clone().flat_map(|writer| writer.tokens.iter().map(String::as_str)).collect();
        report.lost += tokens.iter().filter(|token| !counts.contains_key(*token)).count() as u64;
        report.invented += counts.keys().filter(|token| !tokens.contains(*token)).count() as u64;
        for writer in mine {
            report.written += writer.tokens.len() as u64;
            report.acknowledged += writer.acknowledged;
            let is_same = writer.doc.version() == end.version()
                && writer.doc.text("text").to_string() == text;
            report.diverged += u64::from(!is_same);
        }
    }
}

/// A client that writes whenever it can, and connects again whenever it must.
struct Writer {
    peer: PeerId,
    id: String,
    doc: Doc,
    tokens: Vec<String>,
    /// Where each change that was not acknowledged ends.
    waiting: VecDeque<u32>,
    acknowledged: u64,
    ledger: Ledger,
    /// Told once that all was acknowledged after the end.
    draining: Option<tokio::sync::mpsc::UnboundedSender<()>>,
}

impl Writer {
    fn new(
        peer: u64,
        id: &str,
        ledger: Ledger,
        draining: tokio::sync::mpsc::UnboundedSender<()>,
    ) -> Self {
        Self {
            peer: PeerId(peer),
            id: id.to_owned(),
            doc: Doc::new(PeerId(peer)),
            tokens: Vec::new(),
            waiting: VecDeque::new(),
            acknowledged: 0,
            ledger,
            draining: Some(draining),
        }
    }

    /// Writes until the end, and until it has what everybody must have.
    async fn run(mut self, mut world: watch::Receiver<World>) -> Written {
        loop {
            let ready = world.wait_for(|world| !world.address.is_empty()).await;
            let address = ready.expect("the world outlives its writers").address.clone();
            if let Ok(socket) = connect_to(&address, &[PROTOCOL]).await {
                let mut client = Client::greet(socket, self.peer.0, &self.id, None).await;
                client.doc = std::mem::replace(&mut self.doc, Doc::new(self.peer));
                client.open_doc().await;
                let is_done = self.converse(&mut client, &mut world).await;
                self.doc = client.doc;
                if is_done {
                    let Self { id, tokens, acknowledged, doc, .. } = self;
                    return Written { id, tokens, acknowledged, doc };
                }
            }
            // The server is dead; whoever killed it says so.
            let moved = world.wait_for(|world| world.address != address).await;
            drop(moved.expect("the world outlives its writers"));
        }
    }

    /// Speaks to a server until it is gone; returns whether all is done.
    async fn converse(&mut self, client: &mut Client, world: &mut watch::Receiver<World>) -> bool {
        let mut is_open = false;
        loop {
            while let Some(event) = client.pop_event() {
                match event {
                    ClientEvent::Opened { server_version, .. } => {
                        is_open = true;
                        // The server may have died before it could say so.
                        self.note(&server_version);
                        // What it did not store, whoever wrote it.
                        client.send(client.doc.blocks_since(&server_version)).await;
                    }
                    ClientEvent::Acked { through, .. } => self.note(&through),
                    ClientEvent::Rejected { code, .. } => panic!("rejected: {code:?}"),
                    ClientEvent::DocError { code, .. } => panic!("cannot open: {code:?}"),
                    _ => {}
                }
            }
            let (is_closing, target) = {
                let world = world.borrow_and_update();
                (world.is_closing, world.targets.get(&self.id).cloned())
            };
            if target.is_some_and(|target| client.doc.version().covers(&target)) {
                return true;
            }
            if is_closing && self.waiting.is_empty() {
                // The last word to whoever waits for it, once.
                self.draining.take().map(|draining| draining.send(()));
            }
            while is_open && !is_closing && self.waiting.len() < IN_FLIGHT {
                self.write(client).await;
            }
            if client.closed.is_some() {
                return false;
            }
            tokio::select! {
                message = client.message() => client.take(message).await,
                changed = world.changed() => changed.expect("the world outlives its writers"),
            }
        }
    }

    async fn write(&mut self, client: &mut Client) {
        let token = format!("{}.{}", self.peer.0, self.tokens.len());
        let block = client.write(&format!("{token} "));
        self.tokens.push(token);
        self.waiting.push_back(block.end());
        client.send(vec![block]).await;
    }

    fn note(&mut self, through: &VersionVector) {
        let mut ledger = self.ledger.lock().expect("nobody panics");
        ledger.entry(self.id.clone()).or_default().merge(through);
        while self.waiting.front().is_some_and(|&end| end <= through.get(self.peer)) {
            self.waiting.pop_front();
            self.acknowledged += 1;
        }
    }
}
