//! Known bugs in the product's own code, to see whether the simulator finds them.
//!
//! The places where they sit ask `planted!(Name)`. Unless the compiler is told `--cfg planted`,
//! which only `cargo xtask sim` does, that is `false`, and nothing of it is left in the program.
//! Which bugs there are is listed in `crates/testkit/src/planted.rs`.

#[cfg(planted)]
thread_local! {
    static CURRENT: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Switches a bug on in this thread, by name, or the one that is on off.
#[cfg(planted)]
pub fn plant_in_product(name: Option<&'static str>) {
    CURRENT.set(name);
}

/// Whether the bug of this name is switched on in this thread.
#[cfg(planted)]
#[must_use]
pub fn is_planted_in_product(name: &str) -> bool {
    CURRENT.get() == Some(name)
}

/// Whether a known bug is switched on in this thread: never, in what is not built to test tests.
#[cfg(planted)]
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($name:ident) => {
        $crate::is_planted_in_product(stringify!($name))
    };
}

/// Whether a known bug is switched on in this thread: never, in what is not built to test tests.
#[cfg(not(planted))]
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($name:ident) => {
        false
    };
}
