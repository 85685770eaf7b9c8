//! The browser's side of the engine: clocks and tasks, Web Locks, and page events.

mod env;
mod hooks;
mod late;
mod lease;
mod page;

pub use env::WebEnv;
pub use hooks::{PageHooks, hook_page};
pub use lease::WebLeases;
pub use page::start_in_page;
