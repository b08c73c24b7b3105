//! Sockets and sites: which addresses are opened, and which site a request on one of them is for, by the bindings of
//! the sites. As http.sys does it, a binding with the request's host name comes before one with a wildcard
//! (`*.example.org`), and that before one without a name.
//!
//! Not in here: TLS, so `https` bindings are served where the caller says, in the clear.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stopgap_iis::{Binding, Site};

use super::model::Model;
use super::{IisError, Served};

/// What stands behind a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// These sites, whatever port and address their bindings have.
    Sites(Vec<String>),
    /// The sites with an HTTP binding for it.
    Bindings,
}

/// A socket to open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) address: SocketAddr,
    /// For whom, in words.
    pub(super) sites: String,
    pub(super) door: Door,
}

/// `address:port:host` of a binding.
#[derive(Debug, PartialEq, Eq)]
struct Parsed<'b> {
    /// Nothing: every one.
    ip: Option<IpAddr>,
    port: u16,
    host: &'b str,
    https: bool,
}

impl Parsed<'_> {
    /// Nothing for bindings that are not HTTP, or name no port.
    fn of(binding: &Binding) -> Option<Parsed<'_>> {
        let https = binding.protocol.eq_ignore_ascii_case("https");
        if !https && !binding.protocol.eq_ignore_ascii_case("http") {
            return None;
        }
        let mut parts = binding.information.rsplitn(3, ':');
        let (host, port, ip) = (parts.next()?, parts.next()?, parts.next()?);
        let ip = match ip.trim_start_matches('[').trim_end_matches(']') {
            "" | "*" => None,
            ip => Some(ip.parse().ok()?),
        };
        Some(Parsed { ip, port: port.parse().ok().filter(|port| *port > 0)?, host, https })
    }

    /// How well a request's host name fits; less is better.
    fn fit(&self, host: &str) -> Option<usize> {
        if self.host.is_empty() || self.host == "*" {
            return Some(2);
        }
        if self.host.eq_ignore_ascii_case(host) {
            return Some(0);
        }
        let below = self.host.strip_prefix('*')?.to_lowercase();
        host.to_lowercase().ends_with(&below).then_some(1)
    }

    fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.port)
    }
}

fn bindings(site: &Site) -> impl Iterator<Item = Parsed<'_>> {
    site.bindings.iter().filter_map(Parsed::of)
}

/// The sockets that a server is served on.
pub(super) fn wanted(model: &Model, listen: &[(String, SocketAddr)]) -> Result<Vec<Wanted>, IisError> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let names = || model.server.sites.iter().map(|site| site.name.clone()).collect::<Vec<_>>();
    for (name, address) in listen {
        let known = model.server.sites.iter().any(|site| same(&site.name, name));
        if !known && model.dead.is_none() {
            return Err(IisError::NoSite { name: name.clone(), known: names() });
        }
        let shared = wanted.iter_mut().find(|wanted| wanted.address == *address && address.port() > 0);
        match shared {
            Some(Wanted { sites, door: Door::Sites(names), .. }) => {
                sites.push_str(&format!(", {name}"));
                names.push(name.clone());
            }
            _ => wanted.push(Wanted {
                address: *address,
                sites: name.clone(),
                door: Door::Sites(vec![name.clone()]),
            }),
        }
    }
    if !listen.is_empty() {
        return Ok(wanted);
    }
    if let Some(why) = &model.dead {
        return Err(IisError::Dead(why.clone()));
    }
    let all =
        || model.server.sites.iter().flat_map(|site| bindings(site).map(move |binding| (site, binding)));
    let plain: Vec<_> = all().filter(|(_, binding)| !binding.https).collect();
    for (site, binding) in &plain {
        // A socket for every address has those for one of them as well.
        let covered = binding.ip.is_some_and(|ip| ip.is_ipv4())
            && plain.iter().any(|(_, other)| other.ip.is_none() && other.port == binding.port);
        let address = binding.socket();
        match wanted.iter_mut().find(|wanted| wanted.address == address) {
            _ if covered => {}
            Some(known) if known.sites.split(", ").any(|name| name == site.name) => {}
            Some(known) => known.sites.push_str(&format!(", {}", site.name)),
            None => wanted.push(Wanted { address, sites: site.name.clone(), door: Door::Bindings }),
        }
    }
    if wanted.is_empty() { Err(IisError::NoBinding { sites: names() }) } else { Ok(wanted) }
}

/// Where each site is served.
pub(super) fn served(model: &Model, doors: &[(&Door, SocketAddr)]) -> Vec<Served> {
    let mut served: Vec<Served> = Vec::new();
    for site in &model.server.sites {
        for (door, address) in doors {
            let mut push = |address: SocketAddr, host: &str| {
                let one = Served { site: site.name.clone(), address, host: host.to_owned() };
                if !served.contains(&one) {
                    served.push(one);
                }
            };
            match door {
                Door::Sites(names) if names.iter().any(|name| same(name, &site.name)) => {
                    bindings(site).for_each(|binding| push(*address, binding.host));
                }
                Door::Sites(_) => {}
                Door::Bindings => {
                    let here = bindings(site).filter(|binding| at(binding, *address) && !binding.https);
                    here.for_each(|binding| {
                        push(
                            SocketAddr::new(binding.ip.unwrap_or(address.ip()), address.port()),
                            binding.host,
                        );
                    });
                }
            }
        }
    }
    served
}

/// Whether a binding is served by the socket of this address.
fn at(binding: &Parsed, address: SocketAddr) -> bool {
    let any = address.ip().is_unspecified();
    binding.port == address.port()
        && binding.ip.is_none_or(|ip| ip == address.ip() || (any && ip.is_ipv4() == address.is_ipv4()))
}

/// The site that a request is for.
#[derive(Debug)]
pub(super) struct Found<'m> {
    pub(super) site: &'m Site,
    /// The port of the binding.
    pub(super) port: u16,
    pub(super) https: bool,
}

/// The site of a request that came in at a door, by its `Host` without the port. `local` is the socket's own end.
pub(super) fn find<'m>(model: &'m Model, door: &Door, local: SocketAddr, host: &str) -> Option<Found<'m>> {
    let mut best: Option<(_, Found)> = None;
    for site in &model.server.sites {
        for binding in bindings(site) {
            let here = match door {
                Door::Sites(names) => names.iter().any(|name| same(name, &site.name)),
                Door::Bindings => {
                    let ip = local.ip().to_canonical();
                    !binding.https && binding.port == local.port() && binding.ip.is_none_or(|own| own == ip)
                }
            };
            let Some(fit) = binding.fit(host).filter(|_| here) else { continue };
            // In the clear before TLS; its own address before any; the first of equals.
            let order = (fit, binding.https, binding.ip.is_none());
            if best.as_ref().is_none_or(|(found, _)| order < *found) {
                best = Some((order, Found { site, port: binding.port, https: binding.https }));
            }
        }
    }
    best.map(|(_, found)| found)
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
