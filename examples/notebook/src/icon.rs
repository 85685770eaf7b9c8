//! The few icons of the notebook, drawn as strokes in the text's colour.

use leptos::prelude::*;

/// An icon for the eye only; whatever bears it says its name in words.
#[component]
pub(crate) fn Icon(
    /// SVG path data in a 24 by 24 box.
    path: &'static str,
) -> impl IntoView {
    view! {
        <svg
            viewBox="0 0 24 24"
            fill="none"
            stroke="currentColor"
            stroke-width="2"
            stroke-linecap="round"
            stroke-linejoin="round"
            aria-hidden="true"
        >
            <path d=path></path>
        </svg>
    }
}

pub(crate) const PLUS: &str = "M12 5v14M5 12h14";
pub(crate) const UNDO: &str = "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3";
pub(crate) const REDO: &str = "m15 14 5-5-5-5M20 9H10a6 6 0 0 0 0 12h3";
pub(crate) const REMOVE: &str = "M6 6l12 12M18 6 6 18";
pub(crate) const VOTE: &str =
    "M7 11v9H4v-9zM7 11l4-8a2.5 2.5 0 0 1 2.5 2.5V9H19a2 2 0 0 1 2 2.3l-1.2 7A2 2 0 0 1 17.8 20H7";
pub(crate) const LINK: &str =
    "M9 15l6-6M11 7l2-2a4.25 4.25 0 0 1 6 6l-2 2M13 17l-2 2a4.25 4.25 0 0 1-6-6l2-2";
