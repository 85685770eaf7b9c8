//! [`Env`] in a browser tab.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::Env;

/// Clocks, randomness and timers of a window; tasks on the browser's microtask queue.
#[derive(Clone, Debug)]
pub struct WebEnv {
    window: web_sys::Window,
    crypto: web_sys::Crypto,
    performance: web_sys::Performance,
}

impl WebEnv {
    /// The surroundings of this tab; `None` outside a window.
    #[must_use]
    pub fn new() -> Option<Self> {
        let window = web_sys::window()?;
        let crypto = window.crypto().ok()?;
        let performance = window.performance()?;
        Some(Self { window, crypto, performance })
    }
}

impl Env for WebEnv {
    fn wall_ms(&self) -> u64 {
        js_sys::Date::now() as u64
    }

    fn now_ms(&self) -> u64 {
        self.performance.now() as u64
    }

    fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.crypto
            .get_random_values_with_u8_array(&mut bytes)
            .expect("the browser provides randomness");
        u64::from_le_bytes(bytes)
    }

    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
        // Browsers keep timeouts in a signed 32-bit integer and fire larger ones at once.
        let ms = u32::try_from(ms).unwrap_or(u32::MAX).min(i32::MAX as u32);
        TimeoutFuture::new(ms).boxed_local()
    }

    fn spawn_local(&self, future: LocalBoxFuture<'static, ()>) {
        spawn_local(future);
    }

    fn keep_storage(&self) {
        // Absent in an insecure context, where the getter is undefined.
        let navigator = self.window.navigator();
        let present = js_sys::Reflect::get(&navigator, &"storage".into())
            .is_ok_and(|storage| storage.is_object());
        if !present {
            return;
        }
        if let Ok(promise) = navigator.storage().persist() {
            // The answer changes nothing for the engine: refused means "may be evicted".
            spawn_local(async move {
                let granted = JsFuture::from(promise).await.is_ok_and(|answer| answer.is_truthy());
                tracing::debug!(granted, "asked the browser to keep what is stored");
            });
        }
    }
}
