//! Whose connections are counted: everybody's but a proxy's, whose connections are many people's.
//! Not for: the counting (see `keyreel_net`).

use std::net::IpAddr;
use std::sync::Arc;

use keyreel_net::Addresses;

use crate::settings::ListenSettings;

/// Counts the connections of one listener, `max` for each address.
pub(super) fn count(max: u32, settings: &ListenSettings) -> Arc<Addresses> {
    let proxies = settings.trusted_proxies.clone();
    // There is a proxy, and nobody said which address is its.
    let unknown = settings.public_url.is_some() && proxies.is_empty();
    Addresses::new(max, move |address: IpAddr| {
        unknown
            || match proxies.as_slice() {
                // Of those on this machine one does not know.
                [] => address.to_canonical().is_loopback(),
                named => named.iter().any(|proxy| proxy.contains(address)),
            }
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::count;
    use crate::settings::ListenSettings;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_proxys_connections_are_not_counted() {
        // One on this machine, perhaps.
        let addresses = count(1, &ListenSettings::default());
        let held: Vec<_> = (0..3)
            .map(|_| addresses.enter(address("127.0.0.1")))
            .collect();
        assert!(held.iter().all(Option::is_some));
        let direct = addresses.enter(address("192.0.2.1"));
        assert!(direct.is_some() && addresses.enter(address("192.0.2.1")).is_none());

        let named = ListenSettings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            public_url: Some("https://keyreel.example".parse().unwrap()),
            ..ListenSettings::default()
        };
        let addresses = count(1, &named);
        let held: Vec<_> = (0..3)
            .map(|_| addresses.enter(address("10.1.1.1")))
            .collect();
        assert!(held.iter().all(Option::is_some));
        let direct = addresses.enter(address("192.0.2.1"));
        assert!(direct.is_some() && addresses.enter(address("192.0.2.1")).is_none());

        let unnamed = ListenSettings {
            trusted_proxies: Vec::new(),
            ..named
        };
        let addresses = count(1, &unnamed);
        let held: Vec<_> = (0..3)
            .map(|_| addresses.enter(address("10.1.1.1")))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }
}
