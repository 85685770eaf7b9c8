//! Workloads as JSON files, for engines that are measured by programs of their own.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::corpus::{self, Trace};
use crate::{live, rows, run};

/// Writes `{workload, kind, content}` for each of these workloads that such a program can do.
pub(crate) fn write(folder: &Path, workloads: &[String], data: Option<&Path>) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for workload in workloads {
        let Some((kind, content)) = content(workload, data)? else { continue };
        let file = folder.join(format!("{}.json", workload.replace('/', "-")));
        let json = json!({ "workload": workload, "kind": kind, "content": content });
        std::fs::write(&file, json.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn content(workload: &str, data: Option<&Path>) -> Result<Option<(&'static str, Value)>> {
    Ok(match workload.split_once('/') {
        Some(("text", name)) => Some(("text", session(&run::trace(name, data)?))),
        Some(("live", "stream")) => Some(("stream", session(&corpus::writing(20_000, 3)))),
        Some(("live", "offline2")) => {
            let (start, branches) = live::apart();
            Some(("offline2", json!({ "start": start, "branches": branches })))
        }
        Some(("rows", "100k")) => {
            let record = |record: rows::Record| {
                json!({
                    "title": record.title,
                    "done": record.done,
                    "priority": record.priority,
                    "due": record.due,
                })
            };
            Some(("records", rows::records(100_000).into_iter().map(record).collect()))
        }
        _ => None,
    })
}

fn session(trace: &Trace) -> Value {
    json!({
        "start": trace.start_content,
        "end": trace.end_content,
        "patches": trace.patches().collect::<Vec<_>>(),
    })
}
