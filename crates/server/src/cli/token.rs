//! `leptos-sync token`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use leptos_sync_server::{Claims, JwtAuth};

use super::print;

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The file with the secret that the server was given as --token-secret.
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    /// The user's name, as others see it.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// How long the token lasts.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    days: u32,
    /// A document that may be read; `board/*` stands for all whose id begins so. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,
    /// A document that may be written. Without --read and --write everything may be.
    #[arg(long, value_name = "PATTERN")]
    write: Vec<String>,
}

pub(crate) fn run(args: &TokenArgs) -> Result<()> {
    let secret = std::fs::read(&args.secret)
        .with_context(|| format!("cannot read the secret {}", args.secret.display()))?;
    let auth = JwtAuth::new(&secret)
        .with_context(|| format!("cannot use the secret {}", args.secret.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let all = args.read.is_empty() && args.write.is_empty();
    let claims = Claims {
        sub: args.user.clone(),
        exp: now.as_secs() + u64::from(args.days) * 86_400,
        read: (!all).then(|| args.read.clone()),
        write: (!all).then(|| args.write.clone()),
    };
    print(&auth.sign(&claims).context("cannot sign the token")?)
}
