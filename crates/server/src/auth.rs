//! Who is a client, and what may it do: the [`Authenticator`] trait, JSON Web Tokens, and users
//! whose access was taken away.
//!
//! A token is signed with HS256 and says, beside `sub` (the user's name) and `exp`, which documents
//! may be read and written: `read` and `write` are lists of document ids, where a trailing `*`
//! stands for any ending. Without either list everything may be written.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use leptos_sync_crdt::DocId;
use leptos_sync_protocol::Permission;
use serde::{Deserialize, Serialize};

use crate::room::lock;

/// The shortest secret, in bytes.
pub const SECRET_BYTES_MIN: usize = 32;

/// Decides who a client is, and whether what it was granted still holds.
///
/// ```
/// # use std::collections::BTreeSet;
/// # use std::sync::RwLock;
/// # use leptos_sync_server::{AuthError, Authenticator, Grant, Standing};
/// /// Tokens are names; who is on the list may read and not write.
/// struct Names {
///     readers: RwLock<BTreeSet<String>>,
/// }
///
/// impl Authenticator for Names {
///     fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError> {
///         let user = token.ok_or(AuthError::Missing)?;
///         let grant = Grant::all(user, None);
///         if self.readers.read().map_err(|_| AuthError::Invalid)?.contains(user) {
///             return Ok(grant.only(vec!["*".to_owned()], Vec::new()));
///         }
///         Ok(grant)
///     }
///
///     fn review(&self, grant: &Grant) -> Standing {
///         match self.authenticate(grant.principal()) {
///             Ok(present) if present == *grant => Standing::Stands,
///             Ok(_) => Standing::Changed,
///             Err(_) => Standing::Ended,
///         }
///     }
/// }
/// ```
pub trait Authenticator: Send + Sync + 'static {
    /// Checks the token. Called once per connection, with what its first message brought.
    ///
    /// # Errors
    /// [`AuthError`] closes the connection; its text goes to the client.
    fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError>;

    /// What has become of a grant. Asked twice a second for every open connection, and before
    /// changes are stored, so it has to answer from memory. If it panics the grant has ended. When
    /// a grant expires is not its concern.
    fn review(&self, _grant: &Grant) -> Standing {
        Standing::Stands
    }
}

/// What has become of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It holds.
    Stands,
    /// It was taken away: the connection closes as one without a token does, and the client waits
    /// for a person. [`Authenticator::authenticate`] has to refuse it from now on.
    Ended,
    /// The user may do something else now: the client is sent away for half a second, and granted
    /// what [`Authenticator::authenticate`] says then.
    Changed,
}

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It brought no token.
    #[error("a token is required")]
    Missing,
    /// The token's time is over.
    #[error("the token has expired")]
    Expired,
    /// The token is not one of ours.
    #[error("the token is not valid")]
    Invalid,
    /// What was granted has been taken away.
    #[error("access has been taken away")]
    Revoked,
}

/// What a client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    principal: Option<String>,
    expires_ms: Option<u64>,
    rules: Option<Rules>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rules {
    read: Vec<String>,
    write: Vec<String>,
}

impl Grant {
    /// Anybody may do anything; nobody has a name.
    #[must_use]
    pub const fn open() -> Self {
        Self { principal: None, expires_ms: None, rules: None }
    }

    /// `principal` may do anything, until `expires_ms` after the Unix epoch.
    #[must_use]
    pub fn all(principal: impl Into<String>, expires_ms: Option<u64>) -> Self {
        Self { principal: Some(principal.into()), expires_ms, rules: None }
    }

    /// Allows only documents that match one of these patterns: an id, or its beginning and `*`.
    /// What may be written may be read.
    #[must_use]
    pub fn only(mut self, read: Vec<String>, write: Vec<String>) -> Self {
        self.rules = Some(Rules { read, write });
        self
    }

    /// The user's name.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// When it ends, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    /// What may be done with `doc`.
    #[must_use]
    pub fn permission(&self, doc: &DocId) -> Option<Permission> {
        let Some(rules) = &self.rules else { return Some(Permission::Write) };
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, doc));
        if any(&rules.write) {
            Some(Permission::Write)
        } else {
            any(&rules.read).then_some(Permission::Read)
        }
    }
}

fn matches(pattern: &str, doc: &DocId) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => doc.as_str().starts_with(start),
        None => doc.as_str() == pattern,
    }
}

/// Lets everybody in, without a name.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAccess;

impl Authenticator for OpenAccess {
    fn authenticate(&self, _token: Option<&str>) -> Result<Grant, AuthError> {
        Ok(Grant::open())
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user's name.
    pub sub: String,
    /// When the token ends, in seconds since the Unix epoch.
    pub exp: u64,
    /// Documents that may be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Vec<String>>,
    /// Documents that may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Vec<String>>,
}

/// Why a secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token secret has {0} bytes, at least {SECRET_BYTES_MIN} are needed")]
pub struct SecretTooShort(pub usize);

/// The names of users whose access was taken away. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct RevokedUsers(Arc<Mutex<HashSet<String>>>);

impl RevokedUsers {
    /// Replaces the list. Whoever is on it is refused from now on, and open connections of theirs
    /// end within a second.
    pub fn set(&self, users: impl IntoIterator<Item = String>) {
        let users = users.into_iter().collect();
        *lock(&self.0) = users;
    }

    /// Whether `user` is on the list.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        lock(&self.0).contains(user)
    }
}

/// Lets in who brings a token signed with the shared secret.
#[derive(Clone)]
pub struct JwtAuth {
    decoding: DecodingKey,
    encoding: EncodingKey,
    revoked: RevokedUsers,
}

impl std::fmt::Debug for JwtAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtAuth")
    }
}

impl JwtAuth {
    /// Tokens signed with `secret`; space at its ends does not count.
    ///
    /// # Errors
    /// [`SecretTooShort`] if somebody could guess it.
    pub fn new(secret: &[u8]) -> Result<Self, SecretTooShort> {
        let secret = secret.trim_ascii();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort(secret.len()));
        }
        Ok(Self {
            decoding: DecodingKey::from_secret(secret),
            encoding: EncodingKey::from_secret(secret),
            revoked: RevokedUsers::default(),
        })
    }

    /// Lets in nobody who is on the list, and nobody stay who comes to be on it.
    #[must_use]
    pub fn without(mut self, revoked: RevokedUsers) -> Self {
        self.revoked = revoked;
        self
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] if the claims cannot be written as JSON.
    pub fn sign(&self, claims: &Claims) -> Result<String, AuthError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|_| AuthError::Invalid)
    }
}

impl Authenticator for JwtAuth {
    fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError> {
        let token = token.ok_or(AuthError::Missing)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => AuthError::Expired,
                _ => AuthError::Invalid,
            })?
            .claims;
        if self.revoked.contains(&claims.sub) {
            return Err(AuthError::Revoked);
        }
        let grant = Grant::all(claims.sub, Some(claims.exp.saturating_mul(1_000)));
        Ok(match (claims.read, claims.write) {
            (None, None) => grant,
            (read, write) => grant.only(read.unwrap_or_default(), write.unwrap_or_default()),
        })
    }

    fn review(&self, grant: &Grant) -> Standing {
        match grant.principal() {
            Some(user) if self.revoked.contains(user) => Standing::Ended,
            _ => Standing::Stands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef\n";

    fn claims(exp: u64) -> Claims {
        let read = Some(vec!["public/*".to_owned()]);
        Claims { sub: "ada".into(), exp, read, write: Some(vec!["board/1".to_owned()]) }
    }

    #[test]
    fn a_token_says_who_and_what() {
        let auth = JwtAuth::new(SECRET).unwrap();
        let token = auth.sign(&claims(4_000_000_000)).unwrap();
        let grant = auth.authenticate(Some(&token)).unwrap();
        assert_eq!(grant.principal(), Some("ada"));
        let may = |id: &str| grant.permission(&DocId::new(id).unwrap());
        assert_eq!(may("board/1"), Some(Permission::Write));
        assert_eq!(may("public/news"), Some(Permission::Read));
        assert_eq!(may("board/12"), None);
    }

    #[test]
    fn other_tokens_are_refused_by_name() {
        let auth = JwtAuth::new(SECRET).unwrap();
        let other = JwtAuth::new(b"another secret of 32 bytes or more").unwrap();
        let token = |auth: &JwtAuth, exp| auth.sign(&claims(exp)).unwrap();
        let refused = |token: Option<&str>| auth.authenticate(token).unwrap_err();
        assert_eq!(refused(None), AuthError::Missing);
        assert_eq!(refused(Some("x.y.z")), AuthError::Invalid);
        assert_eq!(refused(Some(&token(&auth, 1))), AuthError::Expired);
        assert_eq!(refused(Some(&token(&other, 4_000_000_000))), AuthError::Invalid);
    }

    #[test]
    fn who_is_revoked_is_refused_and_does_not_stay() {
        let revoked = RevokedUsers::default();
        let auth = JwtAuth::new(SECRET).unwrap().without(revoked.clone());
        let token = auth.sign(&claims(4_000_000_000)).unwrap();
        let grant = auth.authenticate(Some(&token)).unwrap();
        revoked.set(["bob".to_owned()]);
        assert_eq!(auth.review(&grant), Standing::Stands);
        revoked.set(["ada".to_owned(), "bob".to_owned()]);
        assert_eq!(auth.review(&grant), Standing::Ended);
        assert_eq!(auth.authenticate(Some(&token)).unwrap_err(), AuthError::Revoked);
        revoked.set([]);
        assert_eq!(auth.authenticate(Some(&token)).unwrap(), grant);
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(JwtAuth::new(b"  short \n").unwrap_err(), SecretTooShort(5));
    }
}
