//! `CollaborativeTextarea` in a real browser: two people in one text.
#![cfg(all(target_family = "wasm", not(feature = "ssr")))]

mod support;

use leptos::prelude::*;
use leptos_sync::prelude::*;
use support::Stage;
use wasm_bindgen::JsCast;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{
    CompositionEvent, Event, HtmlDocument, HtmlElement, HtmlTextAreaElement, InputEvent,
    InputEventInit, KeyboardEvent, KeyboardEventInit,
};

wasm_bindgen_test_configure!(run_in_browser);

/// A textarea over the text `t`, in focus, with the text another person wrote.
struct Desk {
    stage: Stage,
    root: HtmlElement,
    area: HtmlTextAreaElement,
}

impl Desk {
    async fn with(text: &str) -> Self {
        let stage = Stage::new().await;
        if !text.is_empty() {
            stage.other.transact(|tx| tx.text("t").insert(0, text)).expect("in range");
            stage.settle().await;
        }
        let root = stage.mount(|| {
            let doc = use_doc("board");
            view! {
                <CollaborativeTextarea
                    text=doc.text("t")
                    aria_label="Text"
                    attr:data-testid="editor"
                    attr:style="width:300px;height:100px;padding:4px;font:16px/20px monospace"
                />
            }
        });
        stage.rest().await;
        let area = root.query_selector("[data-testid=editor]").expect("valid").expect("found");
        let area: HtmlTextAreaElement = area.dyn_into().expect("spread onto the textarea");
        area.focus().expect("focus");
        Self { stage, root, area }
    }

    /// The value with the selection marked: `a|b` or `a[b]c`.
    fn shown(&self) -> String {
        let mut units: Vec<u16> = self.area.value().encode_utf16().collect();
        let (start, end) = self.selection();
        if start == end {
            units.insert(start, u16::from(b'|'));
        } else {
            units.insert(end, u16::from(b']'));
            units.insert(start, u16::from(b'['));
        }
        String::from_utf16(&units).expect("no half characters")
    }

    fn selection(&self) -> (usize, usize) {
        let place = |found: Option<u32>| found.expect("a textarea has a selection") as usize;
        (
            place(self.area.selection_start().expect("supported")),
            place(self.area.selection_end().expect("supported")),
        )
    }

    fn select(&self, start: u32, end: u32) {
        self.area.set_selection_range(start, end).expect("a valid range");
    }

    fn text(&self) -> String {
        self.stage.own.read(|doc| doc.text("t").to_string())
    }

    /// What the browser does for a key: real `beforeinput` and `input` events.
    fn command(&self, command: &str, argument: &str) {
        let page: HtmlDocument = document().dyn_into().expect("a page");
        let done = page.exec_command_with_show_ui_and_value(command, false, argument);
        assert!(done.expect("supported"), "the browser does not {command}");
    }

    fn type_text(&self, text: &str) {
        self.command("insertText", text);
    }

    /// What an input method does: changes the value under way.
    fn compose(&self, at: u32, deleted: u32, text: &str) {
        let (start, end) = (at, at + deleted);
        self.area.set_range_text_with_start_and_end(text, start, end).expect("a valid range");
        let caret = at + u32::try_from(text.encode_utf16().count()).expect("short");
        self.select(caret, caret);
        let init = InputEventInit::new();
        init.set_input_type("insertCompositionText");
        init.set_is_composing(true);
        let event = InputEvent::new_with_event_init_dict("input", &init).expect("supported");
        self.area.dispatch_event(&event).expect("dispatched");
    }

    fn composition(&self, what: &str) {
        let event: Event = CompositionEvent::new(what).expect("supported").into();
        self.area.dispatch_event(&event).expect("dispatched");
    }

    fn key(&self, key: &str, shift: bool) -> bool {
        let init = KeyboardEventInit::new();
        init.set_key(key);
        init.set_ctrl_key(true);
        init.set_shift_key(shift);
        init.set_cancelable(true);
        init.set_bubbles(true);
        let event = KeyboardEvent::new_with_keyboard_event_init_dict("keydown", &init);
        !self.area.dispatch_event(&event.expect("supported")).expect("dispatched")
    }

    async fn other_edits(&self, at: usize, deleted: usize, text: &str) {
        self.stage
            .other
            .transact(|tx| tx.text("t").splice(at, deleted, text))
            .expect("the edit is in range");
        self.stage.settle().await;
    }
}

#[wasm_bindgen_test]
async fn what_is_typed_reaches_the_document_and_the_other() {
    let desk = Desk::with("").await;
    desk.type_text("hello");
    desk.type_text(" world");
    desk.command("delete", "");
    assert_eq!(desk.text(), "hello worl");
    desk.stage.settle().await;
    assert_eq!(desk.stage.other.read(|doc| doc.text("t").to_string()), "hello worl");
}

#[wasm_bindgen_test]
async fn the_caret_stays_in_its_text() {
    let desk = Desk::with("one two three").await;
    desk.select(7, 7);
    desk.other_edits(0, 0, "zero ").await;
    assert_eq!(desk.shown(), "zero one two| three");
    desk.other_edits(5, 4, "").await;
    assert_eq!(desk.shown(), "zero two| three");
    desk.other_edits(8, 6, " 3!").await;
    assert_eq!(desk.shown(), "zero two| 3!");
    desk.type_text("x");
    assert_eq!(desk.text(), "zero twox 3!");
    desk.select(5, 8);
    desk.other_edits(5, 0, "[").await;
    desk.other_edits(9, 0, "]").await;
    assert_eq!(desk.area.value(), "zero [two]x 3!");
    assert_eq!(desk.selection(), (6, 9));
}

#[wasm_bindgen_test]
async fn characters_outside_the_basic_plane_are_whole() {
    let desk = Desk::with("a😀b").await;
    desk.select(3, 3);
    desk.type_text("é😁");
    assert_eq!(desk.text(), "a😀é😁b");
    desk.command("delete", "");
    assert_eq!(desk.text(), "a😀éb");
    desk.other_edits(1, 1, "😎😎").await;
    assert_eq!(desk.shown(), "a😎😎é|b");
    desk.select(1, 3);
    desk.type_text("x");
    assert_eq!(desk.text(), "ax😎éb");
}

#[wasm_bindgen_test]
async fn a_composition_is_not_disturbed_and_nothing_is_lost() {
    let desk = Desk::with("one two").await;
    desk.select(3, 3);
    desk.composition("compositionstart");
    desk.compose(3, 0, "n");
    assert_eq!(desk.text(), "onen two");
    desk.other_edits(0, 0, "zero ").await;
    desk.other_edits(9, 4, " 2").await;
    assert_eq!(desk.text(), "zero onen 2");
    assert_eq!(desk.shown(), "onen| two", "the textarea is left alone");
    desk.compose(3, 1, "に");
    assert_eq!(desk.shown(), "oneに| two");
    desk.composition("compositionend");
    assert_eq!(desk.text(), "zero oneに 2");
    assert_eq!(desk.shown(), "zero oneに| 2");
    desk.type_text("!");
    assert_eq!(desk.text(), "zero oneに! 2");
}

#[wasm_bindgen_test]
async fn undo_takes_back_ones_own_typing_only() {
    let desk = Desk::with("theirs").await;
    desk.select(6, 6);
    desk.type_text(" ours");
    desk.other_edits(0, 0, "more ").await;
    desk.select(0, 0);
    assert!(desk.key("z", false), "the browser's own undo is prevented");
    assert_eq!(desk.text(), "more theirs");
    assert_eq!(desk.shown(), "more theirs|", "the caret goes where it happened");
    assert!(desk.key("Z", true));
    assert_eq!(desk.text(), "more theirs ours");
    assert!(desk.key("z", false) && desk.key("y", false));
    assert_eq!(desk.shown(), "more theirs ours|");
}

#[wasm_bindgen_test]
async fn a_text_with_carriage_returns_is_edited_in_place() {
    let desk = Desk::with("one\r\ntwo\r\n").await;
    assert_eq!(desk.area.value(), "one\ntwo\n");
    desk.select(7, 7);
    desk.type_text("!");
    assert_eq!(desk.text(), "one\r\ntwo!\r\n");
    desk.other_edits(0, 0, "\r\n").await;
    assert_eq!(desk.shown(), "\none\ntwo!|\n");
}

#[wasm_bindgen_test]
async fn edits_far_away_do_not_scroll() {
    let line = "some words in a line\n";
    let desk = Desk::with(&line.repeat(200)).await;
    desk.area.set_scroll_top(1000);
    desk.select(1100, 1100);
    let top = desk.area.scroll_top();
    assert!(top > 0);
    desk.other_edits(line.len() * 180, 0, "and more").await;
    assert_eq!(desk.area.scroll_top(), top);
    assert_eq!(desk.selection(), (1100, 1100));
}

/// Each of them patched into the textarea one by one made a long history take minutes to open.
#[wasm_bindgen_test]
async fn hundreds_of_edits_that_arrive_together_are_shown_and_leave_the_caret() {
    let desk = Desk::with("here: ").await;
    desk.select(4, 4);
    for at in 6..506 {
        desk.stage.other.transact(|tx| tx.text("t").insert(at, "x")).expect("in range");
    }
    desk.stage.settle().await;
    assert_eq!(desk.shown(), format!("here|: {}", "x".repeat(500)));
    assert_eq!(desk.text(), desk.area.value());
}

#[wasm_bindgen_test]
async fn the_carets_of_others_are_shown_with_their_names() {
    let desk = Desk::with("first line\nsecond line").await;
    let second = desk.stage.second();
    let theirs = second.mount(|| {
        let doc = use_doc("board");
        view! { <CollaborativeTextarea text=doc.text("t")/> }
    });
    desk.stage.rest().await;
    let area: HtmlTextAreaElement =
        theirs.query_selector("textarea").expect("valid").expect("found").unchecked_into();
    area.focus().expect("focus");
    area.set_selection_range(16, 16).expect("in range");
    let flag = || {
        let found = desk.root.query_selector("[data-testid=remote-caret]").expect("valid");
        found.map(JsCast::unchecked_into::<HtmlElement>)
    };
    desk.stage.until(|| flag().is_some()).await;
    let flag_now = flag().expect("waited for it");
    assert_eq!(flag_now.get_attribute("data-name").as_deref(), Some("Bob"));
    assert_eq!(flag_now.text_content().as_deref(), Some("Bob"));
    let (flag_box, area_box) =
        (flag_now.get_bounding_client_rect(), desk.area.get_bounding_client_rect());
    let down = flag_box.top() - area_box.top();
    assert!((20.0..40.0).contains(&down), "it is in the second line, not {down} px down");
    let before = flag_box.left();

    desk.other_edits(0, 10, "1").await;
    desk.other_edits(2, 0, "the ").await;
    desk.stage.until(|| flag().is_some_and(|f| f.get_bounding_client_rect().left() > before)).await;
    drop(second);
    desk.stage.until(|| flag().is_none()).await;
}

#[wasm_bindgen_test]
async fn a_keystroke_in_a_long_text_is_cheap() {
    let line = "The quick brown fox jumps over the lazy dog, again and again. 😀\n";
    let desk = Desk::with(&line.repeat(2_000)).await;
    assert!(desk.area.value().len() > 120_000);
    desk.select(60_000, 60_000);
    let mut times = Vec::new();
    for _ in 0..30 {
        let start = now_ms();
        desk.type_text("x");
        times.push(now_ms() - start);
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    wasm_bindgen_test::console_log!("keystroke in 120,000 characters: median {median:.2} ms");
    assert!(median < 50.0, "{times:?}");
    assert_eq!(desk.text(), desk.area.value());
}

fn now_ms() -> f64 {
    window().performance().expect("a clock").now()
}
