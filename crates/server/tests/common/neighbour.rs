//! Somebody who works beside an attack, and what they feel of it.

use std::path::Path;
use std::time::{Duration, Instant};

use leptos_sync_protocol::ClientEvent;
use serde_json::json;

use crate::common::{Client, PATIENCE, Server};

/// How many changes are timed before an attack, and at least while it goes on.
const CHANGES: usize = 200;

/// Saves changes one after the other before and while `attack` runs, in a document of its own, and
/// tells how long each took from the key to the durable acknowledgement. The assertion is that all
/// are saved; `LEPTOS_SYNC_HOSTILE_RECORD` names a folder for the figures.
pub(crate) async fn beside<T>(
    server: &Server,
    name: &str,
    attack: impl Future<Output = T> + Send + 'static,
) -> T
where
    T: Send + 'static,
{
    beside_with(server, None, name, attack).await
}

/// The same at a server that wants this token.
pub(crate) async fn beside_with<T>(
    server: &Server,
    token: Option<String>,
    name: &str,
    attack: impl Future<Output = T> + Send + 'static,
) -> T
where
    T: Send + 'static,
{
    let mut ada = enter(server, 1, token.clone()).await;
    let mut before = Vec::new();
    while before.len() < CHANGES {
        before.push(round_trip(&mut ada).await);
    }
    let attack = tokio::spawn(attack);
    let mut during = Vec::new();
    while during.len() < CHANGES || !attack.is_finished() {
        during.push(round_trip(&mut ada).await);
    }
    report(name, before, during);
    let late = enter(server, 2, token).await;
    assert_eq!(late.text(), ada.text(), "everything is there");
    attack.await.expect("the attack is carried out")
}

async fn enter(server: &Server, peer: u64, token: Option<String>) -> Client {
    let mut client = Client::connect(server, peer, "neighbour", token).await;
    client.open_doc().await;
    client.until(|event| matches!(event, ClientEvent::CaughtUp { .. })).await;
    client
}

async fn round_trip(client: &mut Client) -> Duration {
    let started = Instant::now();
    let saved = tokio::time::timeout(PATIENCE, client.save("x")).await;
    saved.expect("the neighbour's change is saved in time");
    started.elapsed()
}

fn report(name: &str, mut before: Vec<Duration>, mut during: Vec<Duration>) {
    let at = |part: usize, of: &mut Vec<Duration>| {
        of.sort_unstable();
        let index = (of.len() * part / 100).min(of.len() - 1);
        (of[index].as_secs_f64() * 100_000.0).round() / 100.0
    };
    let figures = json!({
        "attack": name,
        "before_p50_ms": at(50, &mut before),
        "before_p99_ms": at(99, &mut before),
        "during_p50_ms": at(50, &mut during),
        "during_p99_ms": at(99, &mut during),
        "changes_saved_during": during.len(),
    });
    println!("{figures}");
    if let Some(folder) = std::env::var_os("LEPTOS_SYNC_HOSTILE_RECORD") {
        let file = Path::new(&folder).join(format!("{name}.json"));
        std::fs::write(file, figures.to_string()).expect("the figures can be written");
    }
}
