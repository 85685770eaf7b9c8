//! Where things are: the workspace root, the target directory, and what `cargo metadata` knows.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::shell;

/// The target that browsers run.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// The workspace as cargo sees it.
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// The whole answer of `cargo metadata`.
    pub(crate) metadata: Value,
}

impl Workspace {
    /// Asks cargo for the workspace that `cargo xtask` was called in.
    pub(crate) fn load() -> Result<Self> {
        // Not where it was compiled: clones may share a target directory.
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let mut ask = shell::cargo(["metadata", "--format-version", "1", "--manifest-path"]);
        let text = shell::read(ask.arg(package.join("../Cargo.toml")))?;
        let metadata: Value =
            serde_json::from_str(&text).context("cargo metadata printed what is not JSON")?;
        let folder = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("cargo metadata does not tell `{key}`"))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")?, metadata })
    }

    /// `cargo` to be run in the workspace root.
    pub(crate) fn cargo<'a>(
        &self,
        args: impl IntoIterator<Item = &'a str>,
    ) -> std::process::Command {
        let mut command = shell::cargo(args);
        command.current_dir(&self.root);
        command
    }

    /// Writes figures into a file of `docs/figures`, each under its name; others stay.
    pub(crate) fn record<'a>(
        &self,
        file: &str,
        figures: impl Iterator<Item = (&'a str, Value)>,
    ) -> Result<()> {
        let path = self.root.join("docs/figures").join(file);
        let mut all = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not a map of figures", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        all.extend(figures.map(|(name, figures)| (name.to_owned(), figures)));
        let text = serde_json::to_string_pretty(&all)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The static files of the notebook, ready to be served.
    pub(crate) fn dist(&self) -> PathBuf {
        self.target.join("dist/notebook")
    }

    /// The release build of the server binary.
    pub(crate) fn server(&self) -> PathBuf {
        self.target.join("release").join(format!("leptos-sync{}", std::env::consts::EXE_SUFFIX))
    }
}
