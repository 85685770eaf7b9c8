//! The engine's surroundings: clocks, randomness, timers and a place to run futures.
//!
//! The engine itself is the same code in a browser and natively; what differs is behind [`Env`].

use futures::future::LocalBoxFuture;

/// What the engine needs from the platform. One thread; nothing here is `Send`.
pub trait Env: 'static {
    /// Milliseconds since the Unix epoch by the device's clock, which may be wrong or jump.
    fn wall_ms(&self) -> u64;

    /// Milliseconds since some fixed start; never goes back.
    fn now_ms(&self) -> u64;

    /// A number nobody can predict or repeat.
    fn random_u64(&self) -> u64;

    /// Resolves after `ms` milliseconds.
    fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()>;

    /// Runs a future to its end on this thread.
    fn spawn_local(&self, future: LocalBoxFuture<'static, ()>);

    /// Asks the platform, once, not to evict what is stored. Called on the first local write.
    fn keep_storage(&self) {}
}

#[cfg(not(target_family = "wasm"))]
pub use native::NativeEnv;

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use futures::FutureExt;
    use futures::future::LocalBoxFuture;

    use super::Env;

    /// [`Env`] for programs: tokio's timer, and tasks on the `LocalSet` that is running.
    #[derive(Clone, Debug)]
    pub struct NativeEnv {
        start: Instant,
    }

    impl NativeEnv {
        /// Counts `now_ms` from here.
        #[must_use]
        pub fn new() -> Self {
            Self { start: Instant::now() }
        }
    }

    impl Default for NativeEnv {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Env for NativeEnv {
        fn wall_ms(&self) -> u64 {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }

        fn now_ms(&self) -> u64 {
            u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
        }

        fn random_u64(&self) -> u64 {
            getrandom::u64().expect("the operating system provides randomness")
        }

        fn sleep(&self, ms: u64) -> LocalBoxFuture<'static, ()> {
            tokio::time::sleep(Duration::from_millis(ms)).boxed_local()
        }

        fn spawn_local(&self, future: LocalBoxFuture<'static, ()>) {
            tokio::task::spawn_local(future);
        }
    }

    #[cfg(test)]
    mod tests {
        use std::cell::Cell;
        use std::rc::Rc;

        use super::*;

        #[test]
        fn the_wall_clock_is_the_systems() {
            let wall_ms = || u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
            let before = wall_ms();
            let told = NativeEnv::new().wall_ms();
            assert!((before..=wall_ms()).contains(&told), "{told}");
        }

        #[test]
        fn random_numbers_are_not_repeated() {
            let env = NativeEnv::default();
            assert_ne!(env.random_u64(), env.random_u64());
        }

        #[tokio::test]
        async fn spawned_futures_run_and_sleep_for_as_long_as_they_said() {
            let (env, woken_at) = (NativeEnv::new(), Rc::new(Cell::new(None)));
            let (sleeper, woken) = (env.clone(), woken_at.clone());
            let sleep = async move {
                sleeper.sleep(20).await;
                woken.set(Some(sleeper.now_ms()));
            };
            let tasks = tokio::task::LocalSet::new();
            tasks.run_until(async move { env.spawn_local(sleep.boxed_local()) }).await;
            assert_eq!(woken_at.get(), None);
            tasks.await;
            assert!(woken_at.get().is_some_and(|ms| ms >= 20), "{woken_at:?}");
        }
    }
}
