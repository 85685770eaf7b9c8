//! The tasks of one process: frozen and thawed as a page is, and ended all at once as a kill does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::task::AbortHandle;

/// Locks; a panic elsewhere is reported as itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tasks of one process. Clones are the same process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    killed: bool,
    waiting: Vec<Waker>,
    handles: Vec<AbortHandle>,
}

impl Tasks {
    /// Runs a task of this process on the thread's `LocalSet`.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if lock(&self.state).killed {
            return;
        }
        let gate = Gate { state: self.state.clone(), future: Box::pin(future) };
        let handle = tokio::task::spawn_local(gate).abort_handle();
        let mut state = lock(&self.state);
        if state.handles.len() >= 64 {
            state.handles.retain(|handle| !handle.is_finished());
        }
        state.handles.push(handle);
    }

    /// While frozen, no task of the process runs; time goes on. Returns whether that is new.
    pub(crate) fn freeze(&self, frozen: bool) -> bool {
        let mut state = lock(&self.state);
        if !frozen {
            state.waiting.drain(..).for_each(Waker::wake);
        }
        std::mem::replace(&mut state.frozen, frozen) != frozen
    }

    pub(crate) fn is_frozen(&self) -> bool {
        lock(&self.state).frozen
    }

    /// Ends every task where it stands; none runs again.
    pub(crate) fn kill(&self) {
        let mut state = lock(&self.state);
        state.killed = true;
        state.handles.drain(..).for_each(|handle| handle.abort());
    }

    pub(crate) fn is_killed(&self) -> bool {
        lock(&self.state).killed
    }
}

/// A task that is polled only while its process runs.
struct Gate {
    state: Arc<Mutex<State>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for Gate {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = lock(&self.state);
            if state.killed {
                return Poll::Ready(());
            }
            if state.frozen {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.future.as_mut().poll(context)
    }
}
