//! Origins (RFC 6454) in one spelling only, and the operator's grants of them. What could be read
//! in two ways, by us and by a resolver, a proxy or a server, is no origin.
//! Not for: paths and headers (see `request`), addresses behind names (see `address`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::SandboxError;

/// "http" or "https".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// A name or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// In lower case, in ASCII, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// One grant of an operator: which origins, and what goes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginGrant {
    scheme: Scheme,
    host: HostPattern,
    port: PortPattern,
    pub(crate) private_addresses: bool,
    pub(crate) sign: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exactly(Host),
    /// Labels from the left. A `*` at the beginning stands for one label or more, elsewhere for
    /// one.
    Labels(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortPattern {
    Exactly(u16),
    Any,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// Reads "https://host" or "https://host:port", and nothing behind it.
    ///
    /// # Errors
    /// What is wrong with it, to be read after "the origin".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, authority) = split_scheme(text)?;
        Self::from_authority(scheme, authority)
    }

    /// From what a request names.
    pub(crate) fn from_authority(scheme: Scheme, authority: &str) -> Result<Self, &'static str> {
        let (host, port) = split_port(authority)?;
        Ok(Self {
            scheme,
            host: Host::parse(host)?,
            port: port.map_or(Ok(scheme.default_port()), parse_port)?,
        })
    }

    /// What `Host` says: the port only where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner
                .strip_suffix(']')
                .ok_or("has a bracket that does not close")?;
            let address: Ipv6Addr = inner
                .parse()
                .map_err(|_| "has brackets around what is no IPv6 address")?;
            if address.to_ipv4_mapped().is_some() {
                return Err("hides an IPv4 address in an IPv6 address");
            }
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.to_ascii_lowercase();
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(
                "has a host that is neither a name (in ASCII, without a dot at its end) \
                        nor an address",
            );
        }
        // 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 are addresses to some and names to others.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err("has a host that some would read as an IPv4 address: write it as a.b.c.d");
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl OriginGrant {
    /// Reads a grant: an origin ("https://keys.example.com:8443"), or one with wildcards. A `*` as
    /// the first label stands for one label or more ("https://*", "https://*.example.com"),
    /// elsewhere for exactly one ("https://kms.*.amazonaws.com"), and as the port for any
    /// ("https://*:*"). Wildcards stand for no address, and "http://" takes none. Public addresses
    /// only, and no signing, unless more is said.
    ///
    /// # Errors
    /// It is no grant, and why.
    pub fn parse(text: &str) -> Result<Self, SandboxError> {
        let refused = |reason: &str| SandboxError::Grant {
            grant: crate::text::sanitised(text, 200),
            reason: reason.to_owned(),
        };
        let (scheme, authority) = split_scheme(text).map_err(refused)?;
        if !authority.contains('*') {
            let origin = Origin::from_authority(scheme, authority).map_err(refused)?;
            return Ok(Self {
                scheme,
                host: HostPattern::Exactly(origin.host),
                port: PortPattern::Exactly(origin.port),
                private_addresses: false,
                sign: false,
            });
        }
        if scheme == Scheme::Http {
            return Err(refused(
                "grants unprotected HTTP by wildcard: name the origin",
            ));
        }
        let (host, port) = split_port(authority).map_err(refused)?;
        let port = match port {
            None => PortPattern::Exactly(scheme.default_port()),
            Some("*") => PortPattern::Any,
            Some(digits) => PortPattern::Exactly(parse_port(digits).map_err(refused)?),
        };
        let host = if host.contains('*') {
            let host = host.to_ascii_lowercase();
            if host.len() > 253 || !host.split('.').all(|label| label == "*" || is_label(label)) {
                return Err(refused("has a * that is not a whole label, or no host"));
            }
            HostPattern::Labels(host.split('.').map(str::to_owned).collect())
        } else {
            HostPattern::Exactly(Host::parse(host).map_err(refused)?)
        };
        Ok(Self {
            scheme,
            host,
            port,
            private_addresses: false,
            sign: false,
        })
    }

    /// Private, loopback and link-local addresses too.
    #[must_use]
    pub fn with_private_addresses(mut self) -> Self {
        self.private_addresses = true;
        self
    }

    /// Every request is signed by the host with its AWS credentials (SigV4), and none goes out
    /// unsigned.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.sign = true;
        self
    }

    /// Whether `origin` is granted.
    #[must_use]
    pub fn covers(&self, origin: &Origin) -> bool {
        let port = match self.port {
            PortPattern::Any => true,
            PortPattern::Exactly(port) => port == origin.port,
        };
        let host = match (&self.host, &origin.host) {
            (HostPattern::Exactly(granted), host) => granted == host,
            (HostPattern::Labels(pattern), Host::Name(name)) => labels_match(pattern, name),
            (HostPattern::Labels(_), Host::Address(_)) => false,
        };
        self.scheme == origin.scheme && port && host
    }
}

fn labels_match(pattern: &[String], name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let (begin, rest) = match pattern.split_first() {
        // At least one label is the star's; what is left over beyond the others is too.
        Some((first, rest)) if first == "*" => (labels.len().saturating_sub(rest.len()), rest),
        _ => (0, pattern),
    };
    let star = pattern.len() - rest.len();
    let Some(tail) = labels.get(begin..) else {
        return false;
    };
    begin >= star
        && tail.len() == rest.len()
        && tail
            .iter()
            .zip(rest)
            .all(|(label, expected)| expected == "*" || expected == label)
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("does not begin with https:// or http://")?;
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err("does not begin with https:// or http://")
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if authority.contains('@') {
        return Err("holds a user name");
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err("has something behind its host and port");
    }
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    let (address, rest) = authority.split_at(after_address);
    match rest.split_once(':') {
        Some((host, port)) if address.is_empty() => Ok((host, Some(port))),
        Some(("", port)) => Ok((address, Some(port))),
        Some(_) => Err("has something between its address and its port"),
        None => Ok((authority, None)),
    }
}

/// 1 to 65535, in digits, without zeros before it.
fn parse_port(text: &str) -> Result<u16, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or("has a port that is not one of 1 to 65535")
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What the WHATWG's URL standard, and `inet_aton`, would take for a part of an IPv4 address.
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, expected) in [
            ("https://Keys.Example.COM", "https://keys.example.com"),
            ("https://keys.example.com:443", "https://keys.example.com"),
            ("HTTP://localhost:80", "http://localhost"),
            ("https://a.example:8443", "https://a.example:8443"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("https://[2600:0::0:1]:443", "https://[2600::1]"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
            ),
            ("https://0x7f.example", "https://0x7f.example"),
        ] {
            assert_eq!(
                Origin::parse(text).map(|o| o.to_string()).as_deref(),
                Ok(expected)
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_none() {
        for text in [
            "keys.example.com",
            "ftp://keys.example.com",
            "https://",
            "https://:443",
            "https://user@keys.example.com",
            "https://user:password@keys.example.com",
            "https://keys.example.com/",
            "https://keys.example.com?x",
            "https://keys.example.com#x",
            "https://keys.example.com\\@evil.example",
            "https://keys.example.com.",
            "https://keys..example.com",
            "https://-keys.example.com",
            "https://keys_1.example.com",
            "https://bücher.example",
            "https://keys%2eexample.com",
            "https://keys.example.com:",
            "https://keys.example.com:0",
            "https://keys.example.com:080",
            "https://keys.example.com:+80",
            "https://keys.example.com:65536",
            "https://keys.example.com:80:80",
            "https://2130706433",
            "https://0x7f000001",
            "https://0177.0.0.1",
            "https://0x7f.0.0.1",
            "https://127.1",
            "https://127.0.0.1.",
            "https://127.0.0.0x1",
            "https://1.2.3.4.5",
            "https://256.0.0.1",
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:7f00:1]",
            "https://[::1",
            "https://[::1]x",
            "https://[::1]x:80",
            "https://[127.0.0.1]",
            "https://[fe80::1%25eth0]",
            "https://keys.example.com ",
            "https://keys.example.com\n",
        ] {
            assert!(Origin::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn grants_cover_what_they_say() {
        for (grant, origin, covered) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://A.EXAMPLE:443", true),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://b.a.example", false),
            ("https://a.example:*", "https://a.example:8443", true),
            ("https://*", "https://a.example", true),
            ("https://*", "https://a.b.example", true),
            ("https://*", "https://a.example:8443", false),
            ("https://*:*", "https://a.example:8443", true),
            ("https://*:8443", "https://a.example:8443", true),
            ("https://*", "https://1.1.1.1", false),
            ("https://*", "https://[2600::1]", false),
            ("https://*", "http://a.example", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://badexample.com", false),
            (
                "https://*.example.com",
                "https://a.example.com.evil.example",
                false,
            ),
            (
                "https://kms.*.amazonaws.com",
                "https://kms.eu-central-1.amazonaws.com",
                true,
            ),
            (
                "https://kms.*.amazonaws.com",
                "https://kms.x.s3.eu-west-1.amazonaws.com",
                false,
            ),
            (
                "https://kms.*.amazonaws.com",
                "https://kms.amazonaws.com",
                false,
            ),
            (
                "https://kms.*.amazonaws.com",
                "https://s3.eu-central-1.amazonaws.com",
                false,
            ),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000", true),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9001", false),
            ("http://127.0.0.1:9000", "http://localhost:9000", false),
        ] {
            let granted = OriginGrant::parse(grant).unwrap();
            let asked = Origin::parse(origin).unwrap();
            assert_eq!(granted.covers(&asked), covered, "{grant} {origin}");
        }
    }

    #[test]
    fn a_grant_that_is_none_says_why() {
        for (text, says) in [
            ("kms.example.com", "begin with https://"),
            ("http://*", "unprotected HTTP by wildcard"),
            ("http://a.example:*", "unprotected HTTP by wildcard"),
            ("https://kms*.example.com", "not a whole label"),
            ("https://*/", "behind its host"),
            ("https://a.example/path", "behind its host"),
            ("https://user@*", "a user name"),
            ("https://*:99999", "a port"),
        ] {
            let error = OriginGrant::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains(text),
                "{text}: {error}"
            );
        }
    }
}
