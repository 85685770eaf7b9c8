//! The task list: a `LocalFirstCollection<Task>` and nothing else.

use leptos::prelude::*;
use leptos_sync::prelude::*;

use crate::icon::{Icon, PLUS, REMOVE, VOTE};

/// A task. Title and tick are the latest anyone wrote; votes add up.
#[derive(Clone, Debug, PartialEq, Record)]
pub(crate) struct Task {
    title: String,
    done: bool,
    #[record(counter)]
    votes: i64,
}

/// The tasks of a document.
#[component]
pub(crate) fn Tasks(board: SyncDoc) -> impl IntoView {
    let tasks = board.collection::<Task>("tasks");
    let list = tasks.query().watch();
    let open = tasks.query().filter(|task| !task.done).watch();
    let title = RwSignal::new(String::new());
    let add = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let text = title.read().trim().to_owned();
        if !text.is_empty() {
            tasks.insert(Task { title: text, done: false, votes: 0 });
            title.set(String::new());
        }
    };
    let count = move || match (open.rows().len(), list.rows().len()) {
        (_, 0) => String::new(),
        (0, _) => "all done".to_owned(),
        (open, all) => format!("{open} of {all} open"),
    };
    view! {
        <aside class="tasks" aria-labelledby="tasks-title">
            <h2><b id="tasks-title">"Tasks"</b><span role="status">{count}</span></h2>
            <form on:submit=add>
                <input
                    type="text"
                    aria-label="New task"
                    placeholder="Add a task"
                    autocomplete="off"
                    data-testid="task-new"
                    bind:value=title
                />
                <button class="icon" aria-label="Add task" data-testid="task-add">
                    <Icon path=PLUS/>
                </button>
            </form>
            <Show when=move || list.rows().is_empty()>
                <p class="hint">"Tasks are shared with everyone in this document."</p>
            </Show>
            <ul>
                <For each=move || list.rows() key=|row| row.id() let:row>
                    <TaskRow row/>
                </For>
            </ul>
        </aside>
    }
}

#[component]
fn TaskRow(row: Row<Task>) -> impl IntoView {
    let named = move |what: &str| format!("{what}: {}", row.title().get());
    view! {
        <li class="task" class:done=move || row.done().get() data-testid="task">
            <input
                type="checkbox"
                aria-label=move || named("Done")
                data-testid="task-done"
                bind:checked=row.done()
            />
            <input
                type="text"
                aria-label="Title"
                autocomplete="off"
                data-testid="task-title"
                bind:value=row.title()
            />
            <button
                aria-label=move || named("Vote for")
                data-testid="task-vote"
                on:click=move |_| row.votes().add(1)
            >
                <Icon path=VOTE/>
                <span data-testid="task-votes">{row.votes()}</span>
            </button>
            <button
                aria-label=move || named("Remove")
                data-testid="task-remove"
                on:click=move |_| row.remove()
            >
                <Icon path=REMOVE/>
            </button>
        </li>
    }
}
