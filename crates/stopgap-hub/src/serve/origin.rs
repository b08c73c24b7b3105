//! Where a request comes from, behind proxies that are trusted to say so: `trusted_proxies` in `hub.toml`.
//!
//! ```toml
//! trusted_proxies = ["10.0.0.5", "192.0.2.0/24"]
//! ```
//!
//! Each such proxy appends to `X-Forwarded-For` who asked it. Read from the end, the first address that is no trusted
//! proxy is where the request comes from: what stands before it was sent by whoever asked, who may write anything.
//! Without such a list the socket's peer counts, and the header is not read.

use std::net::IpAddr;
use std::path::Path;

use http::HeaderMap;
use serde::Deserialize;

const HEADER: &str = "x-forwarded-for";
/// Proxies in a row. Whoever sends more sends rubbish.
const MOST: usize = 16;

/// The proxies that are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

#[derive(Debug, Default, Deserialize)]
struct HubFile {
    #[serde(default)]
    trusted_proxies: Vec<String>,
}

impl Proxies {
    /// From `hub.toml` in the data folder; none where there is no such file. The error is a sentence that names it.
    pub fn load(data: &Path) -> Result<Proxies, String> {
        let path = data.join("hub.toml");
        let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Proxies::default()),
            read => read.map_err(|error| at(&error))?,
        };
        let file: HubFile = toml::from_str(&text).map_err(|error| at(&error))?;
        let networks: Result<Vec<Network>, String> =
            file.trusted_proxies.iter().map(|text| network(text)).collect();
        networks.map(Proxies).map_err(|error| at(&error))
    }

    /// Where a request comes from that came over a socket of `peer`'s.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut from = peer.to_canonical();
        // Several headers are one list, and the last entry is the nearest proxy's.
        let entries = headers.get_all(HEADER).iter().rev();
        let entries = entries.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for entry in entries.take(MOST) {
            if !self.trust(from) {
                break;
            }
            match entry.trim().parse::<IpAddr>() {
                Ok(before) => from = before.to_canonical(),
                Err(_) => break,
            }
        }
        from
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.bits <= common(network.address, address))
    }
}

fn network(text: &str) -> Result<Network, String> {
    let wrong = || format!("trusted_proxies: {text:?} is no network; expected 10.0.0.5 or 10.0.0.0/8");
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let address = address.to_canonical();
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(all), |bits| bits.parse().map_err(|_| wrong()))?;
    if bits == 0 || bits > all {
        return Err(wrong());
    }
    Ok(Network { address, bits })
}

/// Bits that two addresses have in common from the first on; nothing of two kinds.
fn common(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u32::from(one) ^ u32::from(other)).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other)).leading_zeros(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&str]) -> Proxies {
        Proxies(texts.iter().map(|text| network(text).unwrap()).collect())
    }

    fn origin(proxies: &Proxies, peer: &str, sent: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(HEADER, value.parse().unwrap());
        }
        proxies.origin(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn what_a_proxy_says_counts_as_far_as_it_is_trusted() {
        let two = proxies(&["10.0.0.0/8", "2001:db8::5"]);
        for (peer, sent, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.1.2.3", &["198.51.100.7"], "198.51.100.7"),
            // Whoever asks may write the header too: only what a trusted proxy appended counts.
            ("10.1.2.3", &["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
            ("10.1.2.3", &["1.1.1.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
            ("2001:db8::5", &["2001:db8::6"], "2001:db8::6"),
            ("2001:db8::6", &["1.1.1.1"], "2001:db8::6"),
            ("10.1.2.3", &["unknown"], "10.1.2.3"),
        ] {
            assert_eq!(origin(&two, peer, sent), expected, "{peer} {sent:?}");
        }
        assert_eq!(origin(&Proxies::default(), "10.1.2.3", &["1.1.1.1"]), "10.1.2.3");
    }

    #[test]
    fn a_list_that_says_nothing_is_refused() {
        for wrong in ["0.0.0.0/0", "10.0.0.0/33", "proxy.example", "10.0.0.0/x", ""] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
