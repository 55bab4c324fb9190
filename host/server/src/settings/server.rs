//! `[server]`: addresses.

use std::net::SocketAddr;

use url::Url;

use super::network::Network;

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
    /// "https://recordings.example.com". Unsafe requests from another origin are refused. Unless
    /// `trusted_proxies` says which connections are the proxy's, failed sign-ins then slow down
    /// names only, and no limit counts by address.
    #[schemars(with = "Option<String>")]
    #[serde(with = "url_text")]
    pub public_url: Option<Url>,
    /// The proxies before this server, as addresses or networks: ["127.0.0.1", "10.0.0.0/8"]. Only
    /// what they say of where a request came from is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Network>,
    /// The header in which the trusted proxies say so. The other is ignored: a proxy that sets one
    /// passes on whatever a client wrote into the other.
    pub forwarded_header: ForwardedHeader,
}

/// A header that says where a request came from.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, as most proxies have it.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            public_url: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
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
