//! Waiting for a condition, with a limit and a sentence.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for anything that happens without a timeout of the system itself.
pub const SOON: Duration = Duration::from_secs(15);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` gives a value, and returns it with the time that it took.
///
/// # Errors
///
/// When `look` fails, or when it gave nothing within `limit`; `what` then ends the sentence
/// "… after 15 s: ".
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        if let Some(value) = look().await? {
            return Ok((value, start.elapsed()));
        }
        if start.elapsed() > limit {
            bail!("waited {limit:.0?} in vain: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
