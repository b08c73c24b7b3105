//! Which addresses are of the internet, and who says what a name's addresses are.
//!
//! Somebody else's server may send the agent on, but not to what only this machine or its network can
//! reach: a machine's own services, a cloud's metadata, a printer. A name is judged by the addresses
//! that are then connected to, in the resolver, so that a name which answers differently the second
//! time gains nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::failure::Private;

/// Whether an address is of the internet: not private, not this machine's or its neighborhood's, no
/// group, and none that stands for such a one (IANA special-purpose registries, RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, RFC 6598.
        || (a == 100 && (64..128).contains(&b))
        // IETF protocol assignments, RFC 6890; benchmarks, RFC 2544.
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && matches!(b, 18 | 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        // Mapped (RFC 4291), IPv4-compatible, loopback, unspecified.
        (0, 0) if (c, d, e) == (0, 0, 0) && matches!(f, 0 | 0xffff) => v4(g, h),
        // NAT64 (RFC 6052); its local prefix (RFC 8215) says nothing about where it ends.
        (0x64, 0xff9b) => (c, d, e, f) == (0, 0, 0, 0) && v4(g, h),
        // 6to4 (RFC 3056), Teredo (RFC 4380).
        (0x2002, _) => v4(b, c),
        (0x2001, 0) => false,
        // Global unicast is 2000::/3 (RFC 4291); all else is unique-local, link-local, a group or unassigned.
        _ => a & 0xe000 == 0x2000,
    }
}

/// Says which addresses a name has; blocking.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The system's own.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

/// Where requests may go, as far as that is asked.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) is_public: fn(IpAddr) -> bool,
    pub(super) lookup: Lookup,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reach")
    }
}

impl Reach {
    /// Whether the address itself says that it is not of the internet. A name says so only if it is
    /// one of this machine (RFC 6761).
    pub(super) fn is_private(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(address)) => !(self.is_public)(address.into()),
            Some(Host::Ipv6(address)) => !(self.is_public)(address.into()),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
            None => false,
        }
    }
}

/// Resolves names for one client.
pub(super) struct Names {
    pub(super) reach: Reach,
    /// Only addresses of the internet are handed out.
    pub(super) public_only: bool,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let Reach { is_public, lookup } = self.reach.clone();
        let public_only = self.public_only;
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let asked = name.clone();
            let found = tokio::task::spawn_blocking(move || lookup(&asked)).await??;
            let allowed: Vec<SocketAddr> = found
                .iter()
                .filter(|address| !public_only || is_public(**address))
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            if allowed.is_empty() && !found.is_empty() {
                let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
                return Err(Private { name, found: found.join(", ") }.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_internet_is_known_however_it_is_written() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.1",
            "198.18.0.1",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2001:0:808:808::1",
            "4000::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
