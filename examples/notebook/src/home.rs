//! The start page: the documents on this device, a new one, or one by its id.

use leptos::prelude::*;
use leptos_router::hooks::use_navigate;
use leptos_sync::prelude::*;

use crate::icon::{Icon, PLUS};
use crate::person::random_bytes;

/// The start page.
#[component]
pub(crate) fn Home() -> impl IntoView {
    let sync = use_sync();
    let documents = LocalResource::new(move || async move { sync.local_documents().await });
    document().set_title("Notebook");
    view! {
        <main class="home">
            <header>
                <h1 class="brand"><img src="/icon.svg" alt=""/>"Notebook"</h1>
                <SyncStatusBadge/>
            </header>
            <p class="lead">
                "Write anywhere, online or not. What you type is kept on this device first and "
                "shared as soon as the server can be reached."
            </p>
            <Start/>
            <section aria-labelledby="documents">
                <h2 id="documents" class="section-title">"Documents on this device"</h2>
                <Suspense fallback=|| view! { <p class="empty">"Looking…"</p> }>
                    {move || documents.get().map(|ids| view! { <Documents ids/> })}
                </Suspense>
            </section>
        </main>
    }
}

#[component]
fn Start() -> impl IntoView {
    let navigate = use_navigate();
    let id = RwSignal::new(String::new());
    let problem = RwSignal::new(None);
    let create = {
        let navigate = navigate.clone();
        move |_| navigate(&address(&random_id()), Default::default())
    };
    let open = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match DocId::new(id.read().trim()) {
            Ok(id) => navigate(&address(id.as_str()), Default::default()),
            Err(error) => problem.set(Some(error.to_string())),
        }
    };
    view! {
        <div class="start">
            <button class="primary" data-testid="new-document" on:click=create>
                <Icon path=PLUS/>
                "New document"
            </button>
            <form on:submit=open>
                <label class="visually-hidden" for="open-id">"Open a document by its id"</label>
                <input
                    id="open-id"
                    type="text"
                    placeholder="Open by id"
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    data-testid="open-id"
                    bind:value=id
                />
                <button data-testid="open-document">"Open"</button>
            </form>
            <Show when=move || problem.read().is_some()>
                <p class="problem" role="alert">{problem}"."</p>
            </Show>
        </div>
    }
}

#[component]
fn Documents(ids: Vec<DocId>) -> impl IntoView {
    if ids.is_empty() {
        return view! {
            <p class="empty">"None yet. Start one: it works without a network, too."</p>
        }
        .into_any();
    }
    let links = ids.into_iter().map(|id| {
        let title = use_doc(&id).text("text");
        let label = move || match first_line(&title.slice(0, 80)) {
            line if line.is_empty() => "Untitled".to_owned(),
            line => line,
        };
        view! {
            <li>
                <a href=address(id.as_str()) data-testid="document-link">
                    <span class="title">{label}</span>
                    <span class="id">{id.to_string()}</span>
                </a>
            </li>
        }
    });
    view! { <ul class="documents">{links.collect_view()}</ul> }.into_any()
}

/// The first line that says something, which serves as a document's title.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

fn address(id: &str) -> String {
    let segments = id.split('/').map(|part| String::from(js_sys::encode_uri_component(part)));
    format!("/d/{}", segments.collect::<Vec<_>>().join("/"))
}

/// Fourteen letters and digits: 70 bits, enough that nobody hits another's document by chance.
fn random_id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    random_bytes::<14>().iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}
