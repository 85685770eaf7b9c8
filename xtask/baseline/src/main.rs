//! The notebook's interface on plain Leptos signals: nothing is kept and nothing is synced.
//!
//! `cargo xtask size` builds it with the notebook's profile and subtracts it, so that what is
//! left is the weight of leptos-sync. It has the same pages and controls and is never served.

use leptos::prelude::*;
use leptos_router::components::{A, Route, Router, Routes};
use leptos_router::hooks::use_params_map;
use leptos_router::path;

fn main() {
    leptos::mount::mount_to_body(App);
}

#[component]
fn App() -> impl IntoView {
    view! {
        <Router>
            <Routes fallback=|| view! { <p>"There is nothing here."</p> }>
                <Route path=path!("/") view=Home/>
                <Route path=path!("/d/:id") view=Document/>
            </Routes>
        </Router>
    }
}

#[component]
fn Home() -> impl IntoView {
    let documents = RwSignal::new(Vec::<String>::new());
    let add = move |_| documents.update(|list| list.push(format!("document-{}", list.len())));
    view! {
        <main>
            <h1>"Notebook"</h1>
            <button on:click=add>"New document"</button>
            <ul>
                <For each=move || documents.get() key=String::clone let:id>
                    <li><A href=format!("/d/{id}")>{id.clone()}</A></li>
                </For>
            </ul>
        </main>
    }
}

/// One task with a signal per field, as the notebook has it.
#[derive(Clone, Copy)]
struct Task {
    id: usize,
    title: RwSignal<String>,
    done: RwSignal<bool>,
    votes: RwSignal<i64>,
}

#[component]
fn Document() -> impl IntoView {
    let params = use_params_map();
    let id = move || params.read().get("id").unwrap_or_default();
    let text = RwSignal::new(String::new());
    let name = RwSignal::new(stored_name().unwrap_or_default());
    Effect::new(move |_| store_name(&name.read()));
    view! {
        <main>
            <header>
                <A href="/">"All documents"</A>
                <h1>{id}</h1>
                <label>"Your name" <input bind:value=name/></label>
                <output role="status">{move || text.read().chars().count()}</output>
            </header>
            <textarea aria-label="Text" bind:value=text></textarea>
            <Tasks/>
        </main>
    }
}

#[component]
fn Tasks() -> impl IntoView {
    let tasks = RwSignal::new(Vec::<Task>::new());
    let title = RwSignal::new(String::new());
    let add = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let task = Task {
            id: tasks.read().iter().map(|task| task.id + 1).max().unwrap_or(0),
            title: RwSignal::new(title.get()),
            done: RwSignal::new(false),
            votes: RwSignal::new(0),
        };
        tasks.write().push(task);
        title.set(String::new());
    };
    let open = move || {
        let mut list = tasks.get();
        list.sort_by_key(|task| (task.done.get(), task.title.get()));
        list
    };
    view! {
        <form on:submit=add>
            <input aria-label="New task" bind:value=title/>
            <button>"Add"</button>
        </form>
        <ul>
            <For each=open key=|task| task.id let:task>
                <li>
                    <input type="checkbox" aria-label="Done" bind:checked=task.done/>
                    <input aria-label="Title" bind:value=task.title/>
                    <button on:click=move |_| *task.votes.write() += 1>{task.votes}</button>
                    <button on:click=move |_| tasks.write().retain(|other| other.id != task.id)>
                        "Remove"
                    </button>
                </li>
            </For>
        </ul>
    }
}

fn stored_name() -> Option<String> {
    window().local_storage().ok()??.get_item("name").ok()?
}

fn store_name(name: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        // A browser that refuses storage still lets one work under a name.
        let _ = storage.set_item("name", name);
    }
}
