//! Places for connections: so many in all, and so many of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places, and who has how many of them.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    of: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address: usize,
}

/// A place among all, not yet somebody's. `None`: nobody counts them any more.
pub(crate) type Room = Option<OwnedSemaphorePermit>;

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _room: Room,
    of: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Places {
    pub(crate) fn new(all: usize, per_address: usize) -> Places {
        let all = Arc::new(Semaphore::new(all.clamp(1, Semaphore::MAX_PERMITS)));
        Places { all, of: Arc::default(), per_address: per_address.max(1) }
    }

    /// Waits until there is one.
    pub(crate) async fn room(&self) -> Room {
        // The semaphore is never closed.
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Gives it to an address; `None`: that one has as many as it may.
    pub(crate) fn take(&self, room: Room, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let has = of.entry(address).or_default();
        if *has >= self.per_address {
            return None;
        }
        *has += 1;
        drop(of);
        Some(Place { _room: room, of: Arc::clone(&self.of), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = of.get_mut(&self.address) {
            *has = has.saturating_sub(1);
            if *has == 0 {
                of.remove(&self.address);
            }
        }
    }
}

/// Whoever has an IPv6 address has a /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Places, address: &str) -> Option<Place> {
        places.take(places.room().await, address.parse().unwrap())
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_gives_it_back() {
        let places = Places::new(10, 2);
        let one = take(&places, "192.0.2.1").await.unwrap();
        let _two = take(&places, "::ffff:192.0.2.1").await.unwrap();
        assert!(take(&places, "192.0.2.1").await.is_none());
        assert!(take(&places, "192.0.2.2").await.is_some());
        drop(one);
        assert!(take(&places, "192.0.2.1").await.is_some());
        assert_eq!(places.of.lock().unwrap().len(), 1, "who is gone is forgotten");
        assert_eq!(places.all.available_permits(), 9);
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_address() {
        let places = Places::new(10, 1);
        let _one = take(&places, "2001:db8::1").await.unwrap();
        assert!(take(&places, "2001:db8::2").await.is_none());
        assert!(take(&places, "2001:db8:0:1::1").await.is_some());
    }
}
