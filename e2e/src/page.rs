//! One tab: where it is, what it shows, and real input into it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cdp::Cdp;
use crate::keys::{self, Key};
use crate::wait::until;

/// A tab of a [`Browser`](crate::Browser). Clones are the same tab.
#[derive(Clone, Debug)]
pub struct Page {
    cdp: Cdp,
    target: String,
    session: String,
}

impl Page {
    pub(crate) async fn attach(cdp: Cdp, target: &str) -> Result<Self> {
        let params = json!({ "targetId": target, "flatten": true });
        let attached = cdp.call(None, "Target.attachToTarget", params).await?;
        let session = attached["sessionId"].as_str().context("a session has an id")?.to_owned();
        let page = Self { cdp, target: target.to_owned(), session };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await?;
        }
        Ok(page)
    }

    /// Calls a method of the protocol on this tab.
    ///
    /// # Errors
    ///
    /// When the tab is gone or refuses.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.cdp.call(Some(&self.session), method, params).await
    }

    /// Goes to `url` and waits until its document is complete.
    ///
    /// # Errors
    ///
    /// When the page cannot be loaded.
    pub async fn goto(&self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = answer["errorText"].as_str().filter(|text| !text.is_empty()) {
            bail!("could not open {url}: {error}");
        }
        self.wait_for("document.readyState === 'complete'", Duration::from_secs(30)).await?;
        Ok(())
    }

    /// Loads the page anew and waits until its document is complete.
    ///
    /// # Errors
    ///
    /// When the page does not come back.
    pub async fn reload(&self) -> Result<()> {
        self.eval("window.beforeReload = true").await?;
        self.call("Page.reload", json!({})).await?;
        let fresh = "!window.beforeReload && document.readyState === 'complete'";
        self.wait_for(fresh, Duration::from_secs(30)).await?;
        Ok(())
    }

    /// Runs `script` in every document of this tab from now on, before the page's own.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn before_each_load(&self, script: &str) -> Result<()> {
        let params = json!({ "source": script });
        self.call("Page.addScriptToEvaluateOnNewDocument", params).await.map(drop)
    }

    /// The value of a JavaScript expression; promises are awaited.
    ///
    /// # Errors
    ///
    /// When it throws.
    pub async fn eval(&self, expression: &str) -> Result<Value> {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", params).await?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let text = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            bail!("{expression} threw {}", text.unwrap_or("something"));
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until `condition`, a JavaScript expression, is truthy, and says how long it took.
    ///
    /// # Errors
    ///
    /// When it does not become so within `limit`.
    pub async fn wait_for(&self, condition: &str, limit: Duration) -> Result<Duration> {
        let guarded = format!("(() => {{ try {{ return !!({condition}) }} catch {{ }} }})()");
        // While a page navigates it has no place to evaluate in; that counts as "not yet".
        let met = async || {
            let answer = self.eval(&guarded).await;
            Ok(answer.is_ok_and(|value| value == true).then_some(()))
        };
        let ((), time) = until(condition, limit, met).await?;
        Ok(time)
    }

    /// Types `text`, one real key press after the other.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn type_text(&self, text: &str) -> Result<()> {
        for c in text.chars() {
            self.send_keys(keys::character(c)).await?;
        }
        Ok(())
    }

    /// Types `text` at a person's pace: a key press each `pause`, as far as the page keeps up.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn type_slowly(&self, text: &str, pause: Duration) -> Result<()> {
        for c in text.chars() {
            let next = Instant::now() + pause;
            self.send_keys(keys::character(c)).await?;
            tokio::time::sleep_until(next.into()).await;
        }
        Ok(())
    }

    /// Presses a key or chord.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn press(&self, key: Key) -> Result<()> {
        self.send_keys(key.events()).await
    }

    async fn send_keys(&self, events: [Value; 2]) -> Result<()> {
        for event in events {
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Shows `text` as what an input method is composing, with the caret at its end.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn compose(&self, text: &str) -> Result<()> {
        let end = text.encode_utf16().count();
        let params = json!({ "text": text, "selectionStart": end, "selectionEnd": end });
        self.call("Input.imeSetComposition", params).await.map(drop)
    }

    /// Inserts `text` at once, as an input method commits it or a paste does.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn insert_text(&self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// Closes the tab as a person does.
    ///
    /// # Errors
    ///
    /// When the browser is gone.
    pub async fn close(self) -> Result<()> {
        let params = json!({ "targetId": self.target });
        self.cdp.call(None, "Target.closeTarget", params).await.map(drop)
    }

    /// What the page wrote to its console so far.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        self.cdp.console(&self.session)
    }

    /// A picture of what the tab shows, as base64 of a PNG.
    ///
    /// # Errors
    ///
    /// When the tab is gone.
    pub async fn screenshot(&self) -> Result<String> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        Ok(shot["data"].as_str().unwrap_or_default().to_owned())
    }
}

/// A string as a JavaScript literal.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}
