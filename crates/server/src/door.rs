//! The front door: accepts sockets and answers HTTP on them, and keeps whoever only holds it open
//! from keeping others out.
//!
//! Guarantees: a socket is counted from its acceptance to its end, WebSocket or not, and by the
//! address that it comes from; no header is believed about that. A WebSocket's place is not free
//! before all is answered that was asked through it. A request's head must arrive whole
//! within [`DoorLimits::head_timeout`] and be no larger than [`DoorLimits::head_bytes_max`].

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;
use tower::util::MapRequest;

use crate::room::lock;

/// What somebody is told who may not come in. It is sent unasked, and read with luck.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// How long to wait when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What [`SyncServer::accept`](crate::SyncServer::accept) lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// How many sockets may be open at once.
    pub connections_max: usize,
    /// How many of them may come from one address (of IPv6, from one /64), if that is limited.
    /// Behind a reverse proxy all come from the proxy's.
    pub connections_per_address_max: Option<usize>,
    /// How long the head of a request may take to arrive, and a socket to begin one.
    pub head_timeout: Duration,
    /// How large the head of a request may be, in bytes; at least 8 KiB.
    pub head_bytes_max: usize,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: Some(512),
            head_timeout: Duration::from_secs(10),
            head_bytes_max: 16 << 10,
        }
    }
}

/// Accepts until `stopped`, then waits for the requests under way.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    limits: DoorLimits,
    stopped: impl Future<Output = ()>,
) {
    let counts = Arc::new(Counts { limits, open: Mutex::default() });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes_max.max(8 << 10));
    let stopping = watch::Sender::new(false);
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = counts.enter(address.ip()) else {
            tracing::debug!(%address, "too many connections");
            // Who does not hear it sees the connection end.
            let _ = stream.try_write(FULL);
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off Nagle's algorithm");
        }
        let place = Arc::new(place);
        let stream = TokioIo::new(Counted { stream, _place: place.clone() });
        let service = TowerToHyperService::new(router.clone().map_request(
            move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(place.clone());
                request
            },
        ));
        let connection = http.serve_connection(stream, service).with_upgrades();
        tokio::spawn(answer(connection, stopping.subscribe()));
    }
    drop(listener);
    stopping.send_replace(true);
    stopping.closed().await;
}

/// Answers one connection's requests until it ends, becomes a WebSocket, or is to stop.
async fn answer<F: FnMut(Request<Incoming>) -> Request<Incoming> + Clone>(
    connection: http1::UpgradeableConnection<
        TokioIo<Counted>,
        TowerToHyperService<MapRequest<Router, F>>,
    >,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// The open sockets, by where they come from.
struct Counts {
    limits: DoorLimits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Counts {
    /// A place for one more socket, if there is one.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let origin = origin(address);
        let mut open = lock(&self.open);
        let there = open.by_address.get(&origin).copied().unwrap_or(0);
        let is_full = open.all >= self.limits.connections_max
            || self.limits.connections_per_address_max.is_some_and(|max| there >= max);
        if is_full {
            return None;
        }
        open.all += 1;
        open.by_address.insert(origin, there + 1);
        Some(Place { counts: self.clone(), origin })
    }
}

/// One counted socket, until it is dropped. Each request bears it.
pub(crate) struct Place {
    counts: Arc<Counts>,
    origin: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.counts.open);
        open.all -= 1;
        if let Some(there) = open.by_address.get_mut(&self.origin) {
            *there -= 1;
            if *there == 0 {
                open.by_address.remove(&self.origin);
            }
        }
    }
}

/// Whom an address belongs to: a household or a host has a whole /64 of IPv6.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// A socket that keeps its place until it is closed.
struct Counted {
    stream: TcpStream,
    _place: Arc<Place>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: usize, each: Option<usize>) -> Arc<Counts> {
        let limits = DoorLimits {
            connections_max: all,
            connections_per_address_max: each,
            ..DoorLimits::default()
        };
        Arc::new(Counts { limits, open: Mutex::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let counts = counts(3, Some(2));
        let first = counts.enter(ip("192.0.2.1")).unwrap();
        let _second = counts.enter(ip("192.0.2.1")).unwrap();
        assert!(counts.enter(ip("192.0.2.1")).is_none());
        let _other = counts.enter(ip("192.0.2.2")).unwrap();
        assert!(counts.enter(ip("192.0.2.3")).is_none(), "all places are taken");
        drop(first);
        assert!(counts.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let counts = counts(9, Some(1));
        let _first = counts.enter(ip("2001:db8::1")).unwrap();
        assert!(counts.enter(ip("2001:db8::ffff:1")).is_none());
        assert!(counts.enter(ip("2001:db8:0:1::1")).is_some());
        let _mapped = counts.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert!(counts.enter(ip("192.0.2.1")).is_none());
    }

    #[test]
    fn who_left_is_forgotten() {
        let counts = counts(9, None);
        drop(counts.enter(ip("192.0.2.1")).unwrap());
        assert!(lock(&counts.open).by_address.is_empty());
    }
}
