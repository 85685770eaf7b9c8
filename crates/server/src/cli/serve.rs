//! `leptos-sync serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::serve::ListenerExt as _;
use clap::Args;
use leptos_sync_server::{JwtAuth, SyncServer};
use tokio::net::TcpListener;

use super::{DataDir, print};

/// How long clients and writes may take to finish when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    #[command(flatten)]
    data: DataDir,
    /// Serve the web app in this directory too.
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Let in only clients with a token signed with the secret in this file.
    #[arg(long, value_name = "FILE")]
    token_secret: Option<PathBuf>,
    /// Let web pages of this origin connect, beside the server's own. May be repeated.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Let everybody who reaches the address read and write every document.
    #[arg(long, conflicts_with = "token_secret")]
    insecure_open: bool,
}

pub(crate) fn run(args: ServeArgs) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let open = args.token_secret.is_none();
    if open && !args.insecure_open && !args.listen.ip().is_loopback() {
        bail!(
            "without --token-secret anybody who reaches {} could read and write everything; \
             give a secret file, listen on 127.0.0.1, or say --insecure-open if that is wanted",
            args.listen
        );
    }
    if let Some(assets) = &args.assets
        && !assets.is_dir()
    {
        bail!("there is no directory {}; see --assets", assets.display());
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(serve(args))
}

async fn serve(args: ServeArgs) -> Result<()> {
    let mut builder = SyncServer::builder(args.data.open_or_create()?)
        .loopback_host_only(args.token_secret.is_none() && !args.insecure_open);
    if let Some(file) = &args.token_secret {
        let secret = std::fs::read(file)
            .with_context(|| format!("cannot read the token secret {}", file.display()))?;
        let auth = JwtAuth::new(&secret)
            .with_context(|| format!("cannot use the token secret {}", file.display()))?;
        builder = builder.auth(auth);
    }
    if let Some(assets) = args.assets {
        builder = builder.assets(assets);
    }
    for origin in args.allow_origin {
        builder = builder.allow_origin(origin);
    }
    let server = builder.start().await.context("cannot start the server")?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let listener = listener.tap_io(|socket| {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off Nagle's algorithm");
        }
    });
    print(&format!("listening on http://{address}"))?;

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let accept = axum::serve(listener, server.router()).with_graceful_shutdown(async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    });
    let accept = tokio::spawn(accept.into_future());
    let failure = tokio::select! {
        () = signal() => None,
        reason = server.failure() => Some(reason),
    };
    tracing::info!("stopping");
    drop(stop);
    server.stop(STOP_PATIENCE).await;
    if tokio::time::timeout(STOP_PATIENCE, accept).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    match failure {
        None => Ok(()),
        Some(reason) => bail!("stopped: {reason}"),
    }
}

/// Resolves when somebody asks the process to end.
#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = signal(SignalKind::interrupt());
    let terminate = signal(SignalKind::terminate());
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        tracing::warn!("cannot listen for signals; the process must be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Resolves when somebody asks the process to end.
#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        tracing::warn!("cannot listen for Ctrl-C; the process must be killed");
        std::future::pending().await
    }
}
