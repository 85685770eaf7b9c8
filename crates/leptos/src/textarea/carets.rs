//! The carets of others, drawn over a textarea.
//!
//! A textarea does not say where on the screen a character is. A *mirror*, an invisible copy with
//! one element per line, does; it exists only while somebody else's caret is in this text, and an
//! edit touches only the lines it changes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use litemap::LiteMap;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Document, HtmlElement, HtmlTextAreaElement, ResizeObserver};

use super::mirror::Mirror;
use super::session::Session;
use crate::presence::{Caret, Peer};

/// About one frame: edits that come together are drawn together.
const DRAW_MS: u32 = 16;

pub(super) struct Carets {
    area: HtmlTextAreaElement,
    overlay: HtmlElement,
    page: Document,
    peers: RefCell<Vec<(Peer<()>, Caret)>>,
    mirror: RefCell<Option<Mirror>>,
    /// What moves with the text when the textarea is scrolled.
    layer: RefCell<Option<HtmlElement>>,
    flags: RefCell<LiteMap<u64, HtmlElement>>,
    timer: RefCell<Option<Timeout>>,
    width: Cell<i32>,
}

impl Carets {
    pub(super) fn new(area: &HtmlTextAreaElement, overlay: HtmlElement) -> Option<Self> {
        Some(Self {
            area: area.clone(),
            overlay,
            page: area.owner_document()?,
            peers: RefCell::default(),
            mirror: RefCell::default(),
            layer: RefCell::default(),
            flags: RefCell::default(),
            timer: RefCell::default(),
            width: Cell::new(0),
        })
    }

    /// Takes the others who are in the document; those in this text are drawn.
    pub(super) fn set_peers(&self, session: &Rc<Session>, peers: Vec<Peer<()>>) {
        let here = peers.into_iter().filter_map(|mut peer| {
            let caret = peer.caret.take().filter(|caret| caret.text == session.id)?;
            Some((peer, caret))
        });
        let here: Vec<_> = here.collect();
        if *self.peers.borrow() != here {
            *self.peers.borrow_mut() = here;
            self.schedule(session);
        }
    }

    /// The textarea's value was edited.
    pub(super) fn spliced(&self, at16: usize, deleted16: usize, inserted: &str) {
        let mut mirror = self.mirror.borrow_mut();
        let done = mirror
            .as_mut()
            .is_none_or(|mirror| mirror.splice(&self.page, at16, deleted16, inserted).is_some());
        if !done {
            *mirror = None;
        }
    }

    /// Draws again whenever the textarea has another size; until the result is dropped.
    pub(super) fn follow_size(&self, session: &Rc<Session>) -> Option<Resizing> {
        let session = Rc::downgrade(session);
        let callback = Closure::<dyn FnMut()>::new(move || {
            if let Some(session) = session.upgrade() {
                session.carets.schedule(&session);
            }
        });
        let observer = ResizeObserver::new(callback.as_ref().unchecked_ref()).ok()?;
        observer.observe(&self.area);
        Some(Resizing { observer, _callback: callback })
    }

    /// The textarea was scrolled.
    pub(super) fn scrolled(&self) {
        if let Some(layer) = &*self.layer.borrow() {
            let area: &web_sys::Element = &self.area;
            let (x, y) = (-area.scroll_left(), -area.scroll_top());
            set(layer, "transform", &format!("translate({x}px,{y}px)"));
        }
    }

    /// Draws again soon, if there is anything to draw.
    pub(super) fn schedule(&self, session: &Rc<Session>) {
        let idle = self.peers.borrow().is_empty() && self.flags.borrow().is_empty();
        if idle || self.timer.borrow().is_some() {
            return;
        }
        let session = Rc::downgrade(session);
        *self.timer.borrow_mut() = Some(Timeout::new(DRAW_MS, move || {
            if let Some(session) = session.upgrade() {
                session.carets.timer.borrow_mut().take();
                session.carets.draw(&session);
            }
        }));
    }

    fn draw(&self, session: &Session) {
        if self.peers.borrow().is_empty() {
            self.clear();
            return;
        }
        // Without a page to draw on there is nothing to see either.
        let _ = self.try_draw(session);
    }

    fn clear(&self) {
        self.flags.borrow_mut().clear();
        self.mirror.borrow_mut().take();
        self.layer.borrow_mut().take();
        self.overlay.set_inner_html("");
    }

    fn try_draw(&self, session: &Session) -> Option<()> {
        self.place_overlay();
        let mut mirror = self.mirror.borrow_mut();
        if mirror.as_ref().is_none_or(|mirror| mirror.len16() != session.area.moment().len16) {
            if let Some(old) = mirror.take() {
                old.root().remove();
            }
            let new = Mirror::new(&self.page, &self.area, &session.area.value())?;
            self.overlay.append_child(new.root()).ok()?;
            *mirror = Some(new);
        }
        let mirror = mirror.as_ref()?;
        let layer = self.layer()?;
        let mut flags = self.flags.borrow_mut();
        let mut old = std::mem::take(&mut *flags);
        for (peer, caret) in &*self.peers.borrow() {
            let place = session.place16(caret).and_then(|at16| mirror.place(&self.page, at16));
            let Some(place) = place else {
                // Keeps what is drawn while an input method composes.
                if let Some(flag) = old.remove(&peer.session) {
                    flags.insert(peer.session, flag);
                }
                continue;
            };
            let flag = match old.remove(&peer.session) {
                Some(flag) => flag,
                None => {
                    let flag = self.new_flag()?;
                    layer.append_child(&flag).ok()?;
                    flag
                }
            };
            dress(&flag, peer, place.top < place.height);
            set(&flag, "left", &format!("{}px", place.left));
            set(&flag, "top", &format!("{}px", place.top));
            set(&flag, "height", &format!("{}px", place.height));
            flags.insert(peer.session, flag);
        }
        for (_, flag) in old {
            flag.remove();
        }
        drop(flags);
        self.scrolled();
        Some(())
    }

    /// Puts the overlay exactly over what the textarea shows of its text.
    fn place_overlay(&self) {
        let area: &web_sys::Element = &self.area;
        let left = self.area.offset_left() + area.client_left();
        let top = self.area.offset_top() + area.client_top();
        let (width, height) = (area.client_width(), area.client_height());
        set(&self.overlay, "position", "absolute");
        set(&self.overlay, "overflow", "hidden");
        set(&self.overlay, "pointer-events", "none");
        set(&self.overlay, "left", &format!("{left}px"));
        set(&self.overlay, "top", &format!("{top}px"));
        set(&self.overlay, "width", &format!("{width}px"));
        set(&self.overlay, "height", &format!("{height}px"));
        // Lines break elsewhere in another width.
        if self.width.replace(width) != width
            && let Some(old) = self.mirror.borrow_mut().take()
        {
            old.root().remove();
        }
    }

    fn layer(&self) -> Option<HtmlElement> {
        let mut layer = self.layer.borrow_mut();
        if layer.is_none() {
            let new = element(&self.page, "div")?;
            set(&new, "position", "absolute");
            set(&new, "inset", "0");
            self.overlay.append_child(&new).ok()?;
            *layer = Some(new);
        }
        layer.clone()
    }

    fn new_flag(&self) -> Option<HtmlElement> {
        let flag = element(&self.page, "div")?;
        flag.set_class_name("sync-caret");
        flag.set_attribute("data-testid", "remote-caret").ok()?;
        set(&flag, "position", "absolute");
        set(&flag, "width", "2px");
        set(&flag, "margin-left", "-1px");
        let name = element(&self.page, "span")?;
        name.set_class_name("sync-caret-name");
        for (property, value) in [
            ("position", "absolute"),
            ("left", "0"),
            ("padding", "0 4px"),
            ("border-radius", "3px"),
            ("font", "600 11px/1.4 system-ui, sans-serif"),
            ("white-space", "nowrap"),
            ("color", "#fff"),
        ] {
            set(&name, property, value);
        }
        flag.append_child(&name).ok()?;
        Some(flag)
    }
}

/// Ends the watch over the textarea's size when dropped.
pub(super) struct Resizing {
    observer: ResizeObserver,
    _callback: Closure<dyn FnMut()>,
}

impl Drop for Resizing {
    fn drop(&mut self) {
        self.observer.disconnect();
    }
}

/// Gives a flag its name and colour. In the first line the name hangs below the caret.
fn dress(flag: &HtmlElement, peer: &Peer<()>, below: bool) {
    let _ = flag.set_attribute("data-name", &peer.name);
    set(flag, "background", &peer.colour);
    let Some(name) = flag.first_element_child().and_then(|name| name.dyn_into().ok()) else {
        return;
    };
    let name: HtmlElement = name;
    if name.text_content().as_deref() != Some(&*peer.name) {
        name.set_text_content(Some(&peer.name));
    }
    set(&name, "background", &peer.colour);
    set(&name, "top", if below { "100%" } else { "auto" });
    set(&name, "bottom", if below { "auto" } else { "100%" });
}

pub(super) fn element(page: &Document, tag: &str) -> Option<HtmlElement> {
    page.create_element(tag).ok()?.dyn_into().ok()
}

pub(super) fn set(element: &HtmlElement, property: &str, value: &str) {
    // It fails only for a read-only declaration, which an element's own is not.
    let _ = element.style().set_property(property, value);
}
