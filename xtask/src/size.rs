//! `cargo xtask size`: what a browser downloads, in bytes, and how many of them are ours.
//!
//! `xtask/baseline` is the notebook's interface, pages, lists and text area, on plain Leptos
//! signals and without leptos-sync, built with the same profile. What the notebook weighs more
//! is the library. `gzip` is level 9, `brotli` quality 11 with a 22 bit window. If `wasm-opt` is
//! on PATH, its `-Oz` result is shown as well; nothing depends on it. `--engine` weighs the engine
//! alone, which `cargo xtask bench engine --wasm` does as well: docs/size.md has what is in it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use crate::bench;
use crate::build;
use crate::shell::{self, step};
use crate::workspace::Workspace;

/// What `cargo xtask size` takes.
#[derive(Args)]
pub(crate) struct SizeArgs {
    /// Print JSON and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Weigh the engine alone, as a bare module less one that does the same without it.
    #[arg(long)]
    engine: bool,
    /// Write what was weighed to docs/size.md; `wasm-opt` must be on PATH for the engine.
    #[arg(long)]
    record: bool,
}

/// What is before the table of the engine that `--record` writes.
const ENGINE_TABLE: &str = "<!-- written by `cargo xtask size --engine --record` -->\n";

/// And before that of the notebook.
const APP_TABLE: &str = "<!-- written by `cargo xtask size --record` -->\n";

/// What is behind either.
const TABLE_END: &str = "<!-- end of that -->";

/// One thing measured, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) raw: usize,
    pub(crate) gzip: usize,
    pub(crate) brotli: usize,
}

impl Size {
    fn of(bytes: &[u8]) -> Result<Self> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).context("gzip failed")?;
        let mut brotli = Vec::new();
        let settings =
            brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
        brotli::BrotliCompress(&mut &bytes[..], &mut brotli, &settings).context("brotli failed")?;
        let gzip = gzip.finish().context("gzip failed")?;
        Ok(Self { raw: bytes.len(), gzip: gzip.len(), brotli: brotli.len() })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            raw: self.raw + other.raw,
            gzip: self.gzip + other.gzip,
            brotli: self.brotli + other.brotli,
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            raw: self.raw.saturating_sub(other.raw),
            gzip: self.gzip.saturating_sub(other.gzip),
            brotli: self.brotli.saturating_sub(other.brotli),
        }
    }

    fn json(self) -> serde_json::Value {
        json!({ "raw": self.raw, "gzip": self.gzip, "brotli": self.brotli })
    }
}

/// The two files an app needs to run.
struct App {
    wasm: Size,
    js: Size,
    optimized: Option<Size>,
}

/// Runs `cargo xtask size`.
pub(crate) fn run(args: &SizeArgs) -> Result<()> {
    let workspace = Workspace::load()?;
    build::ensure_wasm_target()?;
    let rows = if args.engine {
        bench::weigh_engine(&workspace)?
    } else {
        measure(&workspace, args.json)?
    };
    if args.record {
        let has_optimizer = shell::find_program(&["wasm-opt"]).is_some();
        ensure!(has_optimizer || !args.engine, "install wasm-opt first: it counts");
        let start = if args.engine { ENGINE_TABLE } else { APP_TABLE };
        let page = workspace.root.join("docs/size.md");
        fs::write(&page, with_table(&fs::read_to_string(&page)?, start, &rows)?)?;
    }
    if args.json {
        let map: serde_json::Map<_, _> =
            rows.iter().map(|(name, size)| ((*name).to_owned(), size.json())).collect();
        println!("{}", serde_json::Value::from(map));
    } else {
        print(&rows);
    }
    Ok(())
}

/// Builds and measures both apps, prints the table, and returns the sentence that matters most.
pub(crate) fn report(workspace: &Workspace) -> Result<String> {
    let rows = measure(workspace, false)?;
    print(&rows);
    let brotli = |name: &str| rows.iter().find(|row| row.0 == name).map_or(0, |row| row.1.brotli);
    let (whole, ours) = (brotli("notebook"), brotli("leptos-sync itself"));
    Ok(format!("notebook {whole} bytes as brotli, {ours} of them leptos-sync"))
}

fn measure(workspace: &Workspace, quiet: bool) -> Result<Vec<(&'static str, Size)>> {
    let app = |name: &'static str| {
        let work = || measure_app(workspace, name);
        if quiet { work() } else { step(&format!("Measuring {name}"), work) }
    };
    let (notebook, baseline) = (app("notebook")?, app("baseline")?);
    let (whole, without) = (notebook.wasm.plus(notebook.js), baseline.wasm.plus(baseline.js));
    let mut rows = vec![
        ("notebook wasm", notebook.wasm),
        ("notebook js", notebook.js),
        ("notebook", whole),
        ("without leptos-sync", without),
        ("leptos-sync itself", whole.minus(without)),
    ];
    rows.extend(notebook.optimized.map(|size| ("notebook wasm, wasm-opt -Oz", size)));
    Ok(rows)
}

fn measure_app(workspace: &Workspace, name: &str) -> Result<App> {
    let wasm = build::compile_wasm(workspace, &["--package", name], &format!("{name}.wasm"))?;
    let folder = workspace.target.join("size").join(name);
    build::bindgen(&wasm, name, &folder)?;
    let file = folder.join(format!("{name}_bg.wasm"));
    Ok(App {
        wasm: size_of(&file)?,
        js: size_of(&folder.join(format!("{name}.js")))?,
        optimized: optimize(&file)?,
    })
}

/// The size after `wasm-opt -Oz`, if there is a wasm-opt.
pub(crate) fn optimize(wasm: &Path) -> Result<Option<Size>> {
    let Some(program) = shell::find_program(&["wasm-opt"]) else { return Ok(None) };
    let smaller = wasm.with_extension("opt.wasm");
    let mut command = Command::new(program);
    command.arg("-Oz").arg("--all-features").arg(wasm).arg("-o").arg(&smaller);
    shell::run(&mut command)?;
    size_of(&smaller).map(Some)
}

pub(crate) fn size_of(file: &Path) -> Result<Size> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    Size::of(&bytes)
}

/// The page with these rows in its table.
fn with_table(page: &str, start: &str, rows: &[(&str, Size)]) -> Result<String> {
    let parts = page.split_once(start).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(TABLE_END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("docs/size.md has no place for the table")?;
    let mut table = String::from("| bytes | raw | gzip -9 | brotli 11 |\n|---|---:|---:|---:|\n");
    for (name, Size { raw, gzip, brotli }) in rows {
        table += &format!("| {name} | {raw} | {gzip} | {brotli} |\n");
    }
    Ok([before, start, &table, TABLE_END, after].concat())
}

fn print(rows: &[(&str, Size)]) {
    println!("  {:<28} {:>10} {:>10} {:>10}", "bytes", "raw", "gzip -9", "brotli 11");
    for (name, size) in rows {
        println!("  {name:<28} {:>10} {:>10} {:>10}", size.raw, size.gzip, size.brotli);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_bytes_compress_and_raw_is_exact() {
        let size = Size::of(&[7; 10_000]).expect("a size");
        assert_eq!(size.raw, 10_000);
        assert!(size.gzip < 100 && size.brotli < size.gzip, "{size:?}");
    }

    #[test]
    fn a_page_has_the_last_table_and_all_that_is_around_it() {
        let table = |start: &str| format!("{start}old{TABLE_END}\n");
        let page = format!("before\n{}{}after\n", table(ENGINE_TABLE), table(APP_TABLE));
        let rows = [("a", Size { raw: 3, gzip: 2, brotli: 1 })];
        let once = with_table(&page, APP_TABLE, &rows).expect("it has a place");
        assert!(once.contains("| a | 3 | 2 | 1 |"), "{once}");
        assert_eq!(with_table(&once, APP_TABLE, &rows).expect("it has a place"), once);
        assert!(once.starts_with("before") && once.ends_with("after\n"));
        assert_eq!(once.matches("old").count(), 1, "the other table is as it was");
        assert!(with_table("no place", ENGINE_TABLE, &rows).is_err());
    }

    #[test]
    fn a_library_that_weighs_nothing_is_not_negative() {
        let small = Size { raw: 1, gzip: 5, brotli: 3 };
        let large = Size { raw: 2, gzip: 3, brotli: 3 };
        assert_eq!(small.minus(large), Size { raw: 0, gzip: 2, brotli: 0 });
    }
}
