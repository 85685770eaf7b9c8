//! Large documents, from the command line into browsers: a text of more than 100,000 characters,
//! and one of more than 100,000 changes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Latency, Notebook, perform, summary};
use futures::future::try_join;
use leptos_sync_crdt::{Doc, PeerId, VersionVector};
use serde_json::Value;

use crate::together::same_text;

const CHARACTERS: usize = 120_000;
const PACE: Duration = Duration::from_millis(80);
const BY_ANN: &str = "the first line grows while the whole text is on both screens ";
const BY_BEN: &str = "the last line grows as well, at the same time and the same pace ";

/// What is measured is printed, not judged: two browsers may have to share two cores with a
/// compiler. Only a page that hangs, on any machine, takes longer than this for half of its keys.
const HANGS_MS: f64 = 5_000.0;

/// Times each key press to the frame that shows it, and each arrival of the other's keys.
/// `OTHER` is the length of the other's line. All times are on this machine's one clock.
const STOPWATCH: &str = r#"
(() => {
  const editor = document.querySelector(
    "textarea[data-testid=editor], [data-testid=editor] textarea");
  const watch = (window.stopwatch = { pressed: [], shown: [], seen: [] });
  const now = () => performance.timeOrigin + performance.now();
  editor.addEventListener("keydown", (event) => {
    const at = performance.timeOrigin + event.timeStamp;
    watch.pressed.push(at);
    requestAnimationFrame(() => {
      const painted = new MessageChannel();
      painted.port1.onmessage = () => watch.shown.push(now() - at);
      painted.port2.postMessage(0);
    });
  }, { capture: true });
  const length = (text) => OTHER;
  let last = length(editor.value);
  const look = () => {
    for (const next = length(editor.value); last < next; last++) watch.seen.push(now());
    requestAnimationFrame(look);
  };
  look();
})()
"#;

/// Scene 8: real input stays responsive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_of_120_000_characters_stays_responsive_while_two_people_type() -> Result<()> {
    perform("large", async |stage| {
        let server = stage.server().await?;
        let file = stage.folder().join("large.txt");
        std::fs::write(&file, large_text()).context("could not write the text")?;
        let start = Instant::now();
        server.cli(&["doc", "import", "large", &file.to_string_lossy()])?;
        println!("    imported {CHARACTERS} characters in {:.1?}", start.elapsed());

        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let start = Instant::now();
        let ann = Notebook::open(&ann, &server, "large").await?;
        let whole = format!("text.length >= {CHARACTERS}");
        ann.wait_for_text(&whole, Duration::from_secs(60)).await?;
        println!("    first browser shows it after {:.1?}", start.elapsed());
        let ben = Notebook::open(&ben, &server, "large").await?;
        ben.wait_for_text(&whole, Duration::from_secs(60)).await?;

        let length = ann.text().await?.encode_utf16().count();
        ann.put_caret(0).await?;
        ben.put_caret(length).await?;
        let first_line = "text.indexOf('\\n')";
        let last_line = "text.length - text.lastIndexOf('\\n') - 1";
        ann.page().eval(&STOPWATCH.replace("OTHER", last_line)).await?;
        ben.page().eval(&STOPWATCH.replace("OTHER", first_line)).await?;
        let both =
            try_join(ann.page().type_slowly(BY_ANN, PACE), ben.page().type_slowly(BY_BEN, PACE));
        both.await?;
        let text = same_text(&[&ann, &ben], &[BY_ANN, BY_BEN]).await?;
        ensure!(text.starts_with(BY_ANN) && text.ends_with(BY_BEN), "what was typed moved");
        report(&ann, &ben).await
    })
    .await
}

const CHANGES: usize = 100_000;

/// A long history is a small download, shown at once, and there without a server from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_100_000_changes_opens_on_a_new_device_and_stays_there() -> Result<()> {
    perform("history", async |stage| {
        let mut server = stage.server().await?;
        let file = stage.folder().join("history.update");
        std::fs::write(&file, typed_history()?).context("could not write the history")?;
        let start = Instant::now();
        server.cli(&["doc", "import", "history", &file.to_string_lossy()])?;
        println!("    imported {CHANGES} changes in {:.1?}", start.elapsed());

        let whole = format!("text.length === {}", CHANGES / 4 * 2);
        let browsers = [stage.browser("ann").await?, stage.browser("ben").await?];
        let mut pages = Vec::new();
        for browser in &browsers {
            let page = browser.open("about:blank").await?;
            let start = Instant::now();
            page.goto(&server.url("/d/history")).await?;
            let page = Notebook::on(page).await?;
            page.wait_for_text(&whole, Duration::from_secs(60)).await?;
            println!("    a new browser shows it after {:.1?}", start.elapsed());
            page.wait_until_saved().await?;
            page.wait_until_stored().await?;
            pages.push(page);
        }
        let [ann, ben] = &pages[..] else { unreachable!("there are two") };
        ann.put_caret(0).await?;
        ann.page().type_text("both see this ").await?;
        ben.wait_for_part("both see this ").await?;
        ann.wait_until_saved().await?;
        ben.wait_until_installed().await?;

        server.kill();
        ben.page().reload().await?;
        let ben = Notebook::on(ben.page().clone()).await?;
        ben.wait_for_part("both see this ").await?;
        ensure!(ben.text().await?.len() == CHANGES / 2 + 14, "the text is cut");
        Ok(())
    })
    .await
}

/// As somebody types: three letters and a line break in eighty, of each four changes one takes a
/// letter back. A change every 150 ms.
fn typed_history() -> Result<Vec<u8>> {
    let mut doc = Doc::new(PeerId(77));
    let (mut at, mut now_ms) = (0, 1_700_000_000_000);
    for change in 0..CHANGES {
        now_ms += 150;
        let (deleted, letter) = match change % 4 {
            3 => (1, ""),
            _ if change % 80 == 0 => (0, "\n"),
            _ => (0, "x"),
        };
        at -= deleted;
        let edit = doc.transact(now_ms, |tx| tx.text("text").splice(at, deleted, letter));
        edit.0.context("the history cannot be written")?;
        at += letter.len();
    }
    Ok(doc.encode_update(&VersionVector::new()))
}

async fn report(ann: &Notebook, ben: &Notebook) -> Result<()> {
    let arrived = format!("stopwatch.seen.length >= {}", BY_ANN.len());
    ben.page().wait_for(&arrived, e2e::SOON).await?;
    let arrived = format!("stopwatch.seen.length >= {}", BY_BEN.len());
    ann.page().wait_for(&arrived, e2e::SOON).await?;
    let (by_ann, by_ben) =
        (ann.page().eval("stopwatch").await?, ben.page().eval("stopwatch").await?);

    let mut to_screen = numbers(&by_ann["shown"]);
    to_screen.extend(numbers(&by_ben["shown"]));
    let to_screen = Latency::new(to_screen);
    let mut to_other = delays(&by_ann["pressed"], &by_ben["seen"]);
    to_other.extend(delays(&by_ben["pressed"], &by_ann["seen"]));
    let to_other = Latency::new(to_other);
    summary("keystroke to screen", &to_screen);
    summary("keystroke to the other screen", &to_other);
    ensure!(to_screen.median() <= HANGS_MS, "typing hangs: {to_screen}");
    ensure!(to_other.median() <= HANGS_MS, "the other hangs: {to_other}");
    Ok(())
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// From the n-th key press here to the n-th arrival there.
fn delays(pressed: &Value, seen: &Value) -> Vec<f64> {
    numbers(pressed).iter().zip(numbers(seen)).map(|(from, to)| to - from).collect()
}

/// Lines of words as people write them, between an empty first and an empty last line.
fn large_text() -> String {
    let words = ["merge", "document", "offline", "a", "the", "naïve", "café", "of", "keystroke"];
    let mut text = String::from("\n");
    let (mut count, mut at, mut column) = (1, 0_usize, 0);
    while count < CHARACTERS {
        let word = words[(at * at + at / 3) % words.len()];
        at += 1;
        count += word.chars().count() + 1;
        column += word.len() + 1;
        text.push_str(word);
        text.push(if column > 70 { '\n' } else { ' ' });
        column = if column > 70 { 0 } else { column };
    }
    text.push('\n');
    text
}
