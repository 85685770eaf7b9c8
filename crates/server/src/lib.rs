//! The leptos-sync server as a library.
