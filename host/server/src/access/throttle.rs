//! Slows down whoever guesses passwords: by name and by address.
//! Not for: limits on well-behaved traffic.
//!
//! An attempt counts as failed from the moment it begins, so that guesses made at the same time
//! count as well; success takes it back.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyreel_net::network;
use moka::sync::Cache;

use crate::settings::SessionSettings;

/// What is remembered of failures.
pub(crate) struct Throttle {
    names: Cache<String, Arc<Mutex<Failures>>>,
    addresses: Cache<IpAddr, Arc<Mutex<Failures>>>,
    allowed: u32,
    wait: Duration,
}

/// An attempt under way.
pub(crate) struct Attempt {
    name: Option<String>,
    address: Option<IpAddr>,
}

#[derive(Default)]
struct Failures {
    count: u32,
    last_ms: u64,
}

impl Throttle {
    pub(crate) fn new(settings: &SessionSettings) -> Self {
        let remembered = Duration::from_secs(60 * 60);
        Self {
            names: Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(remembered)
                .build(),
            addresses: Cache::builder()
                .max_capacity(100_000)
                .time_to_idle(remembered)
                .build(),
            allowed: settings.failures_before_wait,
            wait: Duration::from_secs(u64::from(settings.wait_seconds)),
        }
    }

    /// Begins an attempt, or says how long to wait. A link has no name, and behind a proxy that
    /// does not say it there is no address.
    pub(crate) fn begin(
        &self,
        name: Option<&str>,
        address: Option<IpAddr>,
        now_ms: u64,
    ) -> Result<Attempt, Duration> {
        let name = name.map(str::to_ascii_lowercase);
        let by_name = match &name {
            Some(name) => self.names.get_with_by_ref(name, Default::default),
            None => Arc::default(),
        };
        let address = address.map(network);
        let by_address = match &address {
            Some(address) => self.addresses.get_with_by_ref(address, Default::default),
            None => Arc::default(),
        };
        let mut of_name = by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_address = by_address.lock().unwrap_or_else(PoisonError::into_inner);
        // Locking somebody else's name out must stay cheap to bear: a minute. Many people may sit
        // behind one address, so it is given more tries, and then a longer wait.
        let name_wait = of_name.wait(self.allowed, self.wait, MAX_NAME_WAIT, now_ms);
        let address_wait = of_address.wait(
            self.allowed.saturating_mul(10),
            self.wait,
            MAX_ADDRESS_WAIT,
            now_ms,
        );
        let wait = name_wait.max(address_wait);
        if !wait.is_zero() {
            return Err(wait);
        }
        of_name.failed(now_ms);
        of_address.failed(now_ms);
        Ok(Attempt { name, address })
    }

    /// The attempt succeeded: the name is clean again, the address has one failure less.
    pub(crate) fn succeeded(&self, attempt: &Attempt) {
        if let Some(name) = &attempt.name {
            self.names.invalidate(name);
        }
        if let Some(address) = &attempt.address
            && let Some(failures) = self.addresses.get(address)
        {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.count = failures.count.saturating_sub(1);
        }
    }
}

impl Failures {
    fn failed(&mut self, now_ms: u64) {
        self.count = self.count.saturating_add(1);
        self.last_ms = now_ms;
    }

    fn wait(&self, allowed: u32, first: Duration, max: Duration, now_ms: u64) -> Duration {
        let Some(over) = self.count.checked_sub(allowed) else {
            return Duration::ZERO;
        };
        let whole = first
            .saturating_mul(2_u32.saturating_pow(over.min(16)))
            .min(max);
        let passed = Duration::from_millis(now_ms.saturating_sub(self.last_ms));
        whole.saturating_sub(passed)
    }
}

const MAX_NAME_WAIT: Duration = Duration::from_secs(60);
const MAX_ADDRESS_WAIT: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::Throttle;
    use crate::settings::SessionSettings;

    fn throttle() -> Throttle {
        let settings = SessionSettings {
            failures_before_wait: 3,
            wait_seconds: 2,
            ..SessionSettings::default()
        };
        Throttle::new(&settings)
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_name_waits_longer_with_each_failure_whatever_the_address() {
        let throttle = throttle();
        for guess in 0..3 {
            assert!(throttle.begin(Some("Maya"), address(guess), 0).is_ok());
        }
        assert_eq!(
            throttle.begin(Some("maya"), address(9), 0).err(),
            Some(Duration::from_secs(2))
        );
        assert_eq!(
            throttle.begin(Some("MAYA"), address(9), 1_500).err(),
            Some(Duration::from_millis(500))
        );
        assert!(throttle.begin(Some("maya"), address(9), 2_000).is_ok());
        assert_eq!(
            throttle.begin(Some("maya"), address(9), 2_000).err(),
            Some(Duration::from_secs(4))
        );
        // Another name is not held up.
        assert!(throttle.begin(Some("tom"), address(9), 2_000).is_ok());
    }

    #[test]
    fn an_address_that_tries_many_names_waits() {
        let throttle = throttle();
        for guess in 0..30 {
            assert!(
                throttle
                    .begin(Some(&format!("name-{guess}")), address(1), 0)
                    .is_ok()
            );
        }
        assert!(throttle.begin(Some("another"), address(1), 0).is_err());
        assert!(throttle.begin(Some("another"), address(2), 0).is_ok());
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let throttle = throttle();
        let address = |text: &str| text.parse::<IpAddr>().ok();
        for guess in 0..30 {
            let from = address(&format!("2001:db8:0:1::{guess:x}"));
            let name = format!("name-{guess}");
            assert!(throttle.begin(Some(&name), from, 0).is_ok());
        }
        let begin = |from| throttle.begin(None, address(from), 0);
        assert!(begin("2001:db8:0:1:ffff::").is_err());
        assert!(begin("2001:db8:0:2::").is_ok());
        assert!(begin("::ffff:192.0.2.1").is_ok());
    }

    #[test]
    fn without_an_address_only_names_wait() {
        let throttle = throttle();
        for guess in 0..100 {
            let name = format!("name-{guess}");
            assert!(throttle.begin(Some(&name), None, 0).is_ok());
        }
        for _ in 0..3 {
            assert!(throttle.begin(Some("maya"), None, 0).is_ok());
        }
        assert!(throttle.begin(Some("maya"), None, 0).is_err());
    }

    #[test]
    fn success_clears_the_name() {
        let throttle = throttle();
        for _ in 0..10 {
            let attempt = throttle.begin(Some("maya"), address(1), 0);
            throttle.succeeded(&attempt.unwrap_or_else(|_| unreachable!()));
        }
    }
}
