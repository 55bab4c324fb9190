//! URLs of key services: a strict subset, so that what is signed, what is granted and what is
//! connected to cannot be read in different ways.
//! Not for: relative references, normalising, other schemes.

use std::fmt;

const MAX_URL: usize = 2048;

/// "http" or "https".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// "http" or "https".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An absolute URL without user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
}

/// Why a text is not a URL that a key service can have. Reads on after "the URL".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// Longer than 2,048 bytes.
    Length,
    /// Characters that RFC 3986 does not know, blanks and backslashes among them.
    Characters,
    /// Neither "https://" nor "http://".
    Scheme,
    /// A name or password before "@".
    UserInformation,
    /// A "#".
    Fragment,
    /// No host, or one that is none.
    Host,
    /// A port that is none.
    Port,
    /// A path that begins with "//" or has a segment "." or "..".
    Path,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "is longer than 2048 characters",
            Self::Characters => "has characters that must be percent-encoded",
            Self::Scheme => "begins with neither https:// nor http://",
            Self::UserInformation => "holds a user name or password",
            Self::Fragment => "holds a fragment (#)",
            Self::Host => "has no valid host",
            Self::Port => "has no valid port",
            Self::Path => "has a path with // at its beginning, or with . or .. in it",
        })
    }
}

impl std::error::Error for InvalidUrl {}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is none, or none of this subset.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > MAX_URL {
            return Err(InvalidUrl::Length);
        }
        let (scheme, rest) = scheme(text)?;
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        if !rest.bytes().all(known) {
            return Err(InvalidUrl::Characters);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = authority_parts(authority, scheme)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        if path.starts_with("//") || path.split('/').any(|part| part == "." || part == "..") {
            return Err(InvalidUrl::Path);
        }
        Ok(Self {
            scheme,
            host,
            port,
            path: path.to_owned(),
            query,
        })
    }

    /// Its scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host in lower case; an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port, given or by default.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its path, which begins with "/".
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows "?".
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Path and query, as they are sent.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Host, and port unless it is the scheme's own: what `Host` says.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Scheme and authority (RFC 6454): what [`Validated::outbound`](crate::Validated) lists.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority())
    }

    /// Whether its host names this machine: "localhost", 127.0.0.0/8 or ::1 by their usual
    /// spelling. For advice to administrators; what is connected to, the host decides.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path_and_query())
    }
}

fn scheme(text: &str) -> Result<(Scheme, &str), InvalidUrl> {
    let (name, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
    if name.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if name.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err(InvalidUrl::Scheme)
    }
}

/// RFC 3986: unreserved, gen-delims but "#", sub-delims, "%".
fn known(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte)
}

fn authority_parts(authority: &str, scheme: Scheme) -> Result<(String, u16), InvalidUrl> {
    if authority.contains('@') {
        return Err(InvalidUrl::UserInformation);
    }
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(InvalidUrl::Host)?;
        let (host, port) = authority.split_at(end + 1);
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(InvalidUrl::Host);
        }
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err(InvalidUrl::Port),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (named(host)?, Some(port)),
            None => (named(authority)?, None),
        }
    };
    let port = match port {
        None => scheme.default_port(),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            match digits.parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => return Err(InvalidUrl::Port),
            }
        }
        Some(_) => return Err(InvalidUrl::Port),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// A name of letters, digits and hyphens, or an IPv4 address.
fn named(host: &str) -> Result<&str, InvalidUrl> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    if host.len() <= 253 && labels.split('.').all(label) {
        Ok(host)
    } else {
        Err(InvalidUrl::Host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_it_apart() {
        let url = Url::parse("HTTPS://Keys.Example.com:8443/lkm/decrypt?decryptType=x").unwrap();
        assert_eq!(url.host(), "keys.example.com");
        assert_eq!(url.port(), 8443);
        assert_eq!(url.path(), "/lkm/decrypt");
        assert_eq!(url.query(), Some("decryptType=x"));
        assert_eq!(url.origin(), "https://keys.example.com:8443");
        assert_eq!(
            url.to_string(),
            "https://keys.example.com:8443/lkm/decrypt?decryptType=x"
        );
    }

    #[test]
    fn leaves_out_the_default_port() {
        for (text, origin, port) in [
            ("https://a.example", "https://a.example", 443),
            ("https://a.example:443/x", "https://a.example", 443),
            ("http://127.0.0.1:80", "http://127.0.0.1", 80),
            ("http://[::1]:9000/x", "http://[::1]:9000", 9000),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.origin().as_str(), url.port()), (origin, port));
        }
    }

    #[test]
    fn knows_this_machine() {
        let loopback = |text| Url::parse(text).unwrap().is_loopback();
        for text in [
            "http://localhost",
            "http://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]",
        ] {
            assert!(loopback(text), "{text}");
        }
        for text in [
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://[::2]",
        ] {
            assert!(!loopback(text), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        use InvalidUrl as I;
        for (text, why) in [
            ("ftp://a.example/", I::Scheme),
            ("a.example/x", I::Scheme),
            ("https://user@a.example/", I::UserInformation),
            ("https://a.example@b.example/", I::UserInformation),
            ("https://a.example/#x", I::Fragment),
            ("https://a.example\\@b.example/", I::Characters),
            ("https://a.example/a b", I::Characters),
            ("https://bücher.example/", I::Characters),
            ("https:///x", I::Host),
            ("https://a..example/", I::Host),
            ("https://a%2eexample/", I::Host),
            ("https://[::1/", I::Host),
            ("https://[1.2.3.4]/", I::Host),
            ("https://a.example:0/", I::Port),
            ("https://a.example:65536/", I::Port),
            ("https://a.example:+80/", I::Port),
            ("https://a.example:/", I::Port),
            ("https://[::1]80/", I::Port),
            ("https://a.example//b.example/", I::Path),
            ("https://a.example/x/../y", I::Path),
        ] {
            assert_eq!(Url::parse(text), Err(why), "{text}");
        }
        let long = format!("https://a.example/{}", "x".repeat(2048));
        assert_eq!(Url::parse(&long), Err(I::Length));
    }
}
