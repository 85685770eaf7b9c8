//! How many steps were taken here by this thread, so that tests can tell how that grows.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

pub(super) fn count_step() {
    #[cfg(test)]
    set(steps() + 1);
}

#[cfg(test)]
pub(super) fn steps() -> u64 {
    STEPS.get()
}

#[cfg(test)]
pub(super) fn set(steps: u64) {
    STEPS.set(steps);
}
