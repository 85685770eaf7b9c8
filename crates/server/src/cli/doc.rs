//! `leptos-sync doc`: documents of a store, with or without a server on it.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::{Subcommand, ValueEnum};
use leptos_sync_crdt::{Block, Doc, DocId, ImportError, PeerId, VersionVector, is_update};
use leptos_sync_server::stored_blocks;
use leptos_sync_storage::{SqliteStorage, Storage as _};

use super::{DataDir, json, print};

/// How much text one change inserts; a larger text becomes several.
const CHUNK_BYTES: usize = 32 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum DocCommand {
    /// List the documents.
    Ls {
        #[command(flatten)]
        data: DataDir,
    },
    /// Print what is in a document, as JSON.
    Show {
        /// The document.
        id: DocId,
        #[command(flatten)]
        data: DataDir,
    },
    /// Write a document out: with its whole history, or as text or JSON.
    Export {
        /// The document.
        id: DocId,
        /// `update` has the whole history and can be imported again.
        #[arg(long, value_enum, default_value_t = Format::Update)]
        format: Format,
        /// Which text to write with `--format text`.
        #[arg(long, value_name = "NAME", default_value = "text")]
        text: String,
        /// Where to write; standard output if not given.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        data: DataDir,
    },
    /// Read a file into a document: an exported update is merged, UTF-8 text replaces a text.
    Import {
        /// The document; it is made if it is missing.
        id: DocId,
        /// The file; `-` reads standard input.
        file: PathBuf,
        /// Which text a plain text file replaces.
        #[arg(long, value_name = "NAME", default_value = "text")]
        text: String,
        #[command(flatten)]
        data: DataDir,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// All changes, in one binary file.
    Update,
    /// One text, as UTF-8.
    Text,
    /// What is in the document now, as JSON.
    Json,
}

pub(crate) fn run(command: DocCommand) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match command {
            DocCommand::Ls { data } => list(&data.open()?).await,
            DocCommand::Show { id, data } => {
                let doc = load_known(&data.open()?, &id).await?;
                print(&json::document(&id, &doc)?)
            }
            DocCommand::Export { id, format, text, output, data } => {
                export(&data.open()?, &id, format, &text, output.as_deref()).await
            }
            DocCommand::Import { id, file, text, data } => {
                let bytes = read_input(&file)?;
                import(&data.open_or_create()?, &id, &bytes, &text).await
            }
        }
    })
}

async fn list(storage: &SqliteStorage) -> Result<()> {
    for doc in storage.docs().await.context("cannot list the documents")? {
        print(doc.as_str())?;
    }
    Ok(())
}

/// The document as it is stored; empty if it is unknown.
async fn load(storage: &SqliteStorage, id: &DocId, peer: PeerId) -> Result<Doc> {
    let stored = storage.load(id).await.with_context(|| format!("cannot read document {id}"))?;
    let blocks =
        stored_blocks(stored).with_context(|| format!("the stored snapshot of {id} is corrupt"))?;
    let mut doc = Doc::new(peer);
    // What the store holds was accepted once: the clock must not refuse it now.
    doc.import(u64::MAX, blocks)
        .with_context(|| format!("the stored changes of {id} do not fit together"))?;
    Ok(doc)
}

async fn load_known(storage: &SqliteStorage, id: &DocId) -> Result<Doc> {
    let doc = load(storage, id, PeerId(0)).await?;
    if doc.version().is_empty() {
        bail!("there is no document {id}; `leptos-sync doc ls` lists those there are");
    }
    Ok(doc)
}

async fn export(
    storage: &SqliteStorage,
    id: &DocId,
    format: Format,
    text: &str,
    output: Option<&Path>,
) -> Result<()> {
    let doc = load_known(storage, id).await?;
    let bytes = match format {
        Format::Update => doc.encode_update(&VersionVector::new()),
        Format::Text => doc.text(text).to_string().into_bytes(),
        Format::Json => (json::document(id, &doc)? + "\n").into_bytes(),
    };
    if let Some(path) = output {
        return std::fs::write(path, bytes)
            .with_context(|| format!("cannot write {}", path.display()));
    }
    let mut stdout = std::io::stdout();
    if format == Format::Update && stdout.is_terminal() {
        bail!("an update is binary: name a file with --output, or redirect it into one");
    }
    stdout.write_all(&bytes).and_then(|()| stdout.flush()).context("cannot write to stdout")
}

fn read_input(file: &Path) -> Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

async fn import(storage: &SqliteStorage, id: &DocId, bytes: &[u8], text: &str) -> Result<()> {
    let peer = PeerId(getrandom::u64().context("the system gives no random numbers")?);
    let mut doc = load(storage, id, peer).await?;
    let blocks = if is_update(bytes) {
        merge(&mut doc, bytes)?
    } else {
        let content = std::str::from_utf8(bytes)
            .context("the file is neither an exported update nor UTF-8 text")?;
        replace_text(&mut doc, text, content)?
    };
    let count = blocks.len();
    if count > 0 {
        storage
            .append(vec![(id.clone(), blocks)])
            .await
            .with_context(|| format!("nothing was imported into {id}"))?;
    }
    storage.close().await;
    print(&format!("{id}: {count} changes imported"))
}

/// Merges an exported file; returns the changes that are new here.
fn merge(doc: &mut Doc, bytes: &[u8]) -> Result<Vec<Block>> {
    let known = doc.version().clone();
    doc.import_update(u64::MAX, bytes).map_err(|error| match error {
        ImportError::Update(source) => {
            anyhow::Error::new(source).context("the exported update is damaged")
        }
        other => anyhow::Error::new(other)
            .context("the update does not fit this document; nothing was imported"),
    })?;
    Ok(doc.blocks_since(&known))
}

/// Makes the text called `name` read `content`, leaving alone what both have at the ends.
fn replace_text(doc: &mut Doc, name: &str, content: &str) -> Result<Vec<Block>> {
    let old: Vec<char> = doc.text(name).to_string().chars().collect();
    let new: Vec<char> = content.chars().collect();
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let deleted = old.len() - start - end;
    let inserted: String = new[start..new.len() - end].iter().collect();

    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let wall_ms = u64::try_from(now.as_millis()).context("the clock is too far ahead")?;
    let mut blocks = Vec::new();
    let mut write = |at: usize, deleted: usize, part: &str| -> Result<()> {
        let (done, commit) = doc.transact(wall_ms, |tx| tx.text(name).splice(at, deleted, part));
        done.context("cannot edit the text")?;
        blocks.extend(commit.map(|commit| doc.block(&commit)));
        Ok(())
    };
    let mut at = start;
    let mut deleted = deleted;
    for part in chunks(&inserted).chain(inserted.is_empty().then_some("")) {
        write(at, std::mem::take(&mut deleted), part)?;
        at += part.chars().count();
    }
    Ok(blocks)
}

/// The text in parts of at most [`CHUNK_BYTES`], cut between characters.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (part, after) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}
