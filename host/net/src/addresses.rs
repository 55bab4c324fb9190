//! How many connections each address has open, so that one of them cannot take all there are.
//! Not for: what is sent over them.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections of one listener.
pub struct Addresses {
    open: Mutex<HashMap<IpAddr, u32>>,
    max: u32,
    uncounted: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

/// A connection that has its place, until it is dropped.
#[derive(Debug)]
pub struct Counted {
    of: Option<(Arc<Addresses>, IpAddr)>,
}

impl Addresses {
    /// `max` connections for each address, but for those that are `uncounted`: proxies, whose
    /// connections are many people's.
    pub fn new(max: u32, uncounted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            max,
            uncounted: Box::new(uncounted),
        })
    }

    /// A place for one more connection from `address`; `None` where it has as many as it may.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        if (self.uncounted)(address) {
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

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses")
            .field("max", &self.max)
            .finish_non_exhaustive()
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

/// Whose address it is: one site is given a /64 and picks addresses out of it as it likes.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::new(2, |address| address.is_loopback());
        let enter = |text: &str| addresses.enter(text.parse().unwrap());
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
        let uncounted: Vec<_> = (0..3).map(|_| enter("127.0.0.1")).collect();
        assert!(uncounted.iter().all(Option::is_some));
        drop((second, third, held));
        assert!(addresses.open.lock().unwrap().is_empty(), "nothing is kept");
    }
}
