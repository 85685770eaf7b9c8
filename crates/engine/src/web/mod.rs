//! The browser's side of the engine: clocks and tasks, page events, and panics.

mod env;
mod hooks;
mod late;
mod page;
mod poison;

pub use env::WebEnv;
pub use hooks::{PageHooks, hook_page};
pub use page::start_in_page;
pub(crate) use poison::refuse_if_poisoned;
pub use poison::stop_at_panic;
