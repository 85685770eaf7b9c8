//! What several pages must agree on.

use anyhow::{Context, Result};
use e2e::{Notebook, SOON, TaskRow, until};

/// Waits until every page shows the same text and that contains all `parts`; returns it.
pub(crate) async fn same_text(pages: &[&Notebook], parts: &[&str]) -> Result<String> {
    let look = async || {
        let mut texts = Vec::new();
        for page in pages {
            texts.push(page.text().await?);
        }
        let text = texts.swap_remove(0);
        let agreed = texts.iter().all(|other| *other == text);
        Ok((agreed && parts.iter().all(|part| text.contains(part))).then_some(text))
    };
    let agreed = until("all pages show the same text with everyone's part", SOON, look).await;
    match agreed {
        Ok((text, _)) => Ok(text),
        Err(error) => {
            let mut shown = String::new();
            for page in pages {
                shown.push_str(&format!("\n  {:?}", page.text().await?));
            }
            Err(error.context(format!("wanted {parts:?}; the pages show{shown}")))
        }
    }
}

/// Waits until every page shows the same tasks and `condition` holds for them; returns them,
/// ordered by title.
pub(crate) async fn same_tasks(
    pages: &[&Notebook],
    condition: impl Fn(&[TaskRow]) -> bool,
) -> Result<Vec<TaskRow>> {
    let read = async |page: &Notebook| -> Result<Vec<TaskRow>> {
        let mut tasks = page.tasks().await?;
        tasks.sort();
        Ok(tasks)
    };
    let look = async || {
        let tasks = read(pages[0]).await?;
        for page in &pages[1..] {
            if read(page).await? != tasks {
                return Ok(None);
            }
        }
        Ok(condition(&tasks).then_some(tasks))
    };
    match until("all pages show the same tasks", SOON, look).await {
        Ok((tasks, _)) => Ok(tasks),
        Err(error) => {
            let mut shown = String::new();
            for page in pages {
                shown.push_str(&format!("\n  {:?}", page.tasks().await?));
            }
            Err(error).with_context(|| format!("the pages show{shown}"))
        }
    }
}

/// How many UTF-16 units a text has: what browsers count carets in.
pub(crate) fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}
