//! The native WebSocket against servers on loopback, well-behaved and otherwise.
#![cfg(not(target_family = "wasm"))]

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use leptos_sync_transport::{
    Closed, ConnectError, FrameReceiver, FrameSender, SUBPROTOCOL, SendError, Transport,
    WebSocketReceiver, WebSocketSender, WebSocketTransport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Serves one TCP connection as the test says; returns how to dial it.
async fn listen<F, R>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (WebSocketTransport, JoinHandle<R>)
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("ws://{}/sync", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("one dials");
        serve(stream).await
    });
    (WebSocketTransport::new(url), serving)
}

/// Shakes hands as a sync server does, or as one that selects `protocol`.
async fn shake(stream: TcpStream, protocol: &'static str) -> WebSocketStream<TcpStream> {
    #[expect(clippy::result_large_err, reason = "the callback's type is given")]
    let select = move |request: &Request, mut response: Response| {
        let offered = request.headers().get("Sec-WebSocket-Protocol");
        assert_eq!(offered, Some(&HeaderValue::from_static(SUBPROTOCOL)));
        let selected = HeaderValue::from_static(protocol);
        response.headers_mut().insert("Sec-WebSocket-Protocol", selected);
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(stream, select).await.expect("a client's handshake")
}

/// Connects to a server that does as the test says once hands are shaken.
async fn connect<F, R>(
    serve: impl FnOnce(WebSocketStream<TcpStream>) -> F + Send + 'static,
) -> (WebSocketSender, WebSocketReceiver, JoinHandle<R>)
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let shaken = |stream| async move { serve(shake(stream, SUBPROTOCOL).await).await };
    let (transport, serving) = listen(shaken).await;
    let (sender, receiver) = transport.connect().await.expect("the server is there");
    (sender, receiver, serving)
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Option<CloseFrame> {
    loop {
        match socket.next().await?.ok()? {
            Message::Close(frame) => return frame,
            message @ Message::Binary(_) => socket.send(message).await.ok()?,
            _ => {}
        }
    }
}

#[tokio::test]
async fn frames_travel_both_ways_in_order() {
    let (sender, mut receiver, _server) = connect(echo).await;
    let frames: Vec<Bytes> = (0..100).map(|i| vec![i as u8; i * 2_000].into()).collect();
    for frame in &frames {
        sender.send(frame.clone()).unwrap();
    }
    for frame in &frames {
        assert_eq!(receiver.recv().await.as_ref(), Ok(frame));
    }
    assert_eq!(sender.buffered_bytes(), 0, "all left");
}

#[tokio::test]
async fn queued_frames_are_counted_and_leave_before_the_close() {
    let (sender, mut receiver, server) = connect(|mut socket| async move {
        let mut bytes = 0;
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(frame) => bytes += frame.len(),
                Message::Close(frame) => return (bytes, frame),
                _ => {}
            }
        }
        (bytes, None)
    })
    .await;
    for _ in 0..40 {
        sender.send(vec![0; 100_000].into()).unwrap();
    }
    assert_eq!(sender.buffered_bytes(), 4_000_000, "nothing was polled yet");
    sender.close(4001, &"a reason that is too long for a close frame ".repeat(9));
    assert_eq!(sender.send(Bytes::new()), Err(SendError::Closed));
    assert_eq!(receiver.recv().await.unwrap_err().code, 4001, "we know at once");
    let (bytes, frame) = server.await.unwrap();
    let frame = frame.expect("the server is told why");
    assert_eq!((bytes, u16::from(frame.code), frame.reason.len()), (4_000_000, 4001, 123));
}

#[tokio::test]
async fn the_servers_close_arrives_with_its_reason_and_stays() {
    let (sender, mut receiver, server) = connect(|mut socket| async move {
        socket.send(Message::Binary(Bytes::from_static(b"last words"))).await.unwrap();
        let frame = CloseFrame { code: 4003.into(), reason: "go away".into() };
        socket.send(Message::Close(Some(frame))).await.unwrap();
        socket.next().await
    })
    .await;
    assert_eq!(receiver.recv().await.unwrap(), "last words");
    let closed = Closed { code: 4003, reason: "go away".to_owned() };
    assert_eq!(receiver.recv().await, Err(closed.clone()));
    assert_eq!(receiver.recv().await, Err(closed));
    assert_eq!(sender.send(Bytes::new()), Err(SendError::Closed));
    let answer = server.await.unwrap();
    assert!(matches!(answer, Some(Ok(Message::Close(_)))), "hands are shaken: {answer:?}");
}

#[tokio::test]
async fn dropping_the_sender_closes() {
    let (sender, mut receiver, server) = connect(echo).await;
    drop(sender);
    assert_eq!(receiver.recv().await.unwrap_err().code, 1000);
    assert_eq!(server.await.unwrap().map(|frame| u16::from(frame.code)), Some(1000));
}

#[tokio::test]
async fn a_server_that_dies_is_a_lost_connection() {
    let (sender, mut receiver, _server) = connect(|socket| async move { drop(socket) }).await;
    assert_eq!(receiver.recv().await.unwrap_err().code, Closed::ABNORMAL);
    assert_eq!(sender.send(Bytes::new()), Err(SendError::Closed));
}

#[tokio::test]
async fn text_and_giant_messages_end_the_connection() {
    for (message, code) in [
        (Message::Text("hello".into()), 1003),
        (Message::Binary(vec![0; (1 << 20) + 1].into()), Closed::ABNORMAL),
    ] {
        let (_sender, mut receiver, _server) = connect(|mut socket| async move {
            // The client may be gone before all of it is out.
            let _ = socket.send(message).await;
            socket.next().await
        })
        .await;
        assert_eq!(receiver.recv().await.unwrap_err().code, code);
    }
}

/// A peer that reads nothing cannot hold on to a connection that we closed.
#[tokio::test]
async fn a_close_does_not_wait_for_a_peer_that_stopped_reading() {
    let (give, taken) = tokio::sync::oneshot::channel::<()>();
    let (sender, mut receiver, server) = connect(|socket| async move {
        let mut stream = socket.into_inner();
        taken.await.expect("the test goes on");
        let mut rest = Vec::new();
        // Reset or ended: either way it is over.
        let _ = stream.read_to_end(&mut rest).await;
        rest.len()
    })
    .await;
    let queued = 64 << 20;
    for _ in 0..64 {
        sender.send(vec![0; 1 << 20].into()).unwrap();
    }
    sender.close(1000, "");
    assert_eq!(receiver.recv().await.unwrap_err().code, 1000, "we know at once");
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    give.send(()).unwrap();
    let arrived = server.await.unwrap();
    assert!(arrived < queued, "{arrived} of {queued} bytes arrived");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = WebSocketTransport::new(format!("ws://{}", listener.local_addr().unwrap()));
    drop(listener);
    let refused = transport.connect().await;
    assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{:?}", refused.err());
}

#[tokio::test]
async fn a_captive_portal_is_unreachable() {
    let (transport, _server) = listen(|mut stream| async move {
        let mut request = [0; 1_024];
        let _ = stream.read(&mut request).await;
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin";
        stream.write_all(page).await
    })
    .await;
    let refused = transport.connect().await;
    assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{:?}", refused.err());
}

#[tokio::test]
async fn a_server_of_another_protocol_is_refused() {
    let (transport, _server) = listen(|stream| shake(stream, "chat")).await;
    assert_eq!(transport.connect().await.err(), Some(ConnectError::Subprotocol));
}

#[tokio::test]
async fn addresses_that_cannot_be_dialed_are_refused() {
    for address in ["/sync", "sync", "ftp://a/", "ws://", "wss://127.0.0.1:1/"] {
        let refused = WebSocketTransport::new(address).connect().await;
        assert!(
            matches!(refused, Err(ConnectError::Address { .. })),
            "{address}: {:?}",
            refused.err()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (transport, _server) = listen(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(transport.connect().await.err(), Some(ConnectError::TimedOut { after_ms: 15_000 }));
}
