//! `[server]`: addresses.

use std::net::SocketAddr;

use url::Url;

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSettings {
    /// Pages, API and media. Port 0 takes any free one.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Health and metrics. Keep it away from the public; absent: no such listener.
    #[schemars(with = "Option<String>")]
    pub admin_listen: Option<SocketAddr>,
    /// What browsers call this server, where a proxy stands before it:
    /// "https://recordings.example.com". Unsafe requests from another origin are refused. All
    /// connections then have the proxy's address, so failed sign-ins slow down names only: let the
    /// proxy limit what one address may send to /api/v1/session.
    #[schemars(with = "Option<String>")]
    #[serde(with = "url_text")]
    pub public_url: Option<Url>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            public_url: None,
        }
    }
}

/// An absolute http or https URL, as text.
mod url_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Option<Url>, to: S) -> Result<S::Ok, S::Error> {
        url.as_ref().map(Url::as_str).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        let url = Url::parse(&text).map_err(D::Error::custom)?;
        if matches!(url.scheme(), "http" | "https") && url.host().is_some() {
            Ok(Some(url))
        } else {
            Err(D::Error::custom("expected an absolute http or https URL"))
        }
    }
}
