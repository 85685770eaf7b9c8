//! On the server every hook and component renders its empty state, on any thread.

use leptos::prelude::*;
use leptos_sync::prelude::*;

#[derive(Clone, Debug, PartialEq, Record)]
struct Task {
    title: String,
    done: bool,
    #[record(counter)]
    votes: i64,
    #[record(text)]
    notes: String,
}

#[component]
fn App() -> impl IntoView {
    provide_sync(SyncOptions::new("/sync"));
    view! { <SyncStatusBadge/> <Tasks/> }
}

#[component]
fn Tasks() -> impl IntoView {
    let board = use_doc("board/42");
    let tasks = board.collection::<Task>("tasks");
    let open = tasks.query().filter(|t| !t.done).sort_by_key(|t| t.title.clone()).watch();
    let others = board.presence::<()>();
    view! {
        <p id="count">{move || tasks.len()}</p>
        <p id="others">{move || others.others().len()}</p>
        <p id="undo">{move || board.can_undo().to_string()}</p>
        <For each=move || open.rows() key=|row| row.id() let:row>
            <input type="checkbox" bind:checked=row.done()/>
            <input bind:value=row.title()/>
            <button on:click=move |_| row.votes().add(1)>{row.votes()}</button>
            <CollaborativeTextarea text=row.notes()/>
        </For>
        <CollaborativeTextarea
            text=board.text("body")
            id="editor"
            placeholder="Write"
            aria_label="Text"
            attr:data-testid="editor"
        />
    }
}

fn html() -> String {
    let owner = Owner::new();
    owner.with(|| App().to_html())
}

#[test]
fn the_whole_app_renders_its_empty_state() {
    let html = html();
    for expected in [
        "data-testid=\"sync-status\"",
        "data-state=\"connecting\"",
        "data-pending=\"0\"",
        "Connecting…",
        "<p id=\"count\">0</p>",
        "<p id=\"others\">0</p>",
        "<p id=\"undo\">false</p>",
        "placeholder=\"Write\"",
    ] {
        assert!(html.contains(expected), "{expected} is missing in {html}");
    }
    let textarea = html.find("<textarea").map(|start| &html[start..]).unwrap_or_default();
    let tag = &textarea[..textarea.find('>').unwrap_or_default()];
    assert!(tag.contains("data-testid=\"editor\""), "{tag}");
}

#[test]
fn threads_render_alike() {
    let first = html();
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(html)).collect();
    for thread in threads {
        assert_eq!(thread.join().expect("rendering does not panic"), first);
    }
}

#[test]
fn handles_move_between_threads() {
    let owner = Owner::new();
    let (doc, tasks) = owner.with(|| {
        provide_sync(SyncOptions::new("/sync"));
        let doc = use_doc("board/42");
        (doc, doc.collection::<Task>("tasks"))
    });
    let used = std::thread::spawn(move || {
        let task = Task { title: "Milk".into(), done: false, votes: 0, notes: String::new() };
        assert!(tasks.insert(task).is_none());
        doc.undo();
        let changed = transact_all([doc], |_| Ok::<(), ()>(()));
        assert_eq!(changed, Err(TransactError::NotOpen(0)));
        (tasks.len(), doc.id().map(|id| id.to_string()))
    });
    assert_eq!(used.join().expect("no panic"), (0, Some("board/42".to_owned())));
}
