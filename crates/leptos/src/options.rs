//! How an application syncs: which server, which local database, and who the person is.

/// What [`provide_sync`](crate::provide_sync) starts with.
///
/// ```
/// use leptos_sync::SyncOptions;
///
/// let options = SyncOptions::new("/sync").database("notebook").user("Ada", "#7c3aed");
/// let unsynced = SyncOptions::local_only();
/// # let _ = (options, unsynced);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    pub(crate) server: Option<String>,
    pub(crate) database: String,
    pub(crate) token: Option<String>,
    pub(crate) user: User,
}

/// How a person appears to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name beside the caret; empty if not given.
    pub name: String,
    /// A CSS colour; if empty, the others choose one.
    pub colour: String,
}

impl SyncOptions {
    /// Keeps documents in this browser and syncs with the server at `url`: a path on the page's
    /// own server such as `/sync`, or a whole `ws:` or `wss:` address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { server: Some(url.into()), ..Self::local_only() }
    }

    /// Keeps documents in this browser only.
    #[must_use]
    pub fn local_only() -> Self {
        Self {
            server: None,
            database: "leptos-sync".to_owned(),
            token: None,
            user: User::default(),
        }
    }

    /// Names the local database. Applications on one origin, and accounts that share a browser,
    /// need a database each.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = name.into();
        self
    }

    /// The token that the server checks.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The person's name and colour (a CSS colour, or empty), as the others see them.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, colour: impl Into<String>) -> Self {
        self.user = User { name: name.into(), colour: colour.into() };
        self
    }
}
