//! A small client of the Chrome DevTools Protocol: calls, their answers, and console lines.
//!
//! One socket per browser carries all its tabs ("flat" sessions). Calls are answered or time out;
//! of the events only those are kept that explain a failed test.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// No call we make takes longer, except when something hangs.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// A connection to one browser. Clones share it.
#[derive(Clone, Debug)]
pub struct Cdp {
    shared: Arc<Shared>,
    out: mpsc::UnboundedSender<Message>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    consoles: Mutex<HashMap<String, Vec<String>>>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Value>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consoles(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.consoles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return };
        if let Some(id) = message["id"].as_u64() {
            if let Some(answer) = self.waiting().remove(&id) {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(message);
            }
        } else if let Some(line) = console_line(&message) {
            let session = message["sessionId"].as_str().unwrap_or_default().to_owned();
            self.consoles().entry(session).or_default().push(line);
        }
    }
}

impl Cdp {
    /// Connects to a browser's `ws://` address.
    ///
    /// # Errors
    ///
    /// When nobody speaks WebSocket there.
    pub async fn connect(address: &str) -> Result<Self> {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = connect_async_with_config(address, Some(config), true)
            .await
            .with_context(|| format!("no DevTools at {address}"))?;
        let (out, queue) = mpsc::unbounded_channel();
        let shared = Arc::<Shared>::default();
        tokio::spawn(carry(socket, queue, Arc::clone(&shared)));
        Ok(Self { shared, out })
    }

    /// Calls a method, of a tab if `session` names one, and returns its result.
    ///
    /// # Errors
    ///
    /// When the browser is gone, refuses the call, or does not answer within a minute.
    pub async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let (answer, answered) = oneshot::channel();
        self.shared.waiting().insert(id, answer);
        if self.out.send(Message::text(request.to_string())).is_err() {
            bail!("{method}: the browser is gone");
        }
        let reply = tokio::time::timeout(CALL_LIMIT, answered)
            .await
            .with_context(|| format!("{method}: no answer from the browser"))?
            .with_context(|| format!("{method}: the browser is gone"))?;
        if !reply["error"].is_null() {
            bail!("{method}: {}", reply["error"]["message"]);
        }
        Ok(reply["result"].clone())
    }

    /// What the tab of `session` wrote to its console so far.
    #[must_use]
    pub fn console(&self, session: &str) -> Vec<String> {
        self.shared.consoles().get(session).cloned().unwrap_or_default()
    }
}

/// Moves messages both ways until either side ends, then fails every call that still waits.
async fn carry(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut queue: mpsc::UnboundedReceiver<Message>,
    shared: Arc<Shared>,
) {
    loop {
        tokio::select! {
            message = queue.recv() => {
                let Some(message) = message else { break };
                if socket.send(message).await.is_err() {
                    break;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => shared.receive(&text),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    queue.close();
    shared.waiting().clear();
}

/// The readable form of an event that reports something a page said or suffered.
fn console_line(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.consoleAPICalled" => {
            let words = params["args"].as_array()?.iter().map(|argument| {
                let text = argument["value"].as_str().or(argument["description"].as_str());
                text.map_or_else(|| argument["value"].to_string(), str::to_owned)
            });
            let kind = params["type"].as_str().unwrap_or("log");
            Some(format!("{kind}: {}", words.collect::<Vec<_>>().join(" ")))
        }
        "Runtime.exceptionThrown" => {
            let details = &params["exceptionDetails"];
            let text = details["exception"]["description"].as_str().or(details["text"].as_str());
            Some(format!("exception: {}", text.unwrap_or_default()))
        }
        "Log.entryAdded" => {
            let entry = &params["entry"];
            let part = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            Some(format!("{}: {} {}", part("level"), part("text"), part("url")))
        }
        "Inspector.targetCrashed" => Some("the tab crashed".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_calls_become_one_line_each() {
        let event = json!({ "method": "Runtime.consoleAPICalled", "params": {
            "type": "warning",
            "args": [{ "type": "string", "value": "late" }, { "type": "number", "value": 3 }],
        }});
        assert_eq!(console_line(&event).as_deref(), Some("warning: late 3"));
    }

    #[test]
    fn events_that_explain_nothing_are_dropped() {
        assert_eq!(console_line(&json!({ "method": "Page.loadEventFired", "params": {} })), None);
    }
}
