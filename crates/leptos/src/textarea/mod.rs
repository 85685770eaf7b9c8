//! `CollaborativeTextarea`: a textarea that several people edit at once.
//!
//! | module | what it holds |
//! |---|---|
//! | `edit` | what was typed, as an edit, and how edits move positions; no browser |
//! | `session` | the textarea and the document kept in step |
//! | `carets` | where the others are, drawn over the textarea |

mod edit;

use leptos::attribute_interceptor::AttributeInterceptor;
use leptos::html::{Div, Textarea};
use leptos::prelude::*;

use crate::text::SyncText;

/// A textarea over a text that is edited together.
///
/// Caret, selection, scroll position and a running input-method composition stay through the
/// edits of others. Undo and redo (Ctrl or Cmd with Z, Shift+Z, Y) are the document's, so they
/// take back one's own edits only. The carets of others are shown with name and colour
/// (`data-testid="remote-caret"`, `data-name`).
///
/// Attributes that are spread onto the component, such as `attr:data-testid`, go to the textarea.
#[component]
pub fn CollaborativeTextarea(
    /// The text: `row.notes()` or `doc.text("body")`.
    text: SyncText,
    /// The id of the textarea.
    #[prop(optional, into)]
    id: MaybeProp<String>,
    /// Classes of the textarea.
    #[prop(optional, into)]
    class: MaybeProp<String>,
    /// What an empty textarea shows.
    #[prop(optional, into)]
    placeholder: MaybeProp<String>,
    /// What a screen reader calls it.
    #[prop(optional, into)]
    aria_label: MaybeProp<String>,
) -> impl IntoView {
    let area = NodeRef::<Textarea>::new();
    let overlay = NodeRef::<Div>::new();
    view! {
        <AttributeInterceptor let:attrs>
            <div class="sync-text" style="position:relative">
                <textarea
                    node_ref=area
                    prop:value=move || text.get()
                    on:input=move |event| {
                        let old = text.get_untracked();
                        if let Some(splice) = edit::diff(&old, &event_target_value(&event), None) {
                            let _ = text.splice(splice.at, splice.deleted, &splice.inserted);
                        }
                    }
                    id=move || id.get()
                    class=move || class.get()
                    placeholder=move || placeholder.get()
                    aria-label=move || aria_label.get()
                    {..attrs}
                ></textarea>
                <div class="sync-carets" aria-hidden="true" node_ref=overlay></div>
            </div>
        </AttributeInterceptor>
    }
}
