//! How many connections each address has open, so that one of them cannot take all there are.
//! Not for: how often it guesses passwords (see `access::throttle`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::throttle::network;
use crate::settings::{ListenSettings, Network};

/// Counts the connections of one listener.
pub(super) struct Addresses {
    open: Mutex<HashMap<IpAddr, u32>>,
    max: u32,
    /// Whose connections are many people's.
    proxies: Vec<Network>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Addresses,
    /// There is a proxy, and nobody said which address is its.
    Nothing,
}

/// A connection that has its place.
pub(super) struct Counted {
    of: Option<(Arc<Addresses>, IpAddr)>,
}

impl Addresses {
    pub(super) fn new(max: u32, settings: &ListenSettings) -> Arc<Self> {
        let unknown = settings.public_url.is_some() && settings.trusted_proxies.is_empty();
        Arc::new(Self {
            open: Mutex::default(),
            max,
            proxies: settings.trusted_proxies.clone(),
            counts: if unknown {
                Counts::Nothing
            } else {
                Counts::Addresses
            },
        })
    }

    /// A place for one more connection from `address`; `None` where it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let is_proxy = match self.proxies.as_slice() {
            // Of those on this machine one does not know.
            [] => address.to_canonical().is_loopback(),
            named => named.iter().any(|proxy| proxy.contains(address)),
        };
        if is_proxy || self.counts == Counts::Nothing {
            return Some(Counted { of: None });
        }
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Counted {
            of: Some((self.clone(), address)),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((addresses, address)) = &self.of else {
            return;
        };
        let mut open = addresses
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Addresses;
    use crate::settings::ListenSettings;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::new(2, &ListenSettings::default());
        let enter = |text| addresses.enter(address(text));
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some(), "another's");
        drop(first);
        let third = enter("192.0.2.1");
        assert!(third.is_some() && enter("192.0.2.1").is_none());
        // One site's network.
        let held = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(held.iter().all(Option::is_some) && enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        // A proxy on this machine, perhaps.
        let local: Vec<_> = (0..3).map(|_| enter("127.0.0.1")).collect();
        assert!(local.iter().all(Option::is_some));
        drop((second, third, held));
        assert!(addresses.open.lock().unwrap().is_empty(), "nothing is kept");
    }

    #[test]
    fn a_proxys_connections_are_not_counted() {
        let named = ListenSettings {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            public_url: Some("https://keyreel.example".parse().unwrap()),
            ..ListenSettings::default()
        };
        let addresses = Addresses::new(1, &named);
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
        let addresses = Addresses::new(1, &unnamed);
        let held: Vec<_> = (0..3)
            .map(|_| addresses.enter(address("10.1.1.1")))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }
}
