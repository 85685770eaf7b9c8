//! The browser's side of the engine: clocks and tasks, Web Locks, and page events.

mod env;
mod hooks;
mod lease;
mod start;

pub use env::WebEnv;
pub use hooks::{PageHooks, hook_page};
pub use lease::WebLeases;
pub use start::start_in_page;
