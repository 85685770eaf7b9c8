//! `cargo xtask tidy`: the project's limits, held by a tool and not by trust.
//!
//! [`rules`] reads each source file by itself, [`code`] tells its code from its comments, [`graph`]
//! reads who depends on whom, and [`proofs`] holds the documents to their tests. A rule can be
//! suspended at one place by a comment that gives the reason, in the file's first lines, above the
//! function, or above the line:
//!
//! ```text
//! // tidy-allow: function-lines: one table, and splitting it would hide its order.
//! ```

mod code;
mod graph;
mod proofs;
mod rules;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::dist::files_below;
use crate::shell::step;
use crate::workspace::Workspace;

/// The folders that hold our own source.
const FOLDERS: &[&str] = &["bench", "crates", "e2e", "examples", "fuzz", "xtask"];

/// Runs `cargo xtask tidy`.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    step("Tidy", || check(&workspace))
}

/// Prints each breach of a rule, and fails if there is one.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut files = Vec::new();
    for file in sources(&workspace.root)? {
        let text = std::fs::read_to_string(workspace.root.join(&file))
            .with_context(|| format!("could not read {}", file.display()))?;
        files.push((file.to_string_lossy().replace('\\', "/"), text));
    }
    let tests: Vec<String> =
        files.iter().flat_map(|(name, text)| rules::test_modules(name, text)).collect();
    let mut breaches = Vec::new();
    for (name, text) in &files {
        let for_tests = tests.iter().any(|path| name.starts_with(path));
        let found = rules::check(name, text, for_tests);
        breaches.extend(found.iter().map(ToString::to_string));
    }
    breaches.extend(graph::check(&workspace.metadata));
    let functions = proofs::functions(files.iter().map(|(_, text)| text.as_str()));
    for promises in proofs::PROMISES {
        let text = std::fs::read_to_string(workspace.root.join(promises.file))
            .with_context(|| format!("could not read {}", promises.file))?;
        breaches.extend(promises.check(&text, &functions));
    }
    for breach in &breaches {
        println!("  {breach}");
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the rules that tidy holds", breaches.len());
    }
    println!(
        "  {} files, every dependency edge and every promise's proof are in order",
        files.len()
    );
    Ok(())
}

/// Every Rust file of ours, relative to the root.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in FOLDERS.iter().filter(|folder| root.join(folder).is_dir()) {
        for file in files_below(&root.join(folder))? {
            let built = file.iter().any(|part| part == "target");
            if !built && file.extension().is_some_and(|end| end == "rs") {
                found.push(Path::new(folder).join(file));
            }
        }
    }
    Ok(found)
}
