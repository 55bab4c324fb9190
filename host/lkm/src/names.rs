//! What a Local Key Manager is called. Clients sign host and port, so it must know both for itself:
//! a request that was signed for somebody else's host, and handed on by them, is none for here.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use url::Url;

/// Host and port, as clients sign them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// In lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Names {
    /// By its public URL. What a proxy put into `Host` does not matter.
    Public(Name),
    /// By the loopback address that it listens on, and by the names of this machine for that.
    Here(SocketAddr),
}

impl Names {
    /// Of a server that listens on `address`.
    pub(crate) fn new(public_url: Option<&Url>, address: SocketAddr) -> Self {
        let public = public_url.and_then(|url| {
            Some(Name {
                host: url.host_str()?.to_ascii_lowercase(),
                port: url.port_or_known_default()?,
            })
        });
        public.map_or(Self::Here(address), Self::Public)
    }

    /// What a client has signed that sent this `Host`; `None` where that is somebody else's.
    pub(crate) fn signed(&self, asked: &Authority, default_port: u16) -> Option<Name> {
        let address = match self {
            Self::Public(name) => return Some(name.clone()),
            Self::Here(address) => address,
        };
        let name = Name {
            host: asked.host().to_ascii_lowercase(),
            port: asked.port_u16().unwrap_or(default_port),
        };
        let plain = name.host.trim_start_matches('[').trim_end_matches(']');
        // RFC 6761, 6.3: these are loopback addresses everywhere.
        let local = plain == "localhost" || plain.ends_with(".localhost");
        let own = local || plain.parse::<IpAddr>().is_ok_and(|ip| ip == address.ip());
        (own && name.port == address.port()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(names: &Names, host: &str) -> Option<String> {
        let authority = host.parse().unwrap();
        let name = names.signed(&authority, 80)?;
        Some(format!("{}:{}", name.host, name.port))
    }

    #[test]
    fn without_a_public_url_only_this_machine_is_meant() {
        let names = Names::new(None, "127.0.0.1:8443".parse().unwrap());
        for (host, expected) in [
            ("127.0.0.1:8443", Some("127.0.0.1:8443")),
            ("LocalHost:8443", Some("localhost:8443")),
            ("keys.localhost:8443", Some("keys.localhost:8443")),
            ("127.0.0.1", None),
            ("127.0.0.1:8444", None),
            ("127.0.0.2:8443", None),
            ("evil.example:8443", None),
            ("localhost.evil.example:8443", None),
            ("notlocalhost:8443", None),
            ("[::1]:8443", None),
        ] {
            assert_eq!(signed(&names, host).as_deref(), expected, "{host}");
        }
        let six = Names::new(None, "[::1]:80".parse().unwrap());
        assert_eq!(signed(&six, "[::1]").as_deref(), Some("[::1]:80"));
    }

    #[test]
    fn with_one_it_is_meant_whatever_a_proxy_says() {
        let url = "https://Keys.example".parse().unwrap();
        let names = Names::new(Some(&url), "127.0.0.1:8443".parse().unwrap());
        let expected = Some("keys.example:443");
        assert_eq!(signed(&names, "127.0.0.1:8443").as_deref(), expected);
        assert_eq!(signed(&names, "evil.example").as_deref(), expected);
    }
}
