//! Assembling the notebook's static files.
//!
//! Everything in `examples/notebook/assets` is copied, and beside it come
//! `notebook-BUILD.js` and `notebook-BUILD_bg.wasm`, where BUILD is a hash of the wasm and of all
//! assets. In text assets two marks are replaced:
//!
//! | Mark         | Becomes                                                                   |
//! |--------------|---------------------------------------------------------------------------|
//! | `{{build}}`  | the build's hash: part of file names, and of the service worker's cache   |
//! | `{{files}}`  | a JSON array of the paths to cache for offline use, such as `/style.css`  |
//!
//! So `sw.js` differs whenever any file does, the browser installs it anew, and a page never
//! mixes files of two builds.

use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build;
use crate::workspace::Workspace;

/// The files whose marks are replaced.
const TEXT: &[&str] = &["html", "js", "css", "svg", "webmanifest", "json"];

/// Fills the dist folder from `wasm` and the assets, replacing what was there.
pub(crate) fn assemble(workspace: &Workspace, wasm: &Path) -> Result<()> {
    let assets = workspace.root.join("examples/notebook/assets");
    let dist = workspace.dist();
    let fresh = dist.with_extension("new");
    remove(&fresh)?;
    fs::create_dir_all(&fresh)
        .with_context(|| format!("could not create the folder {}", fresh.display()))?;

    let sources = files_below(&assets)?;
    let build = build_id(wasm, &assets, &sources)?;
    for source in &sources {
        let to = fresh.join(source);
        fs::create_dir_all(to.parent().expect("a file in dist has a folder"))
            .and_then(|()| fs::copy(assets.join(source), &to))
            .with_context(|| format!("could not copy {}", source.display()))?;
    }
    build::bindgen(wasm, &format!("notebook-{build}"), &fresh)?;

    let paths: Vec<String> =
        files_below(&fresh)?.iter().map(|file| url_path(file)).filter(|p| p != "/sw.js").collect();
    let list = serde_json::to_string(&paths).expect("strings are JSON");
    for file in sources.iter().filter(|file| has_marks(file)) {
        fill_in(&fresh.join(file), &build, &list)?;
    }
    remove(&dist)?;
    fs::rename(&fresh, &dist).with_context(|| format!("could not create {}", dist.display()))
}

/// Every file below `folder`, relative to it, in a fixed order.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next)
            .with_context(|| format!("could not list the folder {}", next.display()))?;
        for entry in entries {
            let path = entry.context("could not read a folder entry")?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("the path starts at the folder");
                files.push(relative.to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A name for exactly these bytes.
fn build_id(wasm: &Path, assets: &Path, sources: &[PathBuf]) -> Result<String> {
    let mut hasher = std::hash::DefaultHasher::new();
    let mut add = |path: &Path| -> Result<()> {
        let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
        Ok(())
    };
    add(wasm)?;
    for source in sources {
        add(&assets.join(source))?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn url_path(file: &Path) -> String {
    let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
    format!("/{}", parts.join("/"))
}

fn has_marks(file: &Path) -> bool {
    file.extension().is_some_and(|end| TEXT.iter().any(|text| end == *text))
}

fn fill_in(file: &Path, build: &str, files: &str) -> Result<()> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("could not read {} as text", file.display()))?;
    let filled = text.replace("{{build}}", build).replace("{{files}}", files);
    fs::write(file, filled).with_context(|| format!("could not write {}", file.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_urls() {
        assert_eq!(url_path(Path::new("icons/a.svg")), "/icons/a.svg");
    }

    #[test]
    fn marks_are_filled_in_text_files_only() {
        assert!(has_marks(Path::new("sw.js")));
        assert!(has_marks(Path::new("index.html")));
        assert!(!has_marks(Path::new("icon.png")));
    }

    #[test]
    fn files_are_found_in_order_and_relative() {
        let folder = std::env::temp_dir().join(format!("xtask-dist-{}", std::process::id()));
        fs::create_dir_all(folder.join("b")).expect("a folder");
        fs::write(folder.join("b/two"), "").expect("a file");
        fs::write(folder.join("a"), "").expect("a file");
        let found = files_below(&folder);
        fs::remove_dir_all(&folder).expect("the folder goes");
        assert_eq!(found.expect("files"), [PathBuf::from("a"), PathBuf::from("b/two")]);
    }
}
