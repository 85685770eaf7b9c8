//! Two engines in one page that play two tabs, and a place to mount components.

use std::cell::RefCell;

use leptos::prelude::*;
use leptos_sync::{SyncEngine, User, provide_engine};
use leptos_sync_engine::{DocHandle, DocId, EngineConfig, Env, WebEnv};
use leptos_sync_storage::MemoryStorage;
use leptos_sync_transport::{MemoryTransport, TabBus};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

type Mounted = Vec<(HtmlElement, Box<dyn std::any::Any>)>;

/// A tab whose components are tested, and another one that edits the same document.
pub(crate) struct Stage {
    pub(crate) engine: SyncEngine,
    pub(crate) other: DocHandle,
    pub(crate) bus: TabBus,
    env: WebEnv,
    mounted: RefCell<Mounted>,
    // Keeps the document open while no component has it.
    pub(crate) own: DocHandle,
    second: SyncEngine,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let env = WebEnv::new().expect("tests run in a window");
        let bus = TabBus::new();
        let start = || {
            let tabs = bus.join();
            let config = EngineConfig::default();
            let transport = None::<MemoryTransport>;
            SyncEngine::start(config, MemoryStorage::new(), transport, tabs, env.clone())
        };
        let (engine, second) = (start(), start());
        let id = DocId::new("board").expect("a valid id");
        let (own, other) = (engine.open(&id), second.open(&id));
        let mounted = RefCell::default();
        let stage = Self { engine, other, bus, env, mounted, own, second };
        stage.until(|| stage.own.is_loaded() && stage.other.is_loaded()).await;
        stage
    }

    /// Shows a component on the page, with the engine provided.
    pub(crate) fn mount<V: IntoView + 'static>(
        &self,
        component: impl FnOnce() -> V + 'static,
    ) -> HtmlElement {
        let (root, handle) = mount(self.engine.clone(), "Ann", component);
        self.mounted.borrow_mut().push((root.clone(), handle));
        root
    }

    /// The other tab, to show components in.
    pub(crate) fn second(&self) -> Second {
        Second { engine: self.second.clone(), mounted: RefCell::default() }
    }

    /// Waits until something holds, while both tabs hear each other.
    pub(crate) async fn until(&self, mut done: impl FnMut() -> bool) {
        let start = self.env.now_ms();
        loop {
            self.bus.deliver();
            if done() {
                return;
            }
            assert!(self.env.now_ms() - start < 5_000, "waited in vain");
            self.env.sleep(4).await;
        }
    }

    /// Lets both tabs hear each other, and effects run.
    pub(crate) async fn settle(&self) {
        self.until(|| {
            self.own.read(|own| self.other.read(|other| own.version() == other.version()))
        })
        .await;
        self.rest().await;
    }

    /// Lets effects run.
    pub(crate) async fn rest(&self) {
        self.env.sleep(0).await;
        leptos::task::tick().await;
        self.env.sleep(0).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        unmount(&self.mounted);
    }
}

/// Components of the other tab; they go when this is dropped.
pub(crate) struct Second {
    engine: SyncEngine,
    mounted: RefCell<Mounted>,
}

impl Second {
    pub(crate) fn mount<V: IntoView + 'static>(
        &self,
        component: impl FnOnce() -> V + 'static,
    ) -> HtmlElement {
        let (root, handle) = mount(self.engine.clone(), "Bob", component);
        self.mounted.borrow_mut().push((root.clone(), handle));
        root
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        unmount(&self.mounted);
    }
}

fn mount<V: IntoView + 'static>(
    engine: SyncEngine,
    name: &str,
    component: impl FnOnce() -> V + 'static,
) -> (HtmlElement, Box<dyn std::any::Any>) {
    let page = document();
    let root: HtmlElement =
        page.create_element("div").expect("an element").dyn_into().expect("of HTML");
    page.body().expect("a page").append_child(&root).expect("a place for it");
    let user = User { name: name.to_owned(), colour: String::new() };
    let handle = leptos::mount::mount_to(root.clone(), move || {
        provide_engine(engine, user);
        component()
    });
    (root, Box::new(handle))
}

fn unmount(mounted: &RefCell<Mounted>) {
    for (root, handle) in mounted.borrow_mut().drain(..) {
        drop(handle);
        root.remove();
    }
}
