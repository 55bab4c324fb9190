//! Who asks, and what they may do. A handler names what it needs as an argument type; without it
//! there is nothing to ask the catalogue with.
//! Not for: what a grant opens (see `grants`).

mod caller;
mod csrf;
mod door;
pub(crate) mod password;
mod secret;
pub(crate) mod throttle;

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use keyreel_format::TenantId;
use keyreel_library::{Credential, CredentialKind, Role, Tenant};

use crate::problem::{Code, Problem};
use crate::request::RequestInfo;
use crate::state::App;

pub(crate) use caller::Caller;
pub(crate) use csrf::refuse_cross_site;
pub(crate) use door::{Attempts, Door, Refused};
pub(crate) use secret::{NewSecret, TOKEN_PREFIX, hash as hash_secret};

/// The cookie of the pages. `__Host-`: Secure, this host only, every path.
pub(crate) const COOKIE_NAME: &str = "__Host-keyreel";

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct Access(Arc<Identity>);

/// What a credential stands for.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The credential.
    pub(crate) credential: Credential,
    /// An opaque id: an account's, or a token's label.
    pub(crate) subject: String,
    /// What people call it.
    pub(crate) name: String,
    /// What it may do, by tenant.
    pub(crate) roles: Vec<(TenantId, Role)>,
}

impl Identity {
    /// What it may do in `tenant`.
    pub(crate) fn role(&self, tenant: &TenantId) -> Option<Role> {
        self.roles
            .iter()
            .filter(|(of, _)| of == tenant)
            .map(|(_, role)| *role)
            .max()
    }
}

impl Access {
    /// What the credential stands for.
    pub(crate) fn identity(&self) -> &Identity {
        &self.0
    }

    /// Who, as an opaque id.
    pub(crate) fn subject(&self) -> &str {
        &self.0.subject
    }
}

impl FromRequestParts<App> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let presented = Presented::read(&parts.headers).ok_or_else(|| {
            Problem::new(Code::Unauthenticated, "Sign in, or send a bearer token.")
        })?;
        let identity = app.door().identify(&presented).await?.ok_or_else(|| {
            Problem::new(
                Code::Unauthenticated,
                "This session or token is not valid (any more).",
            )
        })?;
        if presented.kind == CredentialKind::Session {
            csrf::check(parts, &app.settings().server)?;
        }
        Ok(Self(identity))
    }
}

/// A secret that came with a request, as its hash.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) kind: CredentialKind,
    pub(crate) sha256: [u8; 32],
}

impl Presented {
    /// The bearer token of a request, else its cookie. A header that cannot be read is not passed
    /// over in favour of the cookie: whoever sent it meant it.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            let sha256 = secret::hash(token.trim(), TOKEN_PREFIX)?;
            return Some(Self {
                kind: CredentialKind::Bearer,
                sha256,
            });
        }
        Self::cookie(headers)
    }

    /// The cookie alone.
    pub(crate) fn cookie(headers: &HeaderMap) -> Option<Self> {
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let secret = pairs
            .flat_map(|pairs| pairs.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))?;
        let sha256 = secret::hash(secret, "")?;
        Some(Self {
            kind: CredentialKind::Session,
            sha256,
        })
    }
}

/// A role as a type.
pub(crate) trait AtLeast: Send + Sync + 'static {
    /// The least role that will do.
    const ROLE: Role;
}

/// Does everything within a tenant.
pub(crate) struct Admin;
/// Finds and plays.
pub(crate) struct Agent;
/// Reads the audit log as well.
pub(crate) struct Supervisor;

impl AtLeast for Admin {
    const ROLE: Role = Role::Admin;
}

impl AtLeast for Agent {
    const ROLE: Role = Role::Agent;
}

impl AtLeast for Supervisor {
    const ROLE: Role = Role::Supervisor;
}

/// Somebody who holds at least the role `R` in at least one tenant, and those tenants.
pub(crate) struct Holding<R> {
    access: Access,
    tenants: Vec<TenantId>,
    role: PhantomData<R>,
}

impl<R: AtLeast> Holding<R> {
    fn new(access: Access) -> Result<Self, Problem> {
        let roles = &access.identity().roles;
        let mut tenants: Vec<TenantId> = roles
            .iter()
            .filter(|(_, role)| *role >= R::ROLE)
            .map(|(of, _)| of.clone())
            .collect();
        tenants.sort();
        tenants.dedup();
        if tenants.is_empty() {
            return Err(Problem::new(Code::Denied, "Your role does not allow this."));
        }
        Ok(Self {
            access,
            tenants,
            role: PhantomData,
        })
    }

    /// The tenants in which the role is held: the only ones to ask the catalogue about.
    pub(crate) fn tenants(&self) -> &[TenantId] {
        &self.tenants
    }

    /// Those of them that a filter names; with a filter that names another tenant, none.
    pub(crate) fn tenants_or(&self, filter: Option<&str>) -> Vec<TenantId> {
        self.tenants
            .iter()
            .filter(|tenant| filter.is_none_or(|wanted| wanted == tenant.as_str()))
            .cloned()
            .collect()
    }

    /// Who.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }
}

impl<R: AtLeast> FromRequestParts<App> for Holding<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Self::new(Access::from_request_parts(parts, app).await?)
    }
}

/// The one tenant that an administrator's request is about: the only one that the caller administers,
/// or the one that `?tenant=` names.
pub(crate) struct Administered {
    access: Access,
    tenant: Tenant,
}

impl Administered {
    /// The tenant.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Who.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }
}

impl FromRequestParts<App> for Administered {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let admin = Holding::<Admin>::from_request_parts(parts, app).await?;
        let query = parts.uri.query().unwrap_or_default();
        let named =
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "tenant");
        let wanted = match (&named, admin.tenants()) {
            (Some((_, id)), tenants) => tenants.iter().find(|tenant| tenant.as_str() == id),
            (None, [only]) => Some(only),
            (None, _) => {
                return Err(Problem::new(
                    Code::BadRequest,
                    "You administer several organisations: name one with ?tenant=.",
                ));
            }
        };
        let wanted = wanted.ok_or_else(no_tenant)?;
        let tenant = app.catalogue().tenant(wanted).await?;
        let tenant = tenant.ok_or_else(no_tenant)?;
        if let Some(info) = parts.extensions.get::<RequestInfo>() {
            info.of(&tenant.id);
        }
        Ok(Self {
            access: admin.access,
            tenant,
        })
    }
}

/// The same whether it never was or is another's.
pub(crate) fn no_tenant() -> Problem {
    Problem::new(
        Code::NotFound,
        "There is no such organisation, or it is not yours to administer.",
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use keyreel_library::CredentialKind;

    use super::{NewSecret, Presented, TOKEN_PREFIX};

    #[test]
    fn a_bearer_token_counts_before_the_cookie_and_never_gives_way_to_it() {
        let token = NewSecret::generate(TOKEN_PREFIX).unwrap();
        let session = NewSecret::generate("").unwrap();
        let read = |pairs: &[(&'static str, String)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            Presented::read(&headers).map(|p| (p.kind, p.sha256))
        };
        let bearer = ("authorization", format!("Bearer {}", *token.text));
        let cookie = (
            "cookie",
            format!("a=b; __Host-keyreel={}; c=d", *session.text),
        );
        let by_token = Some((CredentialKind::Bearer, token.sha256));
        let by_cookie = Some((CredentialKind::Session, session.sha256));
        assert_eq!(read(&[]), None);
        assert_eq!(read(std::slice::from_ref(&bearer)), by_token);
        assert_eq!(read(std::slice::from_ref(&cookie)), by_cookie);
        assert_eq!(read(&[cookie.clone(), bearer]), by_token);
        assert_eq!(
            read(&[("authorization", format!("bearer {}", *token.text))]),
            by_token
        );
        for bad in ["Basic eA==", "Bearer", "Bearer nonsense"] {
            assert_eq!(
                read(&[("authorization", bad.to_owned()), cookie.clone()]),
                None,
                "{bad}"
            );
        }
        // A token is no session, and a cookie of another name is none of ours.
        assert_eq!(
            read(&[("cookie", format!("__Host-keyreel={}", *token.text))]),
            None
        );
        assert_eq!(
            read(&[("cookie", format!("keyreel={}", *session.text))]),
            None
        );
        assert_eq!(
            read(&[("cookie", format!("x__Host-keyreel={}", *session.text))]),
            None
        );
    }
}
