//! What the open connections were granted, and whether it still holds.
//!
//! Guarantees: a grant that is over stays over, and ends its connection within [`REVIEW`] and the
//! time of a farewell, whatever the connection is doing; nothing is stored for it any more.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use leptos_sync_crdt::DocId;
use leptos_sync_protocol::Permission;
use tokio::sync::SetOnce;

use crate::auth::{AuthError, Authenticator, Grant, Standing};
use crate::hub::{Hub, Store};
use crate::room::lock;

/// How often the authenticator is asked about every open connection.
const REVIEW: Duration = Duration::from_millis(500);

/// Why a grant does not hold any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The user is not to come back with the same token.
    Ended(AuthError),
    /// The user has another one.
    Changed,
}

/// What one connection may do: nothing before it is let in.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    grant: OnceLock<Grant>,
    over: SetOnce<Over>,
}

impl Granted {
    /// The user's name.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.grant.get().and_then(Grant::principal)
    }

    /// What may be done with `doc`.
    pub(crate) fn permission(&self, doc: &DocId) -> Option<Permission> {
        self.grant.get().and_then(|grant| grant.permission(doc))
    }

    /// Resolves once it does not hold any more.
    pub(crate) async fn over(&self) -> &Over {
        self.over.wait().await
    }
}

/// The grants in use.
pub(crate) struct Grants {
    auth: Arc<dyn Authenticator>,
    open: Mutex<Vec<Weak<Granted>>>,
}

impl Grants {
    pub(crate) fn new(auth: Arc<dyn Authenticator>) -> Self {
        Self { auth, open: Mutex::default() }
    }

    /// Lets a connection in, and looks after its grant from now on.
    pub(crate) fn admit<'a>(
        &self,
        granted: &'a Arc<Granted>,
        token: Option<&str>,
    ) -> Result<&'a Grant, AuthError> {
        let grant = self.auth.authenticate(token)?;
        let grant = granted.grant.get_or_init(|| grant);
        lock(&self.open).push(Arc::downgrade(granted));
        Ok(grant)
    }

    /// Whether a grant holds at this moment. If not, its connection is told.
    pub(crate) fn holds(&self, granted: &Granted, wall_ms: u64) -> bool {
        if granted.over.initialized() {
            return false;
        }
        let over = granted.grant.get().and_then(|grant| self.look_at(grant, wall_ms));
        let holds = over.is_none();
        if let Some(over) = over {
            // Somebody else may have said so meanwhile.
            let _ = granted.over.set(over);
        }
        holds
    }

    fn look_at(&self, grant: &Grant, wall_ms: u64) -> Option<Over> {
        if grant.expires_ms().is_some_and(|at| at <= wall_ms) {
            return Some(Over::Ended(AuthError::Expired));
        }
        // Who cannot say that a grant stands does not let anybody go on.
        let review = AssertUnwindSafe(|| self.auth.review(grant));
        match std::panic::catch_unwind(review).unwrap_or(Standing::Ended) {
            Standing::Stands => None,
            Standing::Ended => Some(Over::Ended(AuthError::Revoked)),
            Standing::Changed => Some(Over::Changed),
        }
    }

    /// Looks at every grant in use.
    fn review(&self, wall_ms: u64) {
        let mut open = lock(&self.open);
        open.retain(|granted| granted.strong_count() > 0);
        let all: Vec<_> = open.iter().filter_map(Weak::upgrade).collect();
        // Whoever comes in meanwhile does not wait.
        drop(open);
        for granted in all {
            self.holds(&granted, wall_ms);
        }
    }
}

/// Looks at every grant in use, again and again. The store is not asked, so that none which does
/// not answer keeps anybody's grant.
pub(crate) async fn watch<S: Store>(hub: Weak<Hub<S>>) {
    let mut ticks = tokio::time::interval(REVIEW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        if *hub.stopping().borrow() {
            return;
        }
        hub.grants.review(hub.env.wall_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets everybody in, and says of everybody's grant what it is told to.
    struct Says(Arc<Mutex<Option<Standing>>>);

    impl Authenticator for Says {
        fn authenticate(&self, token: Option<&str>) -> Result<Grant, AuthError> {
            Ok(Grant::all(token.ok_or(AuthError::Missing)?, Some(1_000)))
        }

        fn review(&self, _: &Grant) -> Standing {
            lock(&self.0).expect("it knows")
        }
    }

    fn admitted(says: Option<Standing>) -> (Grants, Arc<Mutex<Option<Standing>>>, Arc<Granted>) {
        let says = Arc::new(Mutex::new(says));
        let grants = Grants::new(Arc::new(Says(says.clone())));
        let granted = Arc::default();
        grants.admit(&granted, Some("ada")).unwrap();
        (grants, says, granted)
    }

    #[test]
    fn nothing_is_granted_before_somebody_is_let_in() {
        let (granted, doc) = (Granted::default(), DocId::new("d").unwrap());
        assert_eq!((granted.permission(&doc), granted.principal()), (None, None));
        let grants = Grants::new(Arc::new(Says(Arc::default())));
        assert!(grants.holds(&granted, u64::MAX), "there is nothing that could end");
    }

    #[test]
    fn what_is_over_stays_over() {
        let (grants, says, granted) = admitted(Some(Standing::Stands));
        assert!(grants.holds(&granted, 999));
        *lock(&says) = Some(Standing::Changed);
        grants.review(999);
        *lock(&says) = Some(Standing::Stands);
        assert!(!grants.holds(&granted, 999));
        assert_eq!(granted.over.get(), Some(&Over::Changed));
    }

    #[test]
    fn a_grant_ends_with_its_time_and_when_it_is_taken_away() {
        for (says, at, error) in [
            (Some(Standing::Stands), 1_000, AuthError::Expired),
            (Some(Standing::Ended), 999, AuthError::Revoked),
            // It panics.
            (None, 999, AuthError::Revoked),
        ] {
            let (grants, _, granted) = admitted(says);
            grants.review(at);
            assert_eq!(granted.over.get(), Some(&Over::Ended(error)), "{says:?} at {at}");
        }
    }

    #[test]
    fn who_has_left_is_not_asked_about() {
        let (grants, _, granted) = admitted(Some(Standing::Stands));
        drop(granted);
        grants.review(0);
        assert!(lock(&grants.open).is_empty());
    }
}
