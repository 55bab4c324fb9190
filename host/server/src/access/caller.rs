//! The address that a request came from: the connection's, or behind a proxy what that says of it.
//! Not for: who asks (see `access`). Addresses only slow guessing down and stand in the audit log.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::connection::Peer;
use crate::problem::Problem;
use crate::settings::{ForwardedHeader, ListenSettings};
use crate::state::App;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    peer: IpAddr,
    own: Option<IpAddr>,
}

impl Caller {
    /// The caller's own address; `None` where only a proxy's is known, the same for everybody.
    pub(crate) fn own(self) -> Option<IpAddr> {
        self.own
    }

    /// The nearest that is known of where it came from.
    pub(crate) fn nearest(self) -> IpAddr {
        self.own.unwrap_or(self.peer)
    }

    fn of(peer: IpAddr, headers: &HeaderMap, settings: &ListenSettings) -> Self {
        let own = match is_proxy(peer, settings) {
            // A proxy that was not named: all that is known is that there is one.
            false if settings.trusted_proxies.is_empty() && settings.public_url.is_some() => None,
            false => Some(peer),
            true => forwarded_for(headers, settings),
        };
        Self { peer, own }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer = Peer::from_request_parts(parts, app).await?;
        let settings = &app.settings().server;
        Ok(Self::of(peer.address(), &parts.headers, settings))
    }
}

fn is_proxy(address: IpAddr, settings: &ListenSettings) -> bool {
    let proxies = &settings.trusted_proxies;
    proxies.iter().any(|network| network.contains(address))
}

/// The last address in the header that is no proxy of ours: what stands before it anybody may have
/// written.
fn forwarded_for(headers: &HeaderMap, settings: &ListenSettings) -> Option<IpAddr> {
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match settings.forwarded_header {
        ForwardedHeader::XForwardedFor => ("x-forwarded-for", address),
        ForwardedHeader::Forwarded => ("forwarded", for_parameter),
    };
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    let mut farthest = None;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // What cannot be read ("unknown", "_hidden") came from the last one that could.
        let Some(address) = read(hop.trim()) else {
            break;
        };
        farthest = Some(address);
        if !is_proxy(address, settings) {
            break;
        }
    }
    farthest
}

/// `for=…` of one element (RFC 7239, section 4). A quoted string here never has a comma in it.
fn for_parameter(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| address(value))?
    })
}

/// An address, perhaps with a port: "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80".
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => host,
            _ => text,
        },
    };
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::{HeaderMap, HeaderValue};

    use super::Caller;
    use crate::settings::{ForwardedHeader, ListenSettings};

    type Headers<'a> = &'a [(&'static str, &'static str)];

    fn settings(proxies: &[&str], header: ForwardedHeader) -> ListenSettings {
        ListenSettings {
            trusted_proxies: proxies.iter().map(|text| text.parse().unwrap()).collect(),
            forwarded_header: header,
            public_url: Some("https://keyreel.example".parse().unwrap()),
            ..ListenSettings::default()
        }
    }

    fn own(settings: &ListenSettings, peer: &str, headers: Headers<'_>) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let caller = Caller::of(peer.parse().unwrap(), &map, settings);
        caller.own().map(|address: IpAddr| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_of_what_it_saw() {
        let settings = settings(&["127.0.0.1", "10.0.0.0/8"], ForwardedHeader::XForwardedFor);
        let xff = |value| [("x-forwarded-for", value)];
        let table: [(&str, Headers<'_>, Option<&str>); 12] = [
            ("127.0.0.1", &xff("192.0.2.1"), Some("192.0.2.1")),
            // What a client wrote stands before what the proxy did.
            (
                "127.0.0.1",
                &xff("198.51.100.9, 192.0.2.1"),
                Some("192.0.2.1"),
            ),
            (
                "127.0.0.1",
                &xff("198.51.100.9, 192.0.2.1, 10.1.2.3"),
                Some("192.0.2.1"),
            ),
            (
                "127.0.0.1",
                &[
                    ("x-forwarded-for", "198.51.100.9"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                Some("192.0.2.1"),
            ),
            // All of them proxies: the farthest.
            ("127.0.0.1", &xff("10.9.9.9, 10.1.2.3"), Some("10.9.9.9")),
            ("127.0.0.1", &xff("192.0.2.1, nonsense"), None),
            ("127.0.0.1", &xff("nonsense, 10.1.2.3"), Some("10.1.2.3")),
            ("127.0.0.1", &xff("192.0.2.1:4711"), Some("192.0.2.1")),
            ("127.0.0.1", &xff("[2001:db8::1]:4711"), Some("2001:db8::1")),
            ("127.0.0.1", &[], None),
            // The other header is whatever the client made of it.
            ("127.0.0.1", &[("forwarded", "for=192.0.2.1")], None),
            // Nobody that was named as a proxy.
            ("203.0.113.5", &xff("192.0.2.1"), Some("203.0.113.5")),
        ];
        for (peer, headers, expected) in table {
            let found = own(&settings, peer, headers);
            assert_eq!(found.as_deref(), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_standard_header_where_it_is_chosen() {
        let settings = settings(&["127.0.0.1", "::1"], ForwardedHeader::Forwarded);
        for (value, expected) in [
            ("for=192.0.2.1;proto=https", Some("192.0.2.1")),
            ("For=\"[2001:db8::1]:4711\"", Some("2001:db8::1")),
            (
                "for=198.51.100.9, proto=https;for=192.0.2.1",
                Some("192.0.2.1"),
            ),
            ("for=192.0.2.1, for=\"[::1]\"", Some("192.0.2.1")),
            ("for=unknown", None),
            ("proto=https", None),
        ] {
            let headers = [("forwarded", value), ("x-forwarded-for", "203.0.113.1")];
            assert_eq!(
                own(&settings, "::1", &headers).as_deref(),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn without_a_proxy_that_was_named_nobody_is_believed() {
        let mut settings = settings(&[], ForwardedHeader::XForwardedFor);
        let headers = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(own(&settings, "127.0.0.1", &headers), None, "some proxy's");
        settings.public_url = None;
        let found = own(&settings, "127.0.0.1", &headers);
        assert_eq!(found.as_deref(), Some("127.0.0.1"), "no proxy at all");
    }
}
