//! The notebook: a text edited together and a task list beside it, saved on the device first.
//!
//! The whole of leptos-sync that it uses is `provide_sync`, `use_doc`, a collection of tasks, a
//! text, presence, undo, and two components.

#![allow(unreachable_pub, reason = "#[component] writes its own visibility")]

mod document;
mod home;
mod icon;
mod person;
mod tasks;

use leptos::prelude::*;
use leptos_router::components::{Route, Router, Routes};
use leptos_router::hooks::use_params_map;
use leptos_router::path;
use leptos_sync::prelude::*;

use document::DocumentPage;
use home::Home;
use person::Person;

#[component]
fn App() -> impl IntoView {
    let me = Person::load();
    provide_sync(SyncOptions::new("/sync").database("notebook").user(me.name, me.colour));
    view! {
        <Router>
            <Routes fallback=NotFound>
                <Route path=path!("/") view=Home/>
                <Route path=path!("/d/*id") view=DocumentRoute/>
            </Routes>
        </Router>
    }
}

/// Opens the document that the address names; another address is another page.
#[component]
fn DocumentRoute() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.read().get("id").unwrap_or_default());
    move || match DocId::new(id.get()) {
        Ok(id) => view! { <DocumentPage id/> }.into_any(),
        Err(error) => view! {
            <main class="home">
                <h1>"This address names no document"</h1>
                <p class="lead">{error.to_string()}"."</p>
                <a href="/">"All documents"</a>
            </main>
        }
        .into_any(),
    }
}

#[component]
fn NotFound() -> impl IntoView {
    view! {
        <main class="home">
            <h1>"There is no such page"</h1>
            <p class="lead">"Documents have addresses that start with /d/."</p>
            <a href="/">"All documents"</a>
        </main>
    }
}

fn main() {
    if let Some(loading) = document().get_element_by_id("loading") {
        loading.remove();
    }
    leptos::mount::mount_to_body(App);
}
