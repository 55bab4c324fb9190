//! Checks credentials against the catalogue. What it found it believes for two seconds: that is
//! how long a revocation made on another node takes to be felt.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use keyreel_keys::Clock;
use keyreel_library::{Catalogue, CredentialKind, User};
use moka::future::Cache;
use zeroize::Zeroizing;

use super::password::Verifier;
use super::throttle::Throttle;
use super::{Identity, Presented};
use crate::problem::{Code, Problem};
use crate::settings::Settings;

pub(crate) use super::throttle::Attempt;

/// The door.
pub(crate) struct Door {
    catalogue: Arc<dyn Catalogue>,
    clock: Arc<dyn Clock>,
    known: Cache<[u8; 32], Arc<Identity>>,
    throttle: Throttle,
    verifier: Verifier,
}

/// How somebody signs in.
pub(crate) enum Attempts {
    /// By name and password.
    Password {
        name: String,
        password: Zeroizing<String>,
    },
    /// By link.
    Link { secret: Zeroizing<String> },
}

impl Door {
    pub(crate) fn new(
        catalogue: Arc<dyn Catalogue>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Self {
        let settings = &settings.sessions;
        Self {
            catalogue,
            clock,
            known: Cache::builder()
                .max_capacity(50_000)
                .time_to_live(BELIEVED)
                .build(),
            throttle: Throttle::new(settings),
            verifier: Verifier::new(settings.concurrent_verifications),
        }
    }

    /// Who a presented secret stands for; `None` where nobody (any more).
    pub(crate) async fn identify(
        &self,
        presented: &Presented,
    ) -> Result<Option<Arc<Identity>>, Problem> {
        if let Some(identity) = self.known.get(&presented.sha256).await {
            return Ok(self.current(identity, presented.kind));
        }
        let Some(identity) = self.look_up(presented).await? else {
            return Ok(None);
        };
        let identity = Arc::new(identity);
        self.known.insert(presented.sha256, identity.clone()).await;
        Ok(self.current(identity, presented.kind))
    }

    /// Forgets a credential that was revoked here.
    pub(crate) async fn forget(&self, sha256: &[u8; 32]) {
        self.known.invalidate(sha256).await;
    }

    /// The account that signs in. One answer for every way to fail, and one length of time.
    pub(crate) async fn sign_in(
        &self,
        attempt: Attempts,
        address: Option<IpAddr>,
    ) -> Result<User, Refused> {
        match attempt {
            Attempts::Password { name, password } => {
                self.by_password(&name, password, address).await
            }
            Attempts::Link { secret } => self.by_link(&secret, address).await,
        }
    }

    async fn by_password(
        &self,
        name: &str,
        password: Zeroizing<String>,
        address: Option<IpAddr>,
    ) -> Result<User, Refused> {
        // All names that are too long are one to the throttle: it remembers none of them.
        let known_as = if name.len() > MAX_INPUT { "" } else { name };
        let attempt = self.begin(Some(known_as), address)?;
        if name.len() > MAX_INPUT || password.len() > MAX_INPUT {
            return Err(Refused::nobody("Name or password is wrong."));
        }
        let user = self
            .catalogue
            .user_by_name(name)
            .await
            .map_err(Problem::from)?;
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let fits = self
            .verifier
            .verify(hash, password)
            .await
            .map_err(Problem::from)?;
        match user {
            Some(user) if fits => {
                self.throttle.succeeded(&attempt);
                Ok(user)
            }
            // The id of a known account goes into the audit log; a name that somebody mistyped, or
            // a password typed in its place, does not.
            user => Err(Refused {
                problem: Problem::new(Code::Unauthenticated, "Name or password is wrong."),
                user,
            }),
        }
    }

    async fn by_link(&self, secret: &str, address: Option<IpAddr>) -> Result<User, Refused> {
        const WRONG: &str = "This sign-in link is not valid (any more). Ask for a new one.";
        let attempt = self.begin(None, address)?;
        let Some(sha256) = super::hash_secret(secret, "") else {
            return Err(Refused::nobody(WRONG));
        };
        let now_ms = self.clock.now_ms();
        let link = self
            .catalogue
            .credential(&sha256, now_ms)
            .await
            .map_err(Problem::from)?;
        let Some(link) = link.filter(|link| link.kind == CredentialKind::Link) else {
            return Err(Refused::nobody(WRONG));
        };
        let Some(id) = link.user else {
            return Err(Refused::nobody(WRONG));
        };
        let user = self.catalogue.user(&id).await.map_err(Problem::from)?;
        let user = user.ok_or_else(|| Refused::nobody(WRONG))?;
        // Ended meanwhile? What ends it from here on changes the account as it was read.
        let link = self.catalogue.credential(&sha256, now_ms);
        if link.await.map_err(Problem::from)?.is_none() {
            return Err(Refused::nobody(WRONG));
        }
        self.throttle.succeeded(&attempt);
        Ok(user)
    }

    fn begin(&self, name: Option<&str>, address: Option<IpAddr>) -> Result<Attempt, Refused> {
        self.throttle
            .begin(name, address, self.clock.now_ms())
            .map_err(|wait| {
                let problem = Problem::new(
                    Code::TooManyAttempts,
                    "Too many failed attempts to sign in. Wait a moment.",
                )
                .inward("the throttle refused a sign-in");
                Refused::from(problem.retry_after(wait))
            })
    }

    async fn look_up(&self, presented: &Presented) -> Result<Option<Identity>, Problem> {
        let now_ms = self.clock.now_ms();
        let Some(credential) = self.catalogue.credential(&presented.sha256, now_ms).await? else {
            return Ok(None);
        };
        let identity = match &credential.user {
            Some(id) => {
                let Some(user) = self.catalogue.user(id).await? else {
                    return Ok(None);
                };
                let roles = match credential.kind {
                    CredentialKind::Bearer => credential.roles.clone(),
                    CredentialKind::Session | CredentialKind::Link => user.roles,
                };
                Identity {
                    credential,
                    subject: user.id,
                    name: user.name,
                    roles,
                }
            }
            None => Identity {
                subject: credential.label.clone(),
                name: credential.label.clone(),
                roles: credential.roles.clone(),
                credential,
            },
        };
        Ok(Some(identity))
    }

    /// What is believed may have ended meanwhile; and a link is no session.
    fn current(&self, identity: Arc<Identity>, kind: CredentialKind) -> Option<Arc<Identity>> {
        let credential = &identity.credential;
        let ended = credential
            .expires_ms
            .is_some_and(|end| end <= self.clock.now_ms());
        (credential.kind == kind && !ended).then_some(identity)
    }
}

/// Why somebody was not let in, and who it was as far as that is known.
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) user: Option<User>,
}

impl Refused {
    fn nobody(detail: &str) -> Self {
        Self::from(Problem::new(Code::Unauthenticated, detail))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            user: None,
        }
    }
}

const BELIEVED: Duration = Duration::from_secs(2);
/// Nobody's name or password is longer.
const MAX_INPUT: usize = 1024;
