//! Two people in one text at the same time.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Notebook, perform};
use futures::future::try_join;

use crate::together::{same_text, utf16};

const PACE: Duration = Duration::from_millis(25);

/// Scene 1: each caret stays behind what its owner typed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_type_at_different_places_at_once_and_no_caret_jumps() -> Result<()> {
    perform("typing-apart", async |stage| {
        let server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "apart").await?;
        let ben = Notebook::open(&ben, &server, "apart").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("first 😀 line\n\nlast 😀 line").await?;
        same_text(&[&ann, &ben], &["last 😀 line"]).await?;

        ann.put_caret(utf16("first 😀 line")).await?;
        ben.put_caret(usize::MAX >> 32).await?;
        let by_ann = " and here Ann goes on for a while";
        let by_ben = " and there Ben adds his own ending";
        let (ann_types, ben_types) =
            (ann.page().type_slowly(by_ann, PACE), ben.page().type_slowly(by_ben, PACE));
        try_join(ann_types, ben_types).await?;

        let text = same_text(&[&ann, &ben], &[by_ann, by_ben]).await?;
        let wanted = format!("first 😀 line{by_ann}\n\nlast 😀 line{by_ben}");
        ensure!(text == wanted, "the text is {text:?}");
        let ann_caret = ann.caret().await?;
        ensure!(ann_caret == utf16("first 😀 line") + utf16(by_ann), "Ann's caret: {ann_caret}");
        let ben_caret = ben.caret().await?;
        ensure!(ben_caret == utf16(&wanted), "Ben's caret: {ben_caret}");
        Ok(())
    })
    .await
}

/// Scene 1: words typed at one place, connected or not, come out whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_typed_at_the_same_place_at_once_do_not_interleave() -> Result<()> {
    perform("typing-together", async |stage| {
        let mut server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "same-place").await?;
        let ben = Notebook::open(&ben, &server, "same-place").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("[]").await?;
        same_text(&[&ann, &ben], &["[]"]).await?;

        ann.put_caret(1).await?;
        ben.put_caret(1).await?;
        let connected = try_join(
            ann.page().type_slowly("strawberry", PACE),
            ben.page().type_slowly("blueberry", PACE),
        );
        connected.await?;
        let text = same_text(&[&ann, &ben], &["strawberry", "blueberry"]).await?;
        ensure!(text.len() == "[strawberryblueberry]".len(), "the text is {text:?}");

        server.kill();
        ann.wait_until_offline().await?;
        ben.wait_until_offline().await?;
        ann.put_caret(1).await?;
        ben.put_caret(1).await?;
        ann.page().type_text("elderflower").await?;
        ben.page().type_text("gooseberry").await?;
        server.start().await?;
        let text = same_text(&[&ann, &ben], &["elderflower", "gooseberry"]).await?;
        ensure!(text.contains("strawberry") && text.contains("blueberry"), "{text:?}");
        Ok(())
    })
    .await
}

/// What an input method composes is not disturbed by what others type meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_composition_survives_what_others_type() -> Result<()> {
    perform("composition", async |stage| {
        let server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "composition").await?;
        let ben = Notebook::open(&ben, &server, "composition").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("one two").await?;
        same_text(&[&ann, &ben], &["one two"]).await?;

        ben.put_caret(utf16("one two")).await?;
        ben.page().compose("に").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("zero ").await?;
        ben.page().compose("にほ").await?;
        ann.wait_until_saved().await?;
        ben.page().compose("にほん").await?;
        ben.page().insert_text("日本").await?;

        let text = same_text(&[&ann, &ben], &["zero ", "日本"]).await?;
        ensure!(text == "zero one two日本", "the text is {text:?}");
        let caret = ben.caret().await?;
        ensure!(caret == utf16(&text), "Ben's caret is at {caret}");
        Ok(())
    })
    .await
}

/// Undo takes back one's own last change and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_takes_back_only_ones_own_typing() -> Result<()> {
    perform("undo", async |stage| {
        let server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "undo").await?;
        let ben = Notebook::open(&ben, &server, "undo").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("mine").await?;
        same_text(&[&ann, &ben], &["mine"]).await?;
        ben.put_caret(4).await?;
        ben.page().type_text(" and yours").await?;
        same_text(&[&ann, &ben], &["mine and yours"]).await?;

        // However finely typing is split into steps, undoing all of them leaves Ben's.
        for _ in 0.."mine".len() {
            if !ann.text().await?.starts_with(' ') {
                ann.click("undo").await?;
            }
        }
        let text = same_text(&[&ann, &ben], &[" and yours"]).await?;
        ensure!(text == " and yours", "the text is {text:?}");
        for _ in 0.."mine".len() {
            if !ann.text().await?.starts_with("mine") {
                ann.click("redo").await?;
            }
        }
        let text = same_text(&[&ann, &ben], &["mine and yours"]).await?;
        ensure!(text == "mine and yours", "the text is {text:?}");
        Ok(())
    })
    .await
}
