//! Sites and their bindings: where probes go, and which names of a mitigation mean which site here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use stopgap_core::observed::{Hook, Listener, Site};
use stopgap_iis::{Document, Environment, Server, Tree, check};

use super::Settings;
use super::tree::Disk;
use crate::host::Host;
use crate::server::{address_host, reachable};

/// The sites of a server, each where IIS answers for it.
pub(super) fn sites(settings: &Settings, server: &Server) -> Vec<Site> {
    let site = |site: &stopgap_iis::Site| Site {
        name: site.name.clone(),
        // IIS reads its own files.
        hook: Hook::Present,
        listeners: listeners(settings, site),
    };
    server.sites.iter().map(site).collect()
}

fn listeners(settings: &Settings, site: &stopgap_iis::Site) -> Vec<Listener> {
    let bound: Vec<(bool, SocketAddr, &str)> = site.bindings.iter().filter_map(read).collect();
    let name = bound.iter().map(|(_, _, host)| *host).find(|host| !host.is_empty());
    let host = |own: &str, address: SocketAddr| match (own.is_empty(), name) {
        (false, _) => own.to_owned(),
        (true, Some(name)) => name.to_owned(),
        (true, None) => address_host(address.ip()),
    };
    if !settings.listeners.is_empty() {
        // They are those of the sites that the configuration names, where it names any.
        let named = settings.probed.is_empty() || settings.probed.contains(&site.name);
        let own = settings.listeners.iter().filter(|_| named);
        return own
            .map(|l| match l.host.parse::<IpAddr>() {
                Ok(_) => Listener { host: host("", l.address), ..l.clone() },
                Err(_) => l.clone(),
            })
            .collect();
    }
    let listener = |(tls, address, own): &(bool, SocketAddr, &str)| {
        let address = reachable(*address);
        Listener { tls: *tls, address, host: host(own, address) }
    };
    let mut listeners: Vec<Listener> = bound.iter().map(listener).collect();
    listeners.sort();
    listeners.dedup();
    listeners
}

/// `*:443:mail.example.org`; the address may be IPv6 in brackets.
fn read(binding: &stopgap_iis::Binding) -> Option<(bool, SocketAddr, &str)> {
    let tls = match binding.protocol.to_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let mut parts = binding.information.rsplitn(3, ':');
    let (host, port, address) = (parts.next()?, parts.next()?, parts.next()?);
    let ip: IpAddr = match address.trim_matches(['[', ']']) {
        "*" | "" => [0, 0, 0, 0].into(),
        address => address.parse().ok()?,
    };
    Some((tls, SocketAddr::new(ip, port.parse().ok()?), host))
}

/// The files of a server that a change of is news: all that its rules are computed from.
pub fn watched(host: &dyn Host, root: &Path) -> Vec<PathBuf> {
    let disk = Disk::new(host, root);
    // Whatever is wrong with them, these are the files.
    let _ = check(&disk, &Environment::windows());
    disk.into_files().into_keys().collect()
}

/// For [`stopgap_core::select::TargetView::sites`]: the names by which a mitigation can mean a site of this server, and
/// the sites that they mean. A site has its own name, and those that `configured` gives it; each of its applications and
/// virtual directories has these with its path, and means the site that it is in. A server that cannot be read has the
/// configured names alone.
pub fn roles(
    host: &dyn Host,
    root: &Path,
    configured: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, Vec<String>> {
    let mut roles = configured.clone();
    let environment = Environment::windows();
    let disk = Disk::new(host, root);
    let file = disk.read(&format!("{}\\applicationHost.config", environment.configuration()));
    let Ok(Some(octets)) = file else { return roles };
    let Ok(document) = Document::parse(&octets) else { return roles };
    for site in Server::of(&document, &environment).sites {
        let given = configured.iter().filter(|(_, sites)| sites.contains(&site.name)).map(|(name, _)| name);
        // A name that the configuration has for another site is that one's.
        let own = Some(&site.name).filter(|name| !configured.contains_key(*name));
        let names: Vec<&String> = given.chain(own).collect();
        let of = |application: &stopgap_iis::Application| {
            let folders = application.directories.iter().map(|directory| directory.path.clone());
            std::iter::once(application.path.clone()).chain(folders).collect::<Vec<_>>()
        };
        for level in site.applications.iter().flat_map(of) {
            let below = level.get(site.name.len()..).unwrap_or_default();
            for name in &names {
                let sites = roles.entry(format!("{name}{below}")).or_default();
                if !sites.contains(&site.name) {
                    sites.push(site.name.clone());
                }
            }
        }
    }
    roles
}
