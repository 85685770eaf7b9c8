//! Messages between the tabs of one browser: the trait, and a bus that plays it in one thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use bytes::Bytes;

/// One tab's end of a channel that all tabs of an origin share. Dropping it leaves the channel.
pub trait TabLink: 'static {
    /// Sends `message` to every other tab. Best effort: nobody confirms.
    ///
    /// # Errors
    /// [`PostError`] if the message did not leave this tab.
    fn post(&self, message: &[u8]) -> Result<(), PostError>;

    /// Calls `callback` with each message of another tab from now on, in place of any earlier
    /// callback. It is never called from within [`TabLink::post`].
    fn on_message(&self, callback: impl FnMut(Bytes) + 'static);
}

/// Why a message did not leave the tab. Others did not see it; storage is where they will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message to other tabs was not sent: {detail}")]
pub struct PostError {
    /// What is known of the cause.
    pub detail: String,
}

/// A tab that is alone: posts go nowhere and nothing arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTabs;

impl TabLink for NoTabs {
    fn post(&self, _message: &[u8]) -> Result<(), PostError> {
        Ok(())
    }

    fn on_message(&self, _callback: impl FnMut(Bytes) + 'static) {}
}

type Callback = Box<dyn FnMut(Bytes)>;

/// A channel between tabs that are played within one thread. Clones are the same channel.
///
/// Messages wait until [`TabBus::deliver`] is called or [`TabBus::run`] is polled, so a test
/// chooses when they arrive.
#[derive(Clone, Default)]
pub struct TabBus {
    state: Rc<RefCell<BusState>>,
}

#[derive(Default)]
struct BusState {
    ports: Vec<Weak<PortState>>,
    queue: VecDeque<(Weak<PortState>, Bytes)>,
    waker: Option<Waker>,
}

struct PortState {
    callback: RefCell<Option<Callback>>,
}

/// One tab's end of a [`TabBus`].
pub struct TabPort {
    bus: TabBus,
    port: Rc<PortState>,
}

impl TabBus {
    /// A channel without tabs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tab.
    #[must_use]
    pub fn join(&self) -> TabPort {
        let port = Rc::new(PortState { callback: RefCell::new(None) });
        self.state.borrow_mut().ports.push(Rc::downgrade(&port));
        TabPort { bus: self.clone(), port }
    }

    /// Delivers what is waiting, and what that causes to be posted; returns how many messages.
    pub fn deliver(&self) -> usize {
        let mut delivered = 0;
        while let Some((port, message)) = self.next() {
            let Some(port) = port.upgrade() else { continue };
            // The callback is out of its cell while it runs, so it may replace itself.
            let Some(mut callback) = port.callback.borrow_mut().take() else { continue };
            callback(message);
            delivered += 1;
            port.callback.borrow_mut().get_or_insert(callback);
        }
        delivered
    }

    /// Delivers messages as they come, for ever.
    pub async fn run(&self) {
        loop {
            self.deliver();
            poll_fn(|context| {
                let mut state = self.state.borrow_mut();
                if state.queue.is_empty() {
                    state.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        }
    }

    fn next(&self) -> Option<(Weak<PortState>, Bytes)> {
        self.state.borrow_mut().queue.pop_front()
    }
}

impl TabLink for TabPort {
    fn post(&self, message: &[u8]) -> Result<(), PostError> {
        let message = Bytes::copy_from_slice(message);
        let mut state = self.bus.state.borrow_mut();
        let BusState { ports, queue, waker } = &mut *state;
        ports.retain(|port| port.strong_count() > 0);
        for port in ports.iter().filter(|port| !std::ptr::eq(port.as_ptr(), &raw const *self.port))
        {
            queue.push_back((port.clone(), message.clone()));
        }
        if let Some(waker) = waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn on_message(&self, callback: impl FnMut(Bytes) + 'static) {
        *self.port.callback.borrow_mut() = Some(Box::new(callback));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(port: &TabPort) -> Rc<RefCell<Vec<Bytes>>> {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let into = seen.clone();
        port.on_message(move |message| into.borrow_mut().push(message));
        seen
    }

    #[test]
    fn every_other_tab_hears_a_post_and_the_sender_does_not() {
        let bus = TabBus::new();
        let tabs = [bus.join(), bus.join(), bus.join()];
        let heard: Vec<_> = tabs.iter().map(log).collect();
        tabs[1].post(b"hi").unwrap();
        assert!(heard.iter().all(|seen| seen.borrow().is_empty()), "never from within post");
        assert_eq!(bus.deliver(), 2);
        let counts: Vec<usize> = heard.iter().map(|seen| seen.borrow().len()).collect();
        assert_eq!(counts, [1, 0, 1]);
    }

    #[test]
    fn a_callback_may_post_and_replace_itself() {
        let bus = TabBus::new();
        let (asking, answering) = (bus.join(), Rc::new(bus.join()));
        let answers = log(&asking);
        let tab = Rc::downgrade(&answering);
        answering.on_message(move |_| {
            let tab = tab.upgrade().expect("alive while it is called");
            tab.post(b"first").unwrap();
            let again = Rc::downgrade(&tab);
            tab.on_message(move |_| {
                again.upgrade().expect("alive").post(b"then").unwrap();
            });
        });
        asking.post(b"?").unwrap();
        asking.post(b"?").unwrap();
        assert_eq!(bus.deliver(), 4);
        assert_eq!(*answers.borrow(), ["first", "then"]);
    }

    #[test]
    fn a_tab_that_left_hears_nothing() {
        let bus = TabBus::new();
        let (here, gone) = (bus.join(), bus.join());
        let heard = log(&gone);
        here.post(b"hi").unwrap();
        drop(gone);
        assert_eq!(bus.deliver(), 0);
        assert!(heard.borrow().is_empty());
    }
}
