//! A change reaches those who read what changed, and nobody else: counted.
#![cfg(all(target_family = "wasm", not(feature = "ssr")))]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::prelude::*;
use leptos_sync::prelude::*;
use leptos_sync::{Field, User, provide_engine};
use leptos_sync_engine::insert_record;
use support::Stage;
use wasm_bindgen::JsCast;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{Event, HtmlElement, HtmlInputElement};

wasm_bindgen_test_configure!(run_in_browser);

#[derive(Clone, Copy, Debug, PartialEq, FieldValue)]
enum Priority {
    Low,
    High,
}

#[derive(Clone, Debug, PartialEq, Record)]
struct Task {
    title: String,
    done: bool,
    #[record(counter)]
    votes: i64,
    #[record(text)]
    notes: String,
    #[record(default = Priority::High)]
    priority: Priority,
    #[record(rename = "due-date", default)]
    due: Option<u32>,
}

fn task(title: &str) -> Task {
    Task {
        title: title.into(),
        done: false,
        votes: 0,
        notes: String::new(),
        priority: Priority::Low,
        due: None,
    }
}

/// A stage with an owner in which hooks can be called.
struct Room {
    stage: Stage,
    owner: Owner,
}

impl Room {
    async fn new() -> Self {
        let stage = Stage::new().await;
        // Starts Leptos's executor.
        stage.mount(|| ());
        let owner = Owner::new();
        let engine = stage.engine.clone();
        owner.with(|| provide_engine(engine, User::default()));
        Self { stage, owner }
    }

    fn doc(&self) -> SyncDoc {
        self.owner.with(|| use_doc("board"))
    }

    fn tasks(&self) -> LocalFirstCollection<Task> {
        self.doc().collection("tasks")
    }

    /// Counts the runs of an effect.
    fn count(&self, read: impl Fn() + 'static) -> Rc<Cell<u32>> {
        let runs = Rc::new(Cell::new(0));
        let counted = runs.clone();
        self.owner.with(|| {
            Effect::new(move |_| {
                counted.set(counted.get() + 1);
                read();
            })
        });
        runs
    }

    fn remote_insert(&self, task: &Task) -> RowId {
        self.stage.other.transact(|tx| insert_record(tx, "tasks", task))
    }

    fn remote_set(&self, row: RowId, field: &str, value: impl Into<leptos_sync::Value>) {
        let set = self.stage.other.transact(|tx| tx.table("tasks").set(row, field, value));
        set.expect("the row is known");
    }
}

#[wasm_bindgen_test]
async fn a_remote_change_runs_only_the_effects_that_read_that_field() {
    let room = Room::new().await;
    let (milk, eggs) = (room.remote_insert(&task("Milk")), room.remote_insert(&task("Eggs")));
    room.stage.settle().await;
    let (milk_row, eggs_row) = (room.tasks().row(milk), room.tasks().row(eggs));
    let title = room.count(move || drop(milk_row.title().get()));
    let done = room.count(move || {
        milk_row.done().get();
    });
    let votes = room.count(move || {
        milk_row.votes().get();
    });
    let notes = room.count(move || drop(milk_row.notes().get()));
    let whole = room.count(move || drop(milk_row.get()));
    let exists = room.count(move || {
        let _ = milk_row.exists();
    });
    let other_title = room.count(move || drop(eggs_row.title().get()));
    let tasks = room.tasks();
    let list = room.count(move || drop(tasks.rows()));
    let counts = || {
        [&title, &done, &votes, &notes, &whole, &exists, &other_title, &list].map(|runs| runs.get())
    };
    room.stage.rest().await;
    assert_eq!(counts(), [1; 8]);

    room.remote_set(milk, "title", "Oat milk");
    room.stage.settle().await;
    assert_eq!(counts(), [2, 1, 1, 1, 2, 1, 1, 1]);
    room.stage.other.transact(|tx| tx.table("tasks").add(milk, "votes", 2)).expect("known");
    room.stage.settle().await;
    assert_eq!(counts(), [2, 1, 2, 1, 3, 1, 1, 1]);
    let notes_id = leptos_sync::ContainerId::cell("tasks", milk, "notes");
    room.stage.other.transact(|tx| tx.text(&notes_id).insert(0, "!")).expect("in range");
    room.stage.settle().await;
    assert_eq!(counts(), [2, 1, 2, 2, 4, 1, 1, 1]);
    room.remote_insert(&task("Bread"));
    room.stage.settle().await;
    assert_eq!(counts(), [2, 1, 2, 2, 4, 1, 1, 2]);
    room.stage.other.transact(|tx| tx.table("tasks").remove(milk)).expect("known");
    room.stage.settle().await;
    assert_eq!(list.get(), 3);
    assert_eq!(exists.get(), 2);
    assert_eq!(other_title.get(), 1, "nothing of this touched the other row");
}

#[wasm_bindgen_test]
async fn fields_are_signals_that_are_read_and_written() {
    let room = Room::new().await;
    let row = room.tasks().insert(task("Milk")).expect("there is a document");
    row.title().set("Oat milk".to_owned());
    row.title().update(|title| title.push('!'));
    row.votes().add(3);
    row.votes().add(-1);
    row.priority().set(Priority::High);
    row.due().set(Some(20_261_122));
    row.notes().insert(0, "two cartons").expect("in range");
    let expected = Task {
        title: "Oat milk!".into(),
        votes: 2,
        notes: "two cartons".into(),
        priority: Priority::High,
        due: Some(20_261_122),
        ..task("")
    };
    assert_eq!(row.get_untracked(), Some(expected));
    assert_eq!(row.title().with_untracked(String::len), 9);
    room.stage.settle().await;
    let there = room.stage.other.read(|doc| doc.table("tasks").get(row.id(), "due-date"));
    assert_eq!(there, Some(20_261_122i64.into()));

    let pending = room.stage.own.status().pending;
    row.title().set("Oat milk!".to_owned());
    assert_eq!(room.stage.own.status().pending, pending, "the same value is no change");
}

#[wasm_bindgen_test]
async fn a_row_of_an_older_version_reads_the_default() {
    let room = Room::new().await;
    let old = room.stage.other.transact(|tx| {
        let done = leptos_sync::Value::from(false);
        tx.table("tasks").insert([("title", "Old".into()), ("done", done)])
    });
    let foreign = room.stage.other.transact(|tx| tx.table("tasks").insert([("title", 7)]));
    room.stage.settle().await;
    let row = room.tasks().row(old);
    assert_eq!(row.priority().get_untracked(), Priority::High);
    assert_eq!(row.get_untracked().map(|task| task.due), Some(None));
    let foreign = room.tasks().row(foreign);
    assert_eq!(foreign.get_untracked(), None);
    assert_eq!(foreign.title().get_untracked(), "");
    let live = room.owner.with(|| room.tasks().query().watch());
    assert_eq!(live.rows().len(), 1, "what is no task is no answer");
}

#[wasm_bindgen_test]
async fn several_edits_in_a_transaction_are_one_change_and_one_undo() {
    let room = Room::new().await;
    let (doc, tasks) = (room.doc(), room.tasks());
    let first = tasks.insert(task("first")).expect("there is a document");
    let events = Rc::new(RefCell::new(Vec::new()));
    let heard = events.clone();
    room.owner.with(|| {
        doc.on_change(move |event| heard.borrow_mut().push((event.origin, event.patches.len())));
    });
    let second = doc.transact(|tx| {
        let second = tx.insert_into(tasks, &task("second")).expect("there is a document");
        tx.set(first.title(), &"1st".to_owned());
        tx.add(first.votes(), 5);
        assert_eq!(tx.get(first.title()), "1st");
        // A signal that is written inside joins the change.
        first.done().set(true);
        assert!(tasks.insert(task("third")).is_none(), "its row is not known yet");
        doc.text("log").insert(0, "added").expect("noted");
        second
    });
    let second = second.expect("the transaction ran");
    assert_eq!(*events.borrow(), [(Origin::Local, 6)]);
    assert_eq!(tasks.len(), 3);
    assert_eq!(tasks.rows()[..2], [first, second]);
    assert_eq!(doc.text("log").get_untracked(), "added");
    assert!(first.done().get_untracked());
    assert!(doc.can_undo() && !doc.can_redo());
    doc.undo();
    assert_eq!(first.get_untracked(), Some(task("first")));
    assert!(!second.exists());
    assert!(doc.can_redo());
    doc.redo();
    assert_eq!(first.votes().get_untracked(), 5);

    room.remote_insert(&task("fourth"));
    room.stage.settle().await;
    assert_eq!(events.borrow().last().map(|event| event.0), Some(Origin::OtherTab));
}

#[wasm_bindgen_test]
async fn a_live_query_tells_only_what_comes_goes_or_moves() {
    let room = Room::new().await;
    let tasks = room.tasks();
    let evaluated = Rc::new(Cell::new(0));
    for title in ["b", "d", "f"] {
        tasks.insert(task(title));
    }
    let counter = evaluated.clone();
    let live = room.owner.with(|| {
        let filter = move |task: &Task| {
            counter.set(counter.get() + 1);
            !task.done
        };
        tasks.query().filter(filter).sort_by_key(|task| task.title.clone()).watch()
    });
    let titles = move || {
        let title = |row: &Row<Task>| row.title().get_untracked();
        live.rows().iter().map(title).collect::<Vec<_>>().concat()
    };
    let runs = room.count(move || drop(live.rows()));
    room.stage.rest().await;
    let check = async |expected: &str, expected_runs: u32| {
        room.stage.settle().await;
        assert_eq!((untrack(titles).as_str(), runs.get()), (expected, expected_runs));
    };
    check("bdf", 1).await;
    evaluated.set(0);
    let d = live.rows()[1].id();
    room.remote_set(d, "title", "c");
    check("bcf", 1).await;
    room.remote_set(d, "title", "z");
    check("bfz", 2).await;
    assert_eq!(evaluated.get(), 2, "only the changed row was looked at");
    room.remote_set(d, "done", true);
    check("bf", 3).await;
    room.remote_insert(&task("a"));
    check("abf", 4).await;
    room.stage.other.transact(|tx| {
        tx.table("tasks").remove(live.rows()[0].id()).expect("known");
        tx.table("tasks").set(d, "done", false).expect("known");
    });
    check("bfz", 5).await;
    assert_eq!(live.len(), 3);
}

#[wasm_bindgen_test]
async fn the_view_binds_renders_and_follows() {
    let room = Room::new().await;
    let row = room.tasks().insert(task("Milk")).expect("there is a document");
    let id = row.id();
    let root = room.stage.mount(move || {
        let tasks = use_doc("board").collection::<Task>("tasks");
        let open = tasks.query().sort_by_key(|task| task.title.clone()).watch();
        view! {
            <For each=move || open.rows() key=|row| row.id() let:row>
                <input type="checkbox" bind:checked=row.done()/>
                <input type="text" bind:value=row.title() title=row.title()/>
                <button on:click=move |_| row.votes().add(1)>{row.votes()}</button>
            </For>
        }
    });
    room.stage.rest().await;
    let find = |selector: &str| -> HtmlElement {
        root.query_selector(selector).expect("valid").expect("found").unchecked_into()
    };
    let input: HtmlInputElement = find("input[type=text]").unchecked_into();
    let check: HtmlInputElement = find("input[type=checkbox]").unchecked_into();
    assert_eq!((input.value().as_str(), check.checked()), ("Milk", false));
    assert_eq!(find("button").text_content().as_deref(), Some("0"));

    input.set_value("Oat milk");
    input.dispatch_event(&Event::new("input").expect("supported")).expect("dispatched");
    check.click();
    find("button").click();
    room.stage.settle().await;
    let there = room
        .stage
        .other
        .read(|doc| leptos_sync_engine::read_record::<Task>(doc, "tasks", id).expect("a task"));
    assert_eq!((there.title.as_str(), there.done, there.votes), ("Oat milk", true, 1));
    assert_eq!(find("button").text_content().as_deref(), Some("1"));
    assert_eq!(input.get_attribute("title").as_deref(), Some("Oat milk"));

    room.remote_set(id, "done", false);
    room.remote_set(id, "title", "Milk");
    room.stage.settle().await;
    assert_eq!((input.value().as_str(), check.checked()), ("Milk", false));
    row.remove();
    room.stage.rest().await;
    assert!(root.query_selector("input").expect("valid").is_none());
}

#[wasm_bindgen_test]
async fn presence_is_typed_and_ends() {
    let room = Room::new().await;
    let presence = room.doc().presence::<Priority>();
    let runs = room.count(move || drop(presence.others()));
    room.stage.rest().await;
    let second = room.stage.second();
    second.mount(|| {
        let sync = use_sync();
        let presence = use_doc("board").presence::<Priority>();
        presence.set(&Priority::High);
        sync.set_user("Bea", "#123456");
    });
    let others = move || presence.others();
    room.stage.until(|| others().iter().any(|peer| peer.name == "Bea")).await;
    let peers = others();
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].colour.as_str(), peers[0].state), ("#123456", Some(Priority::High)));
    room.stage.rest().await;
    assert!(runs.get() > 1);
    drop(second);
    room.stage.until(|| others().is_empty()).await;
}

#[wasm_bindgen_test]
async fn a_transaction_over_two_documents_changes_both_or_none() {
    let room = Room::new().await;
    let (board, archive) = room.owner.with(|| (use_doc("board"), use_doc("archive")));
    let (tasks, done) = (board.collection::<Task>("tasks"), archive.collection::<Task>("tasks"));
    let row = tasks.insert(task("Milk")).expect("there is a document");
    let seen = Rc::new(RefCell::new(Vec::new()));
    for doc in [board, archive] {
        let seen = seen.clone();
        let listener = move |_: &ChangeEvent| seen.borrow_mut().push((tasks.len(), done.len()));
        room.owner.with(|| doc.on_change(listener));
    }
    let moved = transact_all([board, archive], |[board, archive]| {
        let task = board.read(row).ok_or("it is gone")?;
        board.remove(row);
        archive.insert_into(done, &task);
        Ok::<(), &str>(())
    });
    assert_eq!(moved, Ok(()));
    assert_eq!(*seen.borrow(), [(0, 1), (0, 1)], "both had changed when the first was told");

    let refused = transact_all([archive, board], |[archive, _]| {
        archive.insert_into(done, &task("Eggs"));
        tasks.insert(task("Eggs"));
        Err::<(), _>("no")
    });
    assert_eq!(refused, Err(TransactError::Refused("no")));
    let deferred = transact_all([board, archive], |_| {
        tasks.insert(task("Eggs"));
        done.insert(task("Eggs"));
        Ok::<(), ()>(())
    });
    assert_eq!((deferred, tasks.len(), done.len()), (Ok(()), 1, 2));
    board.undo();
    assert_eq!((tasks.len(), done.len()), (0, 2), "each document undoes its own part");

    let nothing = |docs| transact_all(docs, |_| Ok::<(), ()>(()));
    assert_eq!(nothing([board, board]), Err(TransactError::Twice(1)));
    let none = room.owner.with(|| use_doc("bad\nid"));
    assert_eq!(nothing([board, none]), Err(TransactError::NotOpen(1)));
    let within = archive.transact(|_| nothing([board, archive]));
    assert_eq!(within, Some(Err(TransactError::InUse(1))));
}

#[wasm_bindgen_test]
async fn an_id_that_is_none_opens_a_document_that_says_so() {
    let room = Room::new().await;
    let (doc, refused) = room.owner.with(|| (use_doc("bad\nid"), try_use_doc("").is_err()));
    assert!(refused && doc.error().is_some() && doc.id().is_none());
    assert!(doc.collection::<Task>("tasks").insert(task("Milk")).is_none());
    doc.undo();
    assert!(doc.text("t").get_untracked().is_empty());
}

#[wasm_bindgen_test]
async fn handles_of_a_gone_component_do_nothing() {
    let room = Room::new().await;
    let inner = room.owner.with(Owner::new);
    let engine = room.stage.engine.clone();
    let (doc, row) = inner.with(|| {
        provide_engine(engine, User::default());
        let doc = use_doc("board");
        let row = doc.collection::<Task>("tasks").insert(task("Milk"));
        (doc, row.expect("there is a document"))
    });
    inner.cleanup();
    let title: Field<String> = row.title();
    assert!(title.is_disposed() && title.try_get_untracked().is_none());
    title.set("late".to_owned());
    row.remove();
    doc.undo();
    let kept = room.tasks().row(row.id());
    assert_eq!(kept.title().get_untracked(), "Milk");
}
