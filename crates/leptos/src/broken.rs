//! What a page shows after a panic: that it stopped, what is safe, and how to go on.

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Document, Element, Event, EventInit, HtmlElement, Window};

/// What an application can listen to, and prevent, to show a notice of its own.
const EVENT: &str = "leptos-sync:broken";

const TEXT: &str = "This page broke and has stopped. Everything that was saved on this device is \
                    safe and will be here when the page is loaded again.";

const STYLE: &str = "position: fixed; inset: auto 0 0 0; z-index: 2147483647; padding: 1rem; \
                     display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; \
                     justify-content: center; background: #7f1d1d; color: #fff; \
                     font: 1rem/1.4 system-ui, sans-serif";

/// Says so on the page, unless the application does.
pub(crate) fn show(panic: &str) {
    web_sys::console::error_1(&panic.into());
    let Some(window) = web_sys::window() else { return };
    let Some(document) = window.document() else { return };
    let init = EventInit::new();
    init.set_cancelable(true);
    let event = Event::new_with_event_init_dict(EVENT, &init);
    let is_ours = event.and_then(|event| window.dispatch_event(&event)).unwrap_or(true);
    stop_badges(&document);
    if is_ours {
        // Without a body there is nothing to stand in, and the console has been told.
        let _ = put_notice(&window, &document);
    }
}

/// No badge may go on saying that all is saved.
fn stop_badges(document: &Document) {
    let badges = document.get_elements_by_class_name("sync-status");
    for badge in (0..badges.length()).filter_map(|at| badges.item(at)) {
        let _ = badge.set_attribute("data-state", "broken");
        badge.set_text_content(Some("Stopped"));
    }
}

/// Lays a notice over the page, which takes no more input.
fn put_notice(window: &Window, document: &Document) -> Option<()> {
    let body = document.body()?;
    let others = body.children();
    for other in (0..others.length()).filter_map(|at| others.item(at)) {
        other.set_attribute("inert", "").ok()?;
    }
    let notice = element(document, "div", "sync-broken")?;
    notice.set_attribute("role", "alert").ok()?;
    notice.style().set_css_text(STYLE);
    let text = element(document, "span", "sync-broken-text")?;
    text.set_text_content(Some(TEXT));
    let button = element(document, "button", "sync-broken-reload")?;
    button.set_text_content(Some("Load it again"));
    let location = window.location();
    let reload = Closure::once_into_js(move || location.reload());
    button.add_event_listener_with_callback("click", reload.unchecked_ref()).ok()?;
    notice.append_child(&text).ok()?;
    notice.append_child(&button).ok()?;
    body.append_child(&notice).ok()?;
    button.focus().ok()
}

/// An element that goes by `name` in style sheets and in tests.
fn element(document: &Document, tag: &str, name: &str) -> Option<HtmlElement> {
    let element: Element = document.create_element(tag).ok()?;
    element.set_class_name(name);
    element.set_attribute("data-testid", name).ok()?;
    element.dyn_into().ok()
}
