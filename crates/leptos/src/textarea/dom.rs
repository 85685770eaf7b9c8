//! The textarea element: its value and selection in UTF-16 units, and its events.

use std::ops::Range;

use js_sys::{JsString, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{EventTarget, HtmlTextAreaElement};

use super::edit::Moment;

/// A textarea. Its value is read as rarely and in as small pieces as possible.
pub(super) struct Area {
    pub(super) element: HtmlTextAreaElement,
}

impl Area {
    // The value as the browser's own string: nothing is copied into our memory yet.
    fn value_js(&self) -> JsString {
        let value = Reflect::get(&self.element, &JsValue::from_str("value"));
        value.ok().and_then(|value| value.dyn_into().ok()).unwrap_or_else(|| JsString::from(""))
    }

    /// The whole value. A lone surrogate reads as U+FFFD.
    pub(super) fn value(&self) -> String {
        self.value_js().into()
    }

    /// A piece of the value.
    pub(super) fn slice(&self, range: Range<usize>) -> String {
        self.value_js().substring(units(range.start), units(range.end)).into()
    }

    /// Length and selection now.
    pub(super) fn moment(&self) -> Moment {
        let place = |found: Result<Option<u32>, JsValue>| {
            found.ok().flatten().map_or(0, |units| units as usize)
        };
        Moment {
            len16: self.element.text_length() as usize,
            start16: place(self.element.selection_start()),
            end16: place(self.element.selection_end()),
        }
    }

    /// Whether the selection was made backwards, so that the caret is at its start.
    pub(super) fn is_backward(&self) -> bool {
        self.element
            .selection_direction()
            .is_ok_and(|direction| direction.as_deref() == Some("backward"))
    }

    /// Replaces a piece of the value; the browser keeps the selection as well as it can.
    pub(super) fn replace(&self, at16: usize, deleted16: usize, inserted: &str) {
        let (start, end) = (units(at16), units(at16 + deleted16));
        // It fails only for a start behind the end.
        let _ = self.element.set_range_text_with_start_and_end(inserted, start, end);
    }

    pub(super) fn select(&self, start16: usize, end16: usize, backward: bool) {
        let direction = if backward { "backward" } else { "none" };
        let (start, end) = (units(start16), units(end16));
        let _ = self.element.set_selection_range_with_direction(start, end, direction);
    }

    /// Whether typing goes here. In some browsers to select in another element is to focus it.
    pub(super) fn is_focused(&self) -> bool {
        let active = self.element.owner_document().and_then(|page| page.active_element());
        active.is_some_and(|active| active == *self.element.unchecked_ref::<web_sys::Element>())
    }
}

fn units(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// An event listener that is removed when this is dropped.
pub(super) struct Listener {
    target: EventTarget,
    name: &'static str,
    callback: Closure<dyn FnMut(web_sys::Event)>,
}

impl Listener {
    pub(super) fn new(
        target: &EventTarget,
        name: &'static str,
        callback: impl FnMut(web_sys::Event) + 'static,
    ) -> Self {
        let callback = Closure::<dyn FnMut(web_sys::Event)>::new(callback);
        // It fails only for a callback that is no function.
        let _ = target.add_event_listener_with_callback(name, callback.as_ref().unchecked_ref());
        Self { target: target.clone(), name, callback }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let callback = self.callback.as_ref().unchecked_ref();
        let _ = self.target.remove_event_listener_with_callback(self.name, callback);
    }
}
