//! Runs one wasm test binary in a headless browser: what cargo calls as the wasm target's runner.
//!
//! It is wasm-bindgen's own test runner, taken as a library at the pinned version, so that
//! `cargo test --target wasm32-unknown-unknown` needs no global tool. `.cargo/config.toml` names
//! it as the runner and `webdriver.json` beside this crate as Chromium's settings; Firefox has its
//! own in `firefox.json`, by which it grants persistent storage and asks nobody.

fn main() -> anyhow::Result<()> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os())
}
