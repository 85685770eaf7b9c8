//! Local-first Leptos apps in ten lines: saved here first, merged, synced in real time.
