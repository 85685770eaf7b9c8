//! One document: its text, its tasks, who is here, and whether it is saved.

use std::time::Duration;

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos_sync::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::home::first_line;
use crate::icon::{Icon, LINK, REDO, UNDO};
use crate::person::{Person, initials};
use crate::tasks::Tasks;

/// How long a short notice stays.
const SAID_FOR: Duration = Duration::from_secs(3);

/// The page of one document.
#[component]
pub(crate) fn DocumentPage(id: DocId) -> impl IntoView {
    let board = use_doc(&id);
    let text = board.text("text");
    Effect::new(move |_| {
        let title = first_line(&text.slice(0, 80));
        let title = if title.is_empty() { "Untitled".to_owned() } else { title };
        document().set_title(&format!("{title} · Notebook"));
    });
    view! {
        <div class="document">
            <header class="bar">
                <a class="home-link" href="/" aria-label="All documents">
                    <img src="/icon.svg" alt=""/>
                    "Notebook"
                </a>
                <h1 class="doc-id" title="This document's id">{id.to_string()}</h1>
                <CopyLink/>
                <History board/>
                <span class="space"></span>
                <People board/>
                <SyncStatusBadge/>
            </header>
            <div class="desk">
                <main class="sheet">
                    <CollaborativeTextarea
                        text
                        aria_label="Text of the document"
                        placeholder="Write here. Others see it as you type."
                        attr:data-testid="editor"
                    />
                </main>
                <Tasks board/>
            </div>
        </div>
    }
}

/// Puts the document's address into the clipboard, for whoever should see it.
#[component]
fn CopyLink() -> impl IntoView {
    let said = RwSignal::new("");
    let copy = move |_| {
        leptos::task::spawn_local(async move {
            // Without permission, or on an insecure page, there is no clipboard to write to.
            let address = window().location().href().unwrap_or_default();
            let copied = match clipboard() {
                Some(clipboard) => JsFuture::from(clipboard.write_text(&address)).await.is_ok(),
                None => false,
            };
            said.set(if copied { "Link copied" } else { "Copy the address from the browser" });
            set_timeout(move || said.set(""), SAID_FOR);
        });
    };
    view! {
        <button class="icon" aria-label="Copy link" title="Copy link" on:click=copy>
            <Icon path=LINK/>
        </button>
        <span class="said" role="status">{said}</span>
    }
}

fn clipboard() -> Option<web_sys::Clipboard> {
    let navigator = window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &"clipboard".into()).ok()?;
    clipboard.is_object().then(|| clipboard.unchecked_into())
}

#[component]
fn History(board: SyncDoc) -> impl IntoView {
    view! {
        <div class="tools" role="group" aria-label="History">
            <button
                class="icon"
                aria-label="Undo"
                title="Undo (Ctrl+Z)"
                data-testid="undo"
                disabled=move || !board.can_undo()
                on:click=move |_| {
                    board.undo();
                }
            >
                <Icon path=UNDO/>
            </button>
            <button
                class="icon"
                aria-label="Redo"
                title="Redo (Ctrl+Shift+Z)"
                data-testid="redo"
                disabled=move || !board.can_redo()
                on:click=move |_| {
                    board.redo();
                }
            >
                <Icon path=REDO/>
            </button>
        </div>
    }
}

/// You, by a name that you can change, and the others who have the document open.
#[component]
fn People(board: SyncDoc) -> impl IntoView {
    let sync = use_sync();
    let presence = board.presence::<bool>();
    let me = untrack(|| sync.user());
    let colour = me.colour.clone();
    let name = RwSignal::new(me.name);
    let rename = move |_| {
        let person = Person { name: name.get().trim().to_owned(), colour: colour.clone() };
        if !person.name.is_empty() {
            person.save();
            sync.set_user(person.name, person.colour);
        }
    };
    view! {
        <div class="people">
            <ul class="peers" aria-label="Also here">
                <For each=move || presence.others()
                    key=|peer| (peer.session, peer.name.clone(), peer.colour.clone())
                    let:peer
                >
                    <li
                        class="peer"
                        style=("--peer", peer.colour.clone())
                        title=peer.name.clone()
                        data-testid="presence-peer"
                        data-name=peer.name.clone()
                    >
                        <span aria-hidden="true">{initials(&peer.name)}</span>
                        <span class="visually-hidden">{peer.name.clone()}</span>
                    </li>
                </For>
            </ul>
            <label class="you">
                <span class="swatch" style=("--peer", me.colour.clone())></span>
                <span class="visually-hidden">"Your name"</span>
                <input
                    type="text"
                    maxlength="40"
                    autocomplete="nickname"
                    placeholder="Your name"
                    data-testid="your-name"
                    bind:value=name
                    on:input=rename
                />
            </label>
        </div>
    }
}
