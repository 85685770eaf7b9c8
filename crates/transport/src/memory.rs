//! Two ends of a connection in one process, for tests of what stands on a transport.
//!
//! The acceptor plays the server, and the network: it can be unreachable, and it can stop carrying
//! frames without closing, as a half-open socket does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;

use crate::transport::{Closed, ConnectError, FrameReceiver, FrameSender, SendError, Transport};

/// A transport and the end where its connections arrive.
#[must_use]
pub fn pair() -> (MemoryTransport, MemoryAcceptor) {
    let (arrivals_in, arrivals) = mpsc::unbounded();
    let network = Arc::new(Network::default());
    let transport = MemoryTransport { arrivals: arrivals_in, network: network.clone() };
    (transport, MemoryAcceptor { arrivals, network })
}

#[derive(Debug, Default)]
struct Network {
    unreachable: AtomicBool,
    muted: AtomicBool,
    wires: Mutex<Vec<Wire>>,
}

/// Both directions of one connection, as the network holds them.
#[derive(Debug)]
struct Wire {
    ends: [Arc<End>; 2],
}

/// Where one end's frames arrive.
#[derive(Debug)]
struct End {
    queue: mpsc::UnboundedSender<Event>,
    queued_bytes: AtomicUsize,
    closed: AtomicBool,
}

#[derive(Debug)]
enum Event {
    Frame(Bytes),
    Closed(Closed),
}

impl End {
    fn close(&self, closed: Closed) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            // If the receiver is gone, nobody is left to tell.
            let _ = self.queue.unbounded_send(Event::Closed(closed));
        }
    }
}

/// Dials the [`MemoryAcceptor`] it was made with. Clones dial the same one.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    arrivals: mpsc::UnboundedSender<(MemorySender, MemoryReceiver)>,
    network: Arc<Network>,
}

/// Where the connections of a [`MemoryTransport`] arrive, and the network between them.
#[derive(Debug)]
pub struct MemoryAcceptor {
    arrivals: mpsc::UnboundedReceiver<(MemorySender, MemoryReceiver)>,
    network: Arc<Network>,
}

/// The sending half of an in-memory connection.
#[derive(Debug)]
pub struct MemorySender {
    own: Arc<End>,
    other: Arc<End>,
    network: Arc<Network>,
}

/// The receiving half of an in-memory connection.
#[derive(Debug)]
pub struct MemoryReceiver {
    queue: mpsc::UnboundedReceiver<Event>,
    end: Arc<End>,
    closed: Option<Closed>,
}

impl MemoryAcceptor {
    /// Waits for the next connection; `None` when every transport is gone.
    pub async fn accept(&mut self) -> Option<(MemorySender, MemoryReceiver)> {
        self.arrivals.next().await
    }

    /// While unreachable, dialing fails and what was open is lost.
    pub fn set_reachable(&self, reachable: bool) {
        self.network.unreachable.store(!reachable, Ordering::Release);
        if !reachable {
            self.cut();
        }
    }

    /// While muted, frames vanish and nobody is told: a half-open socket.
    pub fn set_muted(&self, muted: bool) {
        self.network.muted.store(muted, Ordering::Release);
    }

    /// Loses every open connection, without a closing handshake.
    pub fn cut(&self) {
        for wire in self.network.wires().drain(..) {
            for end in wire.ends {
                end.close(Closed::lost("connection cut"));
            }
        }
    }
}

impl Network {
    fn wires(&self) -> std::sync::MutexGuard<'_, Vec<Wire>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for MemoryTransport {
    type Sender = MemorySender;
    type Receiver = MemoryReceiver;

    async fn connect(&self) -> Result<(MemorySender, MemoryReceiver), ConnectError> {
        let unreachable = |detail: &str| ConnectError::Unreachable { detail: detail.to_owned() };
        if self.network.unreachable.load(Ordering::Acquire) {
            return Err(unreachable("network is down"));
        }
        let (near, near_queue) = end();
        let (far, far_queue) = end();
        let sender = |own: &Arc<End>, other: &Arc<End>| MemorySender {
            own: own.clone(),
            other: other.clone(),
            network: self.network.clone(),
        };
        let receiver =
            |queue, end: &Arc<End>| MemoryReceiver { queue, end: end.clone(), closed: None };
        let arrival = (sender(&far, &near), receiver(far_queue, &far));
        self.arrivals.unbounded_send(arrival).map_err(|_| unreachable("nobody listens"))?;
        let mut wires = self.network.wires();
        wires.retain(|wire| wire.ends.iter().any(|end| !end.closed.load(Ordering::Acquire)));
        wires.push(Wire { ends: [near.clone(), far.clone()] });
        Ok((sender(&near, &far), receiver(near_queue, &near)))
    }
}

fn end() -> (Arc<End>, mpsc::UnboundedReceiver<Event>) {
    let (queue, events) = mpsc::unbounded();
    let end = End { queue, queued_bytes: AtomicUsize::new(0), closed: AtomicBool::new(false) };
    (Arc::new(end), events)
}

impl FrameSender for MemorySender {
    fn send(&self, frame: Bytes) -> Result<(), SendError> {
        if self.own.closed.load(Ordering::Acquire) || self.other.closed.load(Ordering::Acquire) {
            return Err(SendError::Closed);
        }
        if self.network.muted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.other.queued_bytes.fetch_add(frame.len(), Ordering::AcqRel);
        self.other.queue.unbounded_send(Event::Frame(frame)).map_err(|_| SendError::Closed)
    }

    fn buffered_bytes(&self) -> usize {
        self.other.queued_bytes.load(Ordering::Acquire)
    }

    fn close(&self, code: u16, reason: &str) {
        let closed = Closed { code, reason: reason.to_owned() };
        if !self.network.muted.load(Ordering::Acquire) {
            self.other.close(closed.clone());
        }
        self.own.close(closed);
    }
}

impl Drop for MemorySender {
    fn drop(&mut self) {
        self.close(Closed::ABNORMAL, "dropped");
    }
}

impl FrameReceiver for MemoryReceiver {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        let closed = match self.queue.next().await {
            Some(Event::Frame(frame)) => {
                self.end.queued_bytes.fetch_sub(frame.len(), Ordering::AcqRel);
                return Ok(frame);
            }
            Some(Event::Closed(closed)) => closed,
            None => Closed::lost("dropped"),
        };
        Err(self.closed.insert(closed).clone())
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn open() -> (MemoryAcceptor, [(MemorySender, MemoryReceiver); 2]) {
        let (transport, mut acceptor) = pair();
        block_on(async {
            let near = transport.connect().await.expect("reachable");
            let far = acceptor.accept().await.expect("one is waiting");
            (acceptor, [near, far])
        })
    }

    #[test]
    fn frames_arrive_in_order_and_are_counted_until_then() {
        let (_network, [(near, _near_in), (_far, mut far_in)]) = open();
        near.send(Bytes::from_static(b"one")).unwrap();
        near.send(Bytes::from_static(b"three")).unwrap();
        assert_eq!(near.buffered_bytes(), 8);
        assert_eq!(block_on(far_in.recv()).unwrap(), "one");
        assert_eq!(block_on(far_in.recv()).unwrap(), "three");
        assert_eq!(near.buffered_bytes(), 0);
    }

    #[test]
    fn a_close_comes_after_what_was_sent_and_stays() {
        let (_network, [(near, mut near_in), (far, mut far_in)]) = open();
        near.send(Bytes::from_static(b"last words")).unwrap();
        near.close(4001, "done");
        assert_eq!(block_on(far_in.recv()).unwrap(), "last words");
        let closed = Closed { code: 4001, reason: "done".to_owned() };
        assert_eq!(block_on(far_in.recv()), Err(closed.clone()));
        assert_eq!(block_on(far_in.recv()), Err(closed.clone()));
        assert_eq!(block_on(near_in.recv()), Err(closed));
        assert_eq!(far.send(Bytes::new()), Err(SendError::Closed));
    }

    #[test]
    fn dropping_the_sender_closes_both_ends() {
        let (_network, [(near, mut near_in), (_far, mut far_in)]) = open();
        drop(near);
        assert_eq!(block_on(far_in.recv()).unwrap_err().code, Closed::ABNORMAL);
        assert_eq!(block_on(near_in.recv()).unwrap_err().code, Closed::ABNORMAL);
    }

    #[test]
    fn an_unreachable_network_loses_what_is_open_and_refuses_more() {
        let (transport, mut acceptor) = pair();
        let (near, mut near_in) = block_on(transport.connect()).unwrap();
        acceptor.set_reachable(false);
        assert_eq!(block_on(near_in.recv()).unwrap_err().code, Closed::ABNORMAL);
        assert_eq!(near.send(Bytes::new()), Err(SendError::Closed));
        assert!(matches!(block_on(transport.connect()), Err(ConnectError::Unreachable { .. })));
        acceptor.set_reachable(true);
        assert!(block_on(transport.connect()).is_ok());
        assert!(block_on(acceptor.accept()).is_some());
    }

    #[test]
    fn a_muted_network_swallows_frames_in_silence() {
        let (network, [(near, _near_in), (_far, mut far_in)]) = open();
        network.set_muted(true);
        near.send(Bytes::from_static(b"lost")).unwrap();
        network.set_muted(false);
        near.send(Bytes::from_static(b"heard")).unwrap();
        assert_eq!(block_on(far_in.recv()).unwrap(), "heard");
    }
}
