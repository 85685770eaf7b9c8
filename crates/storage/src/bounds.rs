//! `Send` and `Sync` where threads exist, nothing where they do not.
//!
//! Browser objects may not leave their thread, native servers need futures that may. Keyed on the
//! target, not on a feature, because features of one build are the union of everybody's wishes.

#[cfg(not(target_family = "wasm"))]
mod on_target {
    /// `Send`, except in WebAssembly.
    pub trait MaybeSend: Send {}
    impl<T: Send + ?Sized> MaybeSend for T {}

    /// `Sync`, except in WebAssembly.
    pub trait MaybeSync: Sync {}
    impl<T: Sync + ?Sized> MaybeSync for T {}
}

#[cfg(target_family = "wasm")]
mod on_target {
    /// `Send`, except in WebAssembly.
    pub trait MaybeSend {}
    impl<T: ?Sized> MaybeSend for T {}

    /// `Sync`, except in WebAssembly.
    pub trait MaybeSync {}
    impl<T: ?Sized> MaybeSync for T {}
}

pub use on_target::{MaybeSend, MaybeSync};
