//! A client that does not speak the protocol.

use anyhow::{Context, Result, bail, ensure};
use e2e::{Notebook, SOON, Server, perform};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::together::same_text;

/// Codes of the protocol's own: applications have 4000 to 4999.
const MALFORMED: u16 = 4400;
const TOO_LARGE: u16 = 4413;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Scene 9: garbage costs its sender the connection, and nobody else anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_frame_closes_its_own_socket_and_nobody_elses() -> Result<()> {
    perform("malformed", async |stage| {
        let server = stage.server().await?;
        let (ann, ben) = (stage.browser("ann").await?, stage.browser("ben").await?);
        let ann = Notebook::open(&ann, &server, "calm").await?;
        let ben = Notebook::open(&ben, &server, "calm").await?;
        ann.put_caret(0).await?;
        ann.page().type_text("before").await?;
        same_text(&[&ann, &ben], &["before"]).await?;
        ann.wait_until_saved().await?;
        ben.wait_until_saved().await?;
        let quiet = [ann.badges().await?.len(), ben.badges().await?.len()];

        let garbage = [&[0xff; 64][..], &[0], b"GET / HTTP/1.1", &[0x80; 5000]];
        for bytes in garbage {
            let code = code_after(&server, Message::binary(bytes.to_vec())).await?;
            ensure!(code == MALFORMED, "{} bytes of garbage: closed with {code}", bytes.len());
        }
        let code = code_after(&server, Message::text("hello")).await?;
        ensure!(code == MALFORMED, "text instead of binary: closed with {code}");
        let code = code_after(&server, Message::binary(vec![0; 4 << 20])).await?;
        ensure!([TOO_LARGE, MALFORMED].contains(&code), "4 MiB: closed with {code}");

        ben.put_caret("before".len()).await?;
        ben.page().type_text(" and after").await?;
        same_text(&[&ann, &ben], &["before and after"]).await?;
        for (page, before) in [(&ann, quiet[0]), (&ben, quiet[1])] {
            let badges = page.badges().await?.split_off(before);
            let calm = badges.iter().all(|badge| ["saved", "syncing"].contains(&&*badge.state));
            ensure!(calm, "a bystander lost the connection: {badges:?}");
        }
        Ok(())
    })
    .await
}

/// Connects, sends one message, and returns the code that the server closes with.
async fn code_after(server: &Server, message: Message) -> Result<u16> {
    let mut socket = connect(server).await?;
    // The server may close before it has read all of it.
    let _ = socket.send(message).await;
    let closed = async {
        while let Some(message) = socket.next().await {
            if let Message::Close(frame) = message.context("the socket broke without a code")? {
                return Ok(frame.map_or(1005, |frame| frame.code.into()));
            }
        }
        bail!("the socket ended without a code")
    };
    tokio::time::timeout(SOON, closed).await.context("the server keeps the socket open")?
}

pub(crate) async fn connect(server: &Server) -> Result<Socket> {
    let mut request = format!("ws://{}/sync", server.address()).into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "leptos-sync.v1".parse()?);
    headers.insert("Origin", server.url("").parse()?);
    let (socket, _) = connect_async(request).await.context("the server takes no socket")?;
    Ok(socket)
}
