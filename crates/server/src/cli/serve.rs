//! `leptos-sync serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use leptos_sync_server::{DoorLimits, JwtAuth, SyncServer};
use tokio::net::TcpListener;

use super::{DataDir, print, revoked};

/// How long clients and writes may take to finish when the server stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How many of the system's sockets and files are left for the store and for files to serve.
const SOCKETS_RESERVED: usize = 64;

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
    /// Let in no user whose name is in this file, one a line, whatever their tokens say, and end
    /// their connections. It is read again when it changes; lines that begin with # are comments.
    #[arg(long, value_name = "FILE", requires = "token_secret")]
    revoked: Option<PathBuf>,
    /// Let web pages of this origin connect, beside the server's own. May be repeated.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Let everybody who reaches the address read and write every document.
    #[arg(long, conflicts_with = "token_secret")]
    insecure_open: bool,
    /// Take back what a restored backup lacks from whoever has it, whoever wrote it. Until the
    /// server is started without this, author ids belong to nobody.
    #[arg(long)]
    recovering: bool,
    /// How many connections may be open at once, as far as the system has sockets for them.
    #[arg(long, value_name = "N", default_value_t = DoorLimits::default().connections_max)]
    connections_max: usize,
    /// How many of them may come from one address (of IPv6, one /64); 0 for any number. Behind a
    /// reverse proxy all come from the proxy's [default: 512, or 0 on a loopback address].
    #[arg(long, value_name = "N")]
    connections_per_address: Option<usize>,
}

impl ServeArgs {
    fn door(&self) -> DoorLimits {
        let usual = DoorLimits::default();
        let each = match self.connections_per_address {
            Some(each) => (each > 0).then_some(each),
            // Only this machine reaches it, and a proxy on it brings everybody.
            None if self.listen.ip().is_loopback() => None,
            None => usual.connections_per_address_max,
        };
        let sockets = sockets_max().saturating_sub(SOCKETS_RESERVED).max(1);
        DoorLimits {
            connections_max: self.connections_max.min(sockets),
            connections_per_address_max: each,
            ..usual
        }
    }
}

pub(crate) fn run(args: ServeArgs) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be said on standard error, with a panic where that cannot be written either:
        // where the log's disk is full.
        .log_internal_errors(false)
        .init();
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
    let door = args.door();
    let mut builder = SyncServer::builder(args.data.open_or_create()?)
        .loopback_host_only(args.token_secret.is_none() && !args.insecure_open)
        .recovering(args.recovering);
    if let Some(file) = &args.token_secret {
        let secret = std::fs::read(file)
            .with_context(|| format!("cannot read the token secret {}", file.display()))?;
        let mut auth = JwtAuth::new(&secret)
            .with_context(|| format!("cannot use the token secret {}", file.display()))?;
        if let Some(file) = args.revoked {
            auth = auth.without(revoked::follow(file)?);
        }
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
    print(&format!("listening on http://{address}"))?;

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Arc::new(server);
    let accepting = server.clone();
    let accept = tokio::spawn(async move {
        let stopped = async {
            // A dropped sender stops it as well.
            let _ = stopped.await;
        };
        accepting.accept(listener, door, stopped).await;
    });
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

/// How many sockets and files this process may have open, once it has asked for all it may.
#[cfg(unix)]
fn sockets_max() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "cannot raise the number of open files");
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// Nobody says how many there may be.
#[cfg(not(unix))]
fn sockets_max() -> usize {
    usize::MAX
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
