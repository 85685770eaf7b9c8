//! The fuzzer: libFuzzer around one of the targets, which `LEPTOS_SYNC_FUZZ` names. If it names
//! none, the examples of all are written into the folder that `LEPTOS_SYNC_EXAMPLES` names.
#![no_main]

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use leptos_sync_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("LEPTOS_SYNC_FUZZ").unwrap_or_default();
    if let Some(target) = TARGETS.iter().find(|target| target.name == name) {
        TARGET.get_or_init(|| target);
        return;
    }
    if let Some(folder) = std::env::var_os("LEPTOS_SYNC_EXAMPLES") {
        write_examples(Path::new(&folder)).expect("the folder can be written to");
    }
    for Target { name, about, .. } in TARGETS {
        println!("{name}: {about}");
    }
    exit(0);
}

fn write_examples(folder: &Path) -> std::io::Result<()> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, input) in (target.examples)().into_iter().enumerate() {
            std::fs::write(folder.join(format!("{number:04}")), input)?;
        }
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(
    init: choose(),
    |input: &[u8]| (TARGET.get().expect("it was chosen first").run)(input)
);
