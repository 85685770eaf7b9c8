//! `#[derive(Record)]` for leptos-sync.
