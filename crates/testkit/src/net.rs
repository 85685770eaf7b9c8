//! The network between devices and the server: frames in order within a connection, delays,
//! connections that break and ones that go silent, and a client end and a server end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use bytes::Bytes;
use futures::{Sink, Stream};
use leptos_sync_transport::{
    Closed, ConnectError, FrameReceiver, FrameSender, SendError, Transport,
};
use tokio::time::{Instant, Sleep};

use crate::mitm::{LatestMarks, Mitm};
use crate::planted::{Bug, is_planted};
use crate::rng::Rng;
use crate::tasks::lock;

/// As much as a socket holds before its writer has to wait.
pub(crate) const SOCKET_BYTES: usize = 128 << 10;

/// How many frames of clients are kept for somebody hostile to send again.
pub(crate) const OVERHEARD_MAX: usize = 32;

/// What travels.
#[derive(Clone, Debug)]
enum Packet {
    Frame(Bytes),
    Close { code: u16, reason: String },
    Reset,
}

/// One direction of a connection.
#[derive(Debug)]
struct Pipe {
    queue: VecDeque<(Instant, Packet)>,
    bytes: usize,
    last_due: Instant,
    closed: bool,
    /// What is sent from now on vanishes, and nobody is told.
    muted: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            last_due: Instant::now(),
            closed: false,
            muted: false,
            reader: None,
            writer: None,
        }
    }

    fn push(&mut self, packet: Packet, delay: Duration) {
        if self.closed || self.muted {
            return;
        }
        let due = self.last_due.max(Instant::now() + delay);
        self.last_due = due;
        match &packet {
            Packet::Frame(frame) => self.bytes += frame.len(),
            Packet::Close { .. } | Packet::Reset => self.closed = true,
        }
        self.queue.push_back((due, packet));
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    /// The connection breaks: of what is on its way, the first `kept` packets still arrive.
    fn reset(&mut self, kept: usize) {
        if self.muted {
            return;
        }
        let lost = self.queue.len().saturating_sub(kept);
        for (_, packet) in self.queue.drain(self.queue.len() - lost..) {
            if let Packet::Frame(frame) = packet {
                self.bytes -= frame.len();
            }
        }
        self.closed = false;
        self.push(Packet::Reset, Duration::ZERO);
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    fn poll_pop(&mut self, sleep: &mut Pin<Box<Sleep>>, context: &mut Context<'_>) -> Poll<Packet> {
        let Some((due, _)) = self.queue.front() else {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        if *due > Instant::now() {
            sleep.as_mut().reset(*due);
            if Future::poll(sleep.as_mut(), context).is_pending() {
                self.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let (_, packet) = self.queue.pop_front().expect("there is a front");
        match &packet {
            Packet::Frame(frame) => self.bytes -= frame.len(),
            // An end is read again and again.
            end => self.queue.push_front((Instant::now(), end.clone())),
        }
        if self.bytes < SOCKET_BYTES {
            self.writer.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(packet)
    }
}

/// One connection as the network sees it.
#[derive(Debug)]
pub(crate) struct Wire {
    up: Mutex<Pipe>,
    down: Mutex<Pipe>,
    number: u64,
    /// Where it comes from.
    pub(crate) device: usize,
    /// Which start of the server it leads to.
    pub(crate) server_life: u64,
    state: Mutex<WireState>,
}

#[derive(Debug)]
struct WireState {
    rng: Rng,
    delay_ms_max: u64,
    /// How many more frames pass before the connection breaks.
    breaks_after: Option<u64>,
    mitm: Mitm,
}

impl Wire {
    fn delay(&self) -> Duration {
        let mut state = lock(&self.state);
        let delay_ms_max = state.delay_ms_max;
        // Now and then a packet has to be sent again.
        let slow = if state.rng.one_in(20) { 10 } else { 1 };
        Duration::from_millis(state.rng.below(delay_ms_max + 1) * slow)
    }

    /// Whether the connection breaks with this frame.
    fn breaks(&self) -> bool {
        let mut state = lock(&self.state);
        match &mut state.breaks_after {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn send(&self, up: bool, frame: Bytes) {
        if self.breaks() {
            return self.cut();
        }
        let passed = lock(&self.state).mitm.pass(up, frame);
        for (up, frames) in [(up, passed.on), (!up, passed.back)] {
            for frame in frames {
                let delay = self.delay();
                let pipe = if up { &self.up } else { &self.down };
                lock(pipe).push(Packet::Frame(frame), delay);
            }
        }
    }

    /// Breaks the connection; some of what is on its way is lost.
    pub(crate) fn cut(&self) {
        let mut rng = lock(&self.state).rng.split(1);
        for pipe in [&self.up, &self.down] {
            let mut pipe = lock(pipe);
            let kept = rng.index(pipe.queue.len() + 1);
            pipe.reset(kept);
        }
    }

    /// From now on nothing arrives at either end, not even that the other one is gone. Returns
    /// whether that is new.
    pub(crate) fn mute(&self) -> bool {
        lock(&self.up).muted = true;
        !std::mem::replace(&mut lock(&self.down).muted, true)
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.up).closed && lock(&self.down).closed
    }

    /// What the client has written and the server has not read, and the other way round: bytes.
    pub(crate) fn buffered(&self) -> [usize; 2] {
        [&self.up, &self.down].map(|pipe| lock(pipe).bytes)
    }
}

/// What a dial finds: whoever takes the server's end.
pub(crate) type Acceptor = Box<dyn Fn(ServerSocket) -> bool>;

/// How the network treats a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weather {
    pub(crate) delay_ms_max: u64,
    /// A new connection breaks after fewer than this many frames.
    pub(crate) breaks_within: Option<u64>,
    pub(crate) partitioned: bool,
}

impl Default for Weather {
    fn default() -> Self {
        Self { delay_ms_max: 5, breaks_within: None, partitioned: false }
    }
}

/// The network.
pub(crate) struct Net {
    rng: std::cell::RefCell<Rng>,
    acceptor: std::cell::RefCell<Option<Acceptor>>,
    pub(crate) server_life: std::cell::Cell<u64>,
    weather: std::cell::RefCell<Vec<Weather>>,
    wires: std::cell::RefCell<Vec<Arc<Wire>>>,
    overheard: std::cell::RefCell<VecDeque<(u64, Bytes)>>,
    pub(crate) connections: std::cell::Cell<u64>,
    latest_marks: LatestMarks,
}

impl Net {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            rng: std::cell::RefCell::new(rng),
            acceptor: std::cell::RefCell::default(),
            server_life: std::cell::Cell::new(0),
            weather: std::cell::RefCell::default(),
            wires: std::cell::RefCell::default(),
            overheard: std::cell::RefCell::default(),
            connections: std::cell::Cell::new(0),
            latest_marks: LatestMarks::default(),
        }
    }

    /// A server listens, or nobody does.
    pub(crate) fn listen(&self, acceptor: Option<Acceptor>) {
        self.server_life.set(self.server_life.get() + 1);
        *self.acceptor.borrow_mut() = acceptor;
    }

    pub(crate) fn add_device(&self) {
        self.weather.borrow_mut().push(Weather::default());
    }

    /// Returns whether the change was one.
    pub(crate) fn set_weather(&self, device: usize, change: impl FnOnce(&mut Weather)) -> bool {
        let mut weather = self.weather.borrow_mut();
        let weather = weather.get_mut(device).expect("a device of this network");
        let before = *weather;
        change(weather);
        *weather != before
    }

    /// Every connection of these devices that is not over.
    pub(crate) fn wires(&self, of: impl Fn(usize) -> bool) -> Vec<Arc<Wire>> {
        let mut wires = self.wires.borrow_mut();
        wires.retain(|wire| !wire.is_over());
        wires.iter().filter(|wire| of(wire.device)).cloned().collect()
    }

    /// What one client said on one connection, if it was heard.
    pub(crate) fn overheard(&self, choice: usize) -> Vec<Bytes> {
        let overheard = self.overheard.borrow();
        let of = overheard.get(choice % overheard.len().max(1)).map(|(number, _)| *number);
        let theirs = overheard.iter().filter(|(number, _)| Some(*number) == of);
        theirs.map(|(_, frame)| frame.clone()).collect()
    }

    fn overhear(&self, wire: &Wire, frame: &Bytes) {
        let mut overheard = self.overheard.borrow_mut();
        overheard.push_back((wire.number, frame.clone()));
        if overheard.len() > OVERHEARD_MAX {
            overheard.pop_front();
        }
    }

    /// Opens a connection from `device`, if the server can be reached.
    pub(crate) fn dial(&self, device: usize) -> Option<Arc<Wire>> {
        let weather = self.weather.borrow().get(device).copied().unwrap_or_default();
        let acceptor = self.acceptor.borrow();
        let acceptor = acceptor.as_ref().filter(|_| !weather.partitioned)?;
        let number = self.connections.get();
        self.connections.set(number + 1);
        let mut rng = self.rng.borrow().split(number);
        let breaks_after = weather.breaks_within.map(|within| rng.below(within));
        let state = WireState {
            rng,
            delay_ms_max: weather.delay_ms_max,
            breaks_after,
            mitm: Mitm::new(self.latest_marks.clone()),
        };
        let wire = Arc::new(Wire {
            up: Mutex::new(Pipe::new()),
            down: Mutex::new(Pipe::new()),
            number,
            device,
            server_life: self.server_life.get(),
            state: Mutex::new(state),
        });
        if !acceptor(ServerSocket { wire: wire.clone(), sleep: new_sleep(), ended: false }) {
            return None;
        }
        self.wires.borrow_mut().push(wire.clone());
        Some(wire)
    }

    pub(crate) fn dial_ms(&self) -> u64 {
        self.rng.borrow_mut().below(20)
    }
}

fn new_sleep() -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(Instant::now()))
}

/// Dials as one tab of a device.
#[derive(Clone)]
pub(crate) struct SimTransport {
    pub(crate) net: std::rc::Rc<Net>,
    pub(crate) device: usize,
    /// The tab's newest connection.
    pub(crate) newest: std::rc::Rc<std::cell::RefCell<Option<Arc<Wire>>>>,
}

impl Transport for SimTransport {
    type Sender = WireSender;
    type Receiver = WireReceiver;

    async fn connect(&self) -> Result<(WireSender, WireReceiver), ConnectError> {
        tokio::time::sleep(Duration::from_millis(self.net.dial_ms())).await;
        let Some(wire) = self.net.dial(self.device) else {
            return Err(ConnectError::Unreachable { detail: "nobody answers".to_owned() });
        };
        *self.newest.borrow_mut() = Some(wire.clone());
        let sender = WireSender { wire: wire.clone(), net: self.net.clone() };
        Ok((sender, WireReceiver { wire, sleep: new_sleep() }))
    }
}

/// The client's sending end.
pub(crate) struct WireSender {
    wire: Arc<Wire>,
    net: std::rc::Rc<Net>,
}

impl FrameSender for WireSender {
    fn send(&self, frame: Bytes) -> Result<(), SendError> {
        if lock(&self.wire.up).closed {
            return Err(SendError::Closed);
        }
        self.net.overhear(&self.wire, &frame);
        self.wire.send(true, frame);
        Ok(())
    }

    fn buffered_bytes(&self) -> usize {
        lock(&self.wire.up).bytes
    }

    fn close(&self, code: u16, reason: &str) {
        let delay = self.wire.delay();
        let packet = Packet::Close { code, reason: reason.to_owned() };
        lock(&self.wire.up).push(packet.clone(), delay);
        lock(&self.wire.down).push(packet, Duration::ZERO);
    }
}

impl Drop for WireSender {
    fn drop(&mut self) {
        self.close(Closed::ABNORMAL, "dropped");
    }
}

/// The client's receiving end.
pub(crate) struct WireReceiver {
    wire: Arc<Wire>,
    sleep: Pin<Box<Sleep>>,
}

impl FrameReceiver for WireReceiver {
    async fn recv(&mut self) -> Result<Bytes, Closed> {
        let Self { wire, sleep } = self;
        match std::future::poll_fn(|cx| lock(&wire.down).poll_pop(sleep, cx)).await {
            Packet::Frame(frame) => Ok(frame),
            Packet::Close { code, reason } => Err(Closed { code, reason }),
            Packet::Reset => Err(Closed::lost("connection reset")),
        }
    }
}

/// The server's end, as axum's WebSocket would be.
pub(crate) struct ServerSocket {
    pub(crate) wire: Arc<Wire>,
    sleep: Pin<Box<Sleep>>,
    ended: bool,
}

impl Stream for ServerSocket {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { wire, sleep, ended } = &mut *self;
        if *ended {
            return Poll::Ready(None);
        }
        let packet = ready!(lock(&wire.up).poll_pop(sleep, cx));
        *ended = !matches!(packet, Packet::Frame(_));
        Poll::Ready(match packet {
            Packet::Frame(frame) => Some(Ok(Message::Binary(frame))),
            Packet::Close { code, reason } => {
                Some(Ok(Message::Close(Some(CloseFrame { code, reason: reason.into() }))))
            }
            Packet::Reset => None,
        })
    }
}

impl Sink<Message> for ServerSocket {
    type Error = axum::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        let mut down = lock(&self.wire.down);
        if down.closed {
            return Poll::Ready(Err(axum::Error::new("connection reset")));
        }
        if down.bytes >= SOCKET_BYTES && !is_planted(Bug::IgnoresLag) {
            down.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        match message {
            Message::Binary(frame) => self.wire.send(false, frame),
            Message::Close(frame) => {
                let (code, reason) =
                    frame.map_or((1005, String::new()), |f| (f.code, f.reason.to_string()));
                let delay = self.wire.delay();
                lock(&self.wire.down).push(Packet::Close { code, reason }, delay);
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerSocket {
    fn drop(&mut self) {
        let delay = self.wire.delay();
        lock(&self.wire.down).push(Packet::Reset, delay);
        lock(&self.wire.up).closed = true;
    }
}
