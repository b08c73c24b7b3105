//! How often somebody may try a password.
//!
//! Each hub counts for itself: with N replicas the bounds are N times as wide, and still far below what guessing
//! needs. Nothing is locked for good: an attacker must not be able to keep a person out.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::problem::{Answer, Problem};

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, MonotonicClock>;

/// After this many attempts, what has recovered is forgotten: memory is bounded by the rate, not by who asks.
const TIDY_AFTER: u32 = 256;

/// Attempts of an account from one network: ten at once, then one in fifteen seconds. Of a network, whatever the
/// account: forty at once, then one in three seconds. Of an account, from wherever: sixty, then one a second.
#[derive(Debug)]
pub struct Limits {
    together: Limiter<(String, IpAddr)>,
    network: Limiter<IpAddr>,
    account: Limiter<String>,
    attempts: AtomicU32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            together: limiter(10, 15),
            network: limiter(40, 3),
            account: limiter(60, 1),
            attempts: AtomicU32::new(0),
        }
    }
}

fn limiter<K: std::hash::Hash + Eq + Clone>(burst: u32, seconds: u64) -> Limiter<K> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota =
        Quota::with_period(Duration::from_secs(seconds)).unwrap_or(Quota::per_second(NonZeroU32::MIN));
    RateLimiter::new(quota.allow_burst(burst), HashMapStateStore::default(), MonotonicClock)
}

impl Limits {
    /// Counts an attempt, or refuses it with the seconds to wait. Whether there is such an account plays no part.
    pub fn attempt(&self, account: &str, from: IpAddr) -> Answer<()> {
        if self.attempts.fetch_add(1, Ordering::Relaxed) % TIDY_AFTER == TIDY_AFTER - 1 {
            self.together.retain_recent();
            self.network.retain_recent();
            self.account.retain_recent();
        }
        // A name of any length would be memory of any size.
        let account: String = account.to_lowercase().chars().take(64).collect();
        let network = network(from);
        check(&self.network, &network)?;
        check(&self.together, &(account.clone(), network))?;
        check(&self.account, &account)
    }
}

fn check<K: std::hash::Hash + Eq + Clone>(limiter: &Limiter<K>, key: &K) -> Answer<()> {
    limiter.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(MonotonicClock.now());
        Problem::too_many(wait.as_secs() + 1)
    })
}

/// Who has one address of version 6 has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_attempt_waits_and_others_do_not() {
        let limits = Limits::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..10).all(|_| limits.attempt("Ada", here).is_ok()));
        let refused = limits.attempt("ada", here).unwrap_err();
        assert!(refused.status == 429 && refused.retry_after.is_some_and(|wait| wait <= 16), "{refused:?}");
        assert!(limits.attempt("grace", here).is_ok());
        assert!(limits.attempt("ada", "192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_network_of_version_6_is_one() {
        let [one, other] = ["2001:db8::1", "2001:db8::ffff:2"].map(|text| network(text.parse().unwrap()));
        assert_eq!(one, other);
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), network("192.0.2.1".parse().unwrap()));
    }
}
