//! `CollaborativeTextarea`: a textarea that several people edit at once.
//!
//! | module | what it holds |
//! |---|---|
//! | `edit` | what was typed, as an edit, and how edits move positions; no browser |
//! | `session` | the textarea and the document kept in step |
//! | `dom` | the element's value, selection and events |
//! | `carets`, `mirror` | where the others are, drawn over the textarea |

// The component macro repeats the function's `pub` in a private module of its own.
#![allow(unreachable_pub)]

#[cfg(target_family = "wasm")]
mod carets;
#[cfg(target_family = "wasm")]
mod dom;
#[cfg(any(target_family = "wasm", test))]
mod edit;
#[cfg(target_family = "wasm")]
mod mirror;
#[cfg(target_family = "wasm")]
mod session;

use leptos::attribute_interceptor::AttributeInterceptor;
use leptos::html::{Div, Textarea};
use leptos::prelude::*;

use crate::text::SyncText;

/// A textarea over a text that is edited together.
///
/// Caret, selection, scroll position and a running input-method composition stay through the
/// edits of others. Undo and redo (Ctrl or Cmd with Z, Shift+Z, Y) are the document's, so they
/// take back one's own edits only. The carets of others are shown with name and colour
/// (`data-testid="remote-caret"`, `data-name`, classes `sync-caret` and `sync-caret-name`).
///
/// Attributes that are spread onto the component, such as `attr:data-testid`, go to the textarea.
/// Around it is a `div` of the class `sync-text`.
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
    mount(text, area, overlay);
    view! {
        <AttributeInterceptor let:attrs>
            <div class="sync-text" style:position="relative">
                <textarea
                    node_ref=area
                    id=move || id.get()
                    class=move || class.get()
                    placeholder=move || placeholder.get()
                    aria-label=move || aria_label.get()
                    // A browser that restores what was typed would restore an old text.
                    autocomplete="off"
                    {..attrs}
                ></textarea>
                <div class="sync-carets" aria-hidden="true" node_ref=overlay></div>
            </div>
        </AttributeInterceptor>
    }
}

#[cfg(target_family = "wasm")]
fn mount(text: SyncText, area: NodeRef<Textarea>, overlay: NodeRef<Div>) {
    use leptos::reactive::owner::LocalStorage;

    let mounted = StoredValue::<Option<session::Mounted>, LocalStorage>::new_local(None);
    on_cleanup(move || mounted.dispose());
    Effect::new(move |_| {
        let (Some(element), Some(overlay)) = (area.get(), overlay.get()) else { return };
        let Some((doc, id)) = text.locate() else { return };
        let carets = carets::Carets::new(&element, overlay.into());
        if let Some(carets) = carets {
            let area = dom::Area { element };
            mounted.set_value(Some(session::start(area, carets, doc, id)));
        }
    });
    Effect::new(move |_| {
        if area.get().is_none() || overlay.get().is_none() {
            return;
        }
        mounted.with_value(|mounted| {
            let Some(session) = mounted.as_ref().map(session::Mounted::session) else { return };
            let peers = crate::presence::peers_tracked(&session.doc);
            session.carets.set_peers(session, peers);
        });
    });
}

#[cfg(not(target_family = "wasm"))]
fn mount(_: SyncText, _: NodeRef<Textarea>, _: NodeRef<Div>) {}
