//! The notebook as a person sees it: text, tasks, badge, others; found by `data-testid`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::page::{Page, quoted};
use crate::server::Server;
use crate::wait::{SOON, until};

/// Runs before each page load: keeps every state of the badge in `journey.badges`, in
/// `journey.saved` the text that was on screen when the badge last said that all is saved, and in
/// `journey.stored` the text when it last said that all is in this device's storage.
pub(crate) const RECORDER: &str = r#"
(() => {
  const journey = (window.journey = { badges: [], saved: null, stored: null });
  const look = () => {
    const badge = document.querySelector('[data-testid="sync-status"]');
    if (!badge) return;
    const [state, pending] = [badge.dataset.state, Number(badge.dataset.pending)];
    const editor = document.querySelector('[data-testid="editor"]');
    if (badge.dataset.stored === "true" && editor) journey.stored = editor.value;
    const last = journey.badges.at(-1);
    if (!last || last.state !== state || last.pending !== pending) {
      journey.badges.push({ state, pending });
      if (state === "saved" && pending === 0 && editor) journey.saved = editor.value;
    }
  };
  new MutationObserver(look).observe(document, {
    subtree: true, childList: true, attributes: true,
    attributeFilter: ["data-state", "data-pending", "data-stored"],
  });
})();
"#;

/// What the badge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// `offline`, `connecting`, `syncing` or `saved`.
    pub state: String,
    /// Local changes without a durable acknowledgement.
    pub pending: u64,
    /// Whether all changes are in this device's storage.
    pub stored: bool,
    /// Its words.
    pub says: String,
}

impl Badge {
    fn read(value: &Value) -> Self {
        let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self {
            state: part("state"),
            pending: value["pending"].as_u64().unwrap_or_default(),
            stored: part("stored") == "true",
            says: part("says"),
        }
    }

    /// Whether everything is durable on the server.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        self.state == "saved" && self.pending == 0
    }
}

/// One row of the task list as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskRow {
    /// Its title.
    pub title: String,
    /// Whether its box is ticked.
    pub done: bool,
    /// The votes shown.
    pub votes: i64,
}

/// A page that shows one document. Clones are the same page.
#[derive(Clone, Debug)]
pub struct Notebook {
    page: Page,
}

impl Notebook {
    /// Opens the document `id` in a new window.
    ///
    /// # Errors
    ///
    /// When the page does not come up with a text field.
    pub async fn open(browser: &Browser, server: &Server, id: &str) -> Result<Self> {
        Self::on(browser.open(&server.url(&format!("/d/{id}"))).await?).await
    }

    /// Takes a page that is showing a document, or is about to.
    ///
    /// # Errors
    ///
    /// When no text field appears.
    pub async fn on(page: Page) -> Result<Self> {
        let ready = "document.querySelector('[data-testid=editor]') \
                     && !document.querySelector('[data-testid=editor]').disabled \
                     && document.querySelector('[data-testid=sync-status]')";
        page.wait_for(ready, SOON * 2).await.context("the document does not appear")?;
        Ok(Self { page })
    }

    /// The tab itself.
    #[must_use]
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The text on screen.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn text(&self) -> Result<String> {
        let value = self.page.eval(&format!("{EDITOR}.value")).await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Where the caret is, in UTF-16 units as the browser counts.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn caret(&self) -> Result<usize> {
        let value = self.page.eval(&format!("{EDITOR}.selectionEnd")).await?;
        Ok(usize::try_from(value.as_u64().context("a caret is a number")?)?)
    }

    /// Puts the focus into the text with the caret at `at`; beyond the end is the end.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn put_caret(&self, at: usize) -> Result<()> {
        let script = format!("{EDITOR}.focus(); {EDITOR}.setSelectionRange({at}, {at});");
        self.page.eval(&script).await.map(drop)
    }

    /// Waits until the text satisfies `condition`, JavaScript over `text`.
    ///
    /// # Errors
    ///
    /// When it does not within `limit`; tells what the text was.
    pub async fn wait_for_text(&self, condition: &str, limit: Duration) -> Result<Duration> {
        let expression = format!("((text) => {condition})({EDITOR}.value)");
        match self.page.wait_for(&expression, limit).await {
            Ok(time) => Ok(time),
            Err(error) => {
                let text: String = self.text().await?.chars().take(2000).collect();
                Err(error.context(format!("the text is {text:?}")))
            }
        }
    }

    /// Waits until the text contains `part`.
    ///
    /// # Errors
    ///
    /// When it does not soon.
    pub async fn wait_for_part(&self, part: &str) -> Result<Duration> {
        self.wait_for_text(&format!("text.includes({})", quoted(part)), SOON).await
    }

    /// As when one comes back to the tab: the app then looks for the server at once, however long
    /// it would have waited after many failures.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn come_back(&self) -> Result<()> {
        self.page.eval("dispatchEvent(new Event('pageshow')), 0").await.map(drop)
    }

    /// Waits until the browser can load the app without a server.
    ///
    /// # Errors
    ///
    /// When the service worker does not become active.
    pub async fn wait_until_installed(&self) -> Result<()> {
        let active = "navigator.serviceWorker.ready.then(({ active }) => \
                      active.state === 'activated' || new Promise((done) => { \
                        active.onstatechange = () => done(active.state === 'activated') }))";
        if self.page.eval(active).await? != true {
            bail!("the service worker did not become active");
        }
        Ok(())
    }

    /// What the badge says now.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn badge(&self) -> Result<Badge> {
        let script = "(({ dataset: { state, pending, stored }, textContent: says }) => \
                      ({ state, pending: Number(pending), stored, says }))\
                      (document.querySelector('[data-testid=sync-status]'))";
        Ok(Badge::read(&self.page.eval(script).await?))
    }

    /// Every state that the badge went through since the page was loaded: `state` and `pending`.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn badges(&self) -> Result<Vec<Badge>> {
        let list = self.page.eval("journey.badges").await?;
        Ok(list.as_array().into_iter().flatten().map(Badge::read).collect())
    }

    /// Waits until the badge satisfies `condition`.
    ///
    /// # Errors
    ///
    /// When it does not soon; tells what it says.
    pub async fn wait_for_badge(
        &self,
        what: &str,
        condition: impl Fn(&Badge) -> bool,
    ) -> Result<Badge> {
        let look = async || {
            let badge = self.badge().await?;
            Ok(condition(&badge).then_some(badge))
        };
        match until(what, SOON * 4, look).await {
            Ok((badge, _)) => Ok(badge),
            Err(error) => Err(error.context(format!("the badge says {:?}", self.badge().await?))),
        }
    }

    /// Waits until the badge says that everything is on the server.
    ///
    /// # Errors
    ///
    /// When it does not soon.
    pub async fn wait_until_saved(&self) -> Result<()> {
        self.wait_for_badge("everything is saved", Badge::is_saved).await.map(drop)
    }

    /// Waits until the badge says that everything is in this device's storage.
    ///
    /// # Errors
    ///
    /// When it does not soon.
    pub async fn wait_until_stored(&self) -> Result<()> {
        let stored =
            "document.querySelector('[data-testid=sync-status]').dataset.stored === 'true'";
        self.page.wait_for(stored, SOON * 4).await.map(drop)
    }

    /// Waits until the badge says that there is no server.
    ///
    /// # Errors
    ///
    /// When it does not soon.
    pub async fn wait_until_offline(&self) -> Result<()> {
        let away = |badge: &Badge| badge.state == "offline" || badge.state == "connecting";
        self.wait_for_badge("the server is missed", away).await.map(drop)
    }

    /// The text that was on screen when the badge last said that everything is saved.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn text_shown_as_saved(&self) -> Result<String> {
        let value = self.page.eval("journey.saved").await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// The text that was on screen when the badge last said that all is stored here.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn text_shown_as_stored(&self) -> Result<String> {
        let value = self.page.eval("journey.stored").await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// The tasks on screen, from the top.
    ///
    /// # Errors
    ///
    /// When the page is gone.
    pub async fn tasks(&self) -> Result<Vec<TaskRow>> {
        let script =
            format!("{TASKS}.map(({{ title, done, votes }}) => ({{ title, done, votes }}))");
        let list = self.page.eval(&script).await?;
        let read = |row: &Value| TaskRow {
            title: row["title"].as_str().unwrap_or_default().to_owned(),
            done: row["done"].as_bool().unwrap_or_default(),
            votes: row["votes"].as_i64().unwrap_or_default(),
        };
        Ok(list.as_array().into_iter().flatten().map(read).collect())
    }

    /// Types a title into the field for new tasks and presses the button beside it.
    ///
    /// # Errors
    ///
    /// When the task does not appear.
    pub async fn add_task(&self, title: &str) -> Result<()> {
        self.click("task-new").await?;
        self.page.type_text(title).await?;
        self.click("task-add").await?;
        self.wait_for_task(title).await
    }

    /// Waits until a task of this title is shown.
    ///
    /// # Errors
    ///
    /// When it is not soon.
    pub async fn wait_for_task(&self, title: &str) -> Result<()> {
        let shown = format!("{TASKS}.some((task) => task.title === {})", quoted(title));
        self.page.wait_for(&shown, SOON).await.map(drop)
    }

    /// Replaces a task's title by typing over it.
    ///
    /// # Errors
    ///
    /// When there is no such task.
    pub async fn rename_task(&self, title: &str, to: &str) -> Result<()> {
        let field = part_of_task(title, "task-title");
        self.page.eval(&format!("{field}.focus(); {field}.select()")).await?;
        self.page.type_text(to).await?;
        // Some fields take what was typed when they lose the focus.
        self.page.eval("document.activeElement.blur()").await?;
        self.wait_for_task(to).await
    }

    /// Clicks one of a task's controls, such as `task-done`.
    ///
    /// # Errors
    ///
    /// When there is no such task.
    pub async fn click_in_task(&self, title: &str, control: &str) -> Result<()> {
        self.click_at(&part_of_task(title, control)).await
    }

    /// Clicks what bears this `data-testid`.
    ///
    /// # Errors
    ///
    /// When nothing does.
    pub async fn click(&self, testid: &str) -> Result<()> {
        self.click_at(&format!("document.querySelector('[data-testid={testid}]')")).await
    }

    /// A real click into the middle of an element.
    async fn click_at(&self, element: &str) -> Result<()> {
        let place = format!(
            "((element) => {{ element.scrollIntoView({{ block: 'nearest' }}); \
             const {{ x, y, width, height }} = element.getBoundingClientRect(); \
             return [x + width / 2, y + height / 2] }})({element})"
        );
        let place = self.page.eval(&place).await?;
        let (Some(x), Some(y)) = (place[0].as_f64(), place[1].as_f64()) else {
            bail!("{element} has no place on screen");
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.page.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Types a name for this person.
    ///
    /// # Errors
    ///
    /// When the page has no field for it.
    pub async fn set_name(&self, name: &str) -> Result<()> {
        let field = "document.querySelector('[data-testid=your-name]')";
        self.page.eval(&format!("{field}.focus(); {field}.select()")).await?;
        self.page.type_text(name).await?;
        self.page.eval("document.activeElement.blur()").await.map(drop)
    }

    /// Waits until someone of this name is shown by `hook`: `presence-peer` or `remote-caret`.
    ///
    /// # Errors
    ///
    /// When nobody is within `limit`.
    pub async fn wait_to_see(&self, hook: &str, name: &str, limit: Duration) -> Result<Duration> {
        let found = format!("document.querySelector({})", selector(hook, name));
        let seen = self.page.wait_for(&found, limit).await;
        seen.with_context(|| format!("{name} does not appear as {hook}"))
    }

    /// Waits until nobody of this name is shown by `hook`.
    ///
    /// # Errors
    ///
    /// When someone still is after `limit`.
    pub async fn wait_to_miss(&self, hook: &str, name: &str, limit: Duration) -> Result<Duration> {
        let gone = format!("!document.querySelector({})", selector(hook, name));
        let missed = self.page.wait_for(&gone, limit).await;
        missed.with_context(|| format!("{name} does not vanish as {hook}"))
    }
}

/// The text field. A component may wrap it.
pub(crate) const EDITOR: &str = "document.querySelector('textarea[data-testid=editor], \
                                 [data-testid=editor] textarea')";

/// An array of the tasks shown, each with its element.
const TASKS: &str = "[...document.querySelectorAll('[data-testid=task]')].map((task) => { \
    const part = (name) => task.querySelector(`[data-testid=${name}]`); \
    const title = part('task-title'); \
    return { \
        task, \
        title: title.value ?? title.textContent.trim(), \
        done: part('task-done').checked \
            ?? part('task-done').getAttribute('aria-checked') === 'true', \
        votes: parseInt(part('task-votes').textContent.replace(/[^0-9-]/g, ''), 10), \
    }; \
})";

fn part_of_task(title: &str, testid: &str) -> String {
    format!(
        "{TASKS}.find((task) => task.title === {}).task.querySelector('[data-testid={testid}]')",
        quoted(title)
    )
}

fn selector(hook: &str, name: &str) -> String {
    quoted(&format!("[data-testid={hook}][data-name={}]", quoted(name)))
}
