//! `leptos-sync serve --revoked FILE`: the users whose access was taken away.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use leptos_sync_server::RevokedUsers;

/// How often the file is read. It is small, and what its time of change says is too coarse.
const INTERVAL: Duration = Duration::from_millis(200);

/// Reads the file, and again for as long as the process runs. When that fails later it is logged,
/// and the last list stands.
pub(crate) fn follow(file: PathBuf) -> Result<RevokedUsers> {
    let cannot_read = || format!("cannot read the revoked users {}", file.display());
    let text = std::fs::read_to_string(&file).with_context(cannot_read)?;
    let users = RevokedUsers::default();
    users.set(names(&text).map(str::to_owned));
    let mut reading = Reading { last: text, is_settled: true };
    let followed = users.clone();
    let follow = move || {
        let mut is_readable = true;
        loop {
            std::thread::sleep(INTERVAL);
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    is_readable = true;
                    if let Some(names) = reading.next(text) {
                        tracing::info!(count = names.len(), "the list of revoked users changed");
                        followed.set(names);
                    }
                }
                Err(error) => {
                    if std::mem::replace(&mut is_readable, false) {
                        let file = file.display();
                        tracing::error!(%file, %error, "cannot read the revoked users");
                    }
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("revoked".to_owned())
        .spawn(follow)
        .context("cannot start a thread")?;
    Ok(users)
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What was read. A file may be read while somebody writes it: who is missing then is taken off the
/// list when it is read the same way again, and who is on it is on it at once.
struct Reading {
    last: String,
    is_settled: bool,
}

impl Reading {
    /// The list after another reading, unless it is as it was.
    fn next(&mut self, text: String) -> Option<HashSet<String>> {
        let is_same = text == self.last;
        if is_same && self.is_settled {
            return None;
        }
        self.is_settled = is_same;
        let before = std::mem::replace(&mut self.last, text);
        Some(names(&before).chain(names(&self.last)).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Option<HashSet<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn names_are_lines_that_are_no_comments() {
        let text = "# who left\r\nada\n\n  bob smith \n#eve\nmallory # is no comment";
        assert_eq!(
            names(text).collect::<Vec<_>>(),
            ["ada", "bob smith", "mallory # is no comment"]
        );
    }

    #[test]
    fn a_name_is_on_the_list_at_once_and_off_it_when_it_is_missing_twice() {
        let mut reading = Reading { last: "ada\n".to_owned(), is_settled: true };
        assert_eq!(reading.next("ada\n".to_owned()), None);
        assert_eq!(reading.next("ada\nbob\n".to_owned()), list(&["ada", "bob"]));
        // Somebody writes it anew.
        assert_eq!(reading.next(String::new()), list(&["ada", "bob"]));
        assert_eq!(reading.next("bob\n".to_owned()), list(&["bob"]));
        assert_eq!(reading.next("bob\n".to_owned()), list(&["bob"]));
        assert_eq!(reading.next("bob\n".to_owned()), None);
    }
}
