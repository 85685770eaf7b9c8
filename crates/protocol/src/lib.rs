//! The leptos-sync.v1 sync protocol as sans-IO sessions.
