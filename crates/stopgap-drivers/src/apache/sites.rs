//! Virtual hosts as sites: their names, where they listen, and whether they have the hook.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stopgap_core::observed::{Hook, Listener, Site, lack_at};

use super::config::{Config, Directive};
use super::dump::{self, Dump};
use super::hook::Hooks;
use crate::server::{Settings, address_host, reachable};

/// The main server, or a virtual host, where nothing names it.
const UNNAMED: &str = "default";

/// What of a configuration matters to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sites {
    /// Virtual hosts of one name are one site, in the order of the configuration.
    pub sites: Vec<Site>,
    /// Listeners that cannot be probed, and why.
    pub warnings: Vec<String>,
    /// Sites without the hook for rules that are not for every site ([`lack_at`]), and what to place.
    pub lacks: BTreeMap<String, String>,
}

/// The name of the main server.
pub(super) fn main_name(config: &Config) -> String {
    let level = config.server_level();
    let name = last(&level, "servername").map(|arg| config.value(arg).to_ascii_lowercase());
    let name = name.map(|name| {
        let name = name.rsplit("://").next().unwrap_or_default();
        name.split(':').next().unwrap_or_default().to_owned()
    });
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| UNNAMED.to_owned())
}

/// The name of a virtual host as a site. Where nothing names it, Apache asks the system and the network, and what they
/// say may be another name at its next start.
pub(super) fn name(host: &dump::Host, config: &Config) -> String {
    let sections = config.virtual_hosts(&host.path, host.line);
    let named = |directives: &[&Directive]| last(directives, "servername").is_some();
    let unnamed = !sections.is_empty() && !sections.iter().any(|section| named(&config.inside(section)));
    if unnamed && !named(&config.server_level()) {
        return UNNAMED.to_owned();
    }
    host.name.to_ascii_lowercase()
}

/// Reads the sites of a configuration.
pub(super) fn sites(config: &Config, dump: &Dump, settings: &Settings) -> Sites {
    let hooks = Hooks::new(&settings.folder);
    let level = config.server_level();
    let mut found = Sites::default();
    let hook = match hooks.is_in(&level, &hooks.server_line()) {
        true => Hook::Present,
        false => Hook::Missing(format!(
            "{}: the server level lacks `{}`",
            dump.files.first().map(|file| file.path.as_str()).unwrap_or_default(),
            hooks.server_line()
        )),
    };
    let shape = Shape::of(&level, config, None);
    let listens: Vec<Listen> = level.iter().filter_map(|d| Listen::read(d, config)).collect();
    let mut hosts: Vec<Virtual> = dump.hosts.iter().map(|host| Virtual::read(host, config, shape)).collect();
    // Apache prints them in the order of its tables.
    let file = |host: &Virtual| dump.files.iter().position(|file| file.path == host.host.path);
    hosts.sort_by_key(|host| (file(host).unwrap_or(usize::MAX), host.host.line));
    let mut add = |site: Site| match found.sites.iter_mut().find(|known| known.name == site.name) {
        Some(known) => {
            let new: Vec<Listener> =
                site.listeners.into_iter().filter(|l| !known.listeners.contains(l)).collect();
            known.listeners.extend(new);
        }
        None => found.sites.push(site),
    };
    for host in &hosts {
        let name = &host.name;
        let bound = || probed(host, &hosts, &listens, config, &mut found.warnings);
        let listeners = settings.listeners_or(bound, |address| client(name, address));
        add(Site { name: name.clone(), hook: hook.clone(), listeners });
        if let Some(why) = host.lacks(&hooks) {
            found.lacks.entry(lack_at(name)).or_insert(why);
        }
    }
    // What no virtual host takes is the main server's.
    let uncovered: Vec<&Listen> =
        listens.iter().filter(|listen| !hosts.iter().any(|host| host.takes_all(listen))).collect();
    if !uncovered.is_empty() {
        let alone = hosts.is_empty();
        let name = if alone { main_name(config) } else { UNNAMED.to_owned() };
        let bound = || {
            let why = shape.not_probed();
            if let Some(why) = why {
                found.warnings.push(not_probed(&name, why));
            }
            let tls = |listen: &Listen| shape.tls.unwrap_or(listen.https && config.has_module("ssl_module"));
            let listener = |listen: &&Listen| {
                let address = reachable(listen.address);
                Listener { tls: tls(listen), address, host: client(&name, address) }
            };
            // Beside virtual hosts an address of loopback may be theirs.
            uncovered.iter().filter(|_| why.is_none() && alone).map(listener).collect()
        };
        let listeners = settings.listeners_or(bound, |address| client(&name, address));
        if !(alone && hooks.is_in(&level, &hooks.site_line(&name))) {
            let why = match alone {
                true => format!("the server level lacks `{}`", hooks.site_line(&name)),
                false => "it is the main server, which has no virtual host of its own".to_owned(),
            };
            found.lacks.entry(lack_at(&name)).or_insert(why);
        }
        add(Site { name: name.clone(), hook, listeners });
    }
    found
}

/// A name under which a client reaches a site.
fn client(name: &str, address: SocketAddr) -> String {
    if name == UNNAMED { address_host(address.ip()) } else { name.to_owned() }
}

/// What a virtual host says of its connections, or the server level for it.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    /// `None`: as the listener says.
    tls: Option<bool>,
    certificate: bool,
    proxy_protocol: bool,
}

impl Shape {
    fn of(directives: &[&Directive], config: &Config, outer: Option<Shape>) -> Shape {
        let outer = outer.unwrap_or_default();
        let is = |name: &str, value: &str| {
            last(directives, name).map(|arg| config.value(arg).eq_ignore_ascii_case(value))
        };
        Shape {
            tls: is("sslengine", "on").or(outer.tls),
            certificate: is("sslverifyclient", "require").unwrap_or(outer.certificate),
            proxy_protocol: is("remoteipproxyprotocol", "on").unwrap_or(outer.proxy_protocol),
        }
    }

    fn not_probed(self) -> Option<&'static str> {
        match self {
            Shape { proxy_protocol: true, .. } => Some("it expects the PROXY protocol"),
            Shape { tls: Some(true), certificate: true, .. } => Some("it demands a client certificate"),
            _ => None,
        }
    }
}

/// The last of its name decides.
fn last<'a>(directives: &[&'a Directive], name: &str) -> Option<&'a String> {
    directives.iter().rev().find(|d| d.name == name).and_then(|d| d.args.first())
}

/// One `Listen`.
struct Listen {
    address: SocketAddr,
    https: bool,
}

impl Listen {
    /// <https://httpd.apache.org/docs/2.4/mod/mpm_common.html#listen>
    fn read(directive: &Directive, config: &Config) -> Option<Listen> {
        if directive.name != "listen" {
            return None;
        }
        let text = config.value(directive.args.first()?);
        let (ip, port) = text.rsplit_once(':').unwrap_or(("*", &text));
        let port: u16 = port.parse().ok()?;
        let ip = match ip {
            "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            // A zone names an interface, which an address to connect to has no place for.
            _ => ip.trim_matches(['[', ']']).split('%').next()?.parse().ok()?,
        };
        let https = match directive.args.get(1) {
            Some(protocol) => config.value(protocol).eq_ignore_ascii_case("https"),
            None => port == 443,
        };
        Some(Listen { address: SocketAddr::new(ip, port), https })
    }
}

/// One address of one virtual host.
struct Virtual<'a> {
    host: &'a dump::Host,
    name: String,
    /// `None`: any.
    ip: Option<IpAddr>,
    sections: Vec<Vec<&'a Directive>>,
    shape: Shape,
}

impl<'a> Virtual<'a> {
    fn read(host: &'a dump::Host, config: &'a Config, outer: Shape) -> Virtual<'a> {
        let sections = config.virtual_hosts(&host.path, host.line);
        let sections: Vec<Vec<&Directive>> = sections.into_iter().map(|s| config.inside(s)).collect();
        let shape = Shape::of(&sections.concat(), config, Some(outer));
        let ip = host.ip.trim_matches(['[', ']']).parse().ok();
        Virtual { host, name: name(host, config), ip, sections, shape }
    }

    fn lacks(&self, hooks: &Hooks) -> Option<String> {
        let line = hooks.site_line(&self.name);
        let dump::Host { path, line: number, .. } = self.host;
        if self.sections.is_empty() {
            return Some(format!("{path}:{number}: no file holds the virtual host; it needs `{line}`"));
        }
        let has = self.sections.iter().all(|inside| hooks.is_in(inside, &line));
        (!has).then(|| format!("{path}:{number}: the virtual host lacks `{line}`"))
    }

    /// Whether connections to this address can be its.
    fn takes(&self, listen: &Listen) -> bool {
        let ip = self.ip.is_none_or(|ip| ip == listen.address.ip() || listen.address.ip().is_unspecified());
        ip && self.takes_port(listen)
    }

    /// Whether none of them is the main server's.
    fn takes_all(&self, listen: &Listen) -> bool {
        self.ip.is_none_or(|ip| ip == listen.address.ip()) && self.takes_port(listen)
    }

    fn takes_port(&self, listen: &Listen) -> bool {
        self.host.port.is_none_or(|port| port == listen.address.port())
    }
}

/// The listeners of a virtual host that a probe can reach.
fn probed(
    host: &Virtual,
    hosts: &[Virtual],
    listens: &[Listen],
    config: &Config,
    warnings: &mut Vec<String>,
) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut warn = |why: &str| {
        let warning = not_probed(&host.name, why);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    for listen in listens.iter().filter(|listen| host.takes(listen)) {
        let bound = SocketAddr::new(host.ip.unwrap_or(listen.address.ip()), listen.address.port());
        let address = reachable(bound);
        // Of virtual hosts those with the very address are asked before those with any.
        let closer = |other: &&Virtual| other.ip == Some(address.ip()) && other.takes_port(listen);
        let stolen = host.ip.is_none() && hosts.iter().any(|other| closer(&other));
        // The PROXY protocol is a matter of the address, whichever virtual host says it.
        let proxied = hosts.iter().any(|other| {
            other.shape.proxy_protocol && other.takes(listen) && other.ip.is_none_or(|ip| ip == bound.ip())
        });
        let tls = host.shape.tls.unwrap_or(listen.https && config.has_module("ssl_module"));
        let shape = Shape { tls: Some(tls), proxy_protocol: proxied, ..host.shape };
        match shape.not_probed() {
            Some(why) => warn(why),
            None if stolen => warn("what comes over loopback is another virtual host's"),
            None => {
                let listener = Listener { tls, address, host: client(&host.name, address) };
                if !listeners.contains(&listener) {
                    listeners.push(listener);
                }
            }
        }
    }
    listeners
}

fn not_probed(site: &str, why: &str) -> String {
    format!("site {site}: a listener is not probed: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apache::settings;

    /// The main file's text, and what Apache prints of its virtual hosts.
    fn read(main: &str, hosts: &str) -> Sites {
        let dump = Dump::read(&format!(
            "Included configuration files:\n  (*) /a.conf\nVirtualHost configuration:\n{hosts}\n\
             Loaded Modules:\n ssl_module (shared)\n"
        ));
        let config =
            Config::read(&dump, |_| Ok::<_, super::super::config::Misread>(main.to_owned())).unwrap();
        sites(&config, &dump, &settings("apache", "/d/apache".into(), "/".into()))
    }

    fn listeners(main: &str, hosts: &str) -> Vec<String> {
        let found = read(main, hosts);
        let listeners = found.sites.iter().flat_map(|s| &s.listeners).map(|l| format!("{l} {}", l.host));
        listeners.chain(found.warnings.iter().cloned()).collect()
    }

    #[test]
    fn listeners_are_where_apache_listens_for_a_virtual_host() {
        for (level, inside, at, expected) in [
            ("Listen 80", "", "*:80", "http://127.0.0.1:80 a.example"),
            ("Listen 127.0.0.1:80", "", "*:80", "http://127.0.0.1:80 a.example"),
            ("Listen [::1]:80", "", "*:80", "http://[::1]:80 a.example"),
            ("Listen 80", "", "10.0.0.1:80", "http://10.0.0.1:80 a.example"),
            ("Listen 80", "", "10.0.0.1:*", "http://10.0.0.1:80 a.example"),
            ("Listen 443", "", "*:443", "https://127.0.0.1:443 a.example"),
            ("Listen 443 http", "", "*:443", "http://127.0.0.1:443 a.example"),
            ("Listen 443", "SSLEngine off", "*:443", "http://127.0.0.1:443 a.example"),
            ("Listen 8443", "SSLEngine on", "*:8443", "https://127.0.0.1:8443 a.example"),
            (
                "Listen 443",
                "SSLVerifyClient require",
                "*:443",
                "site a.example: a listener is not probed: it demands a client certificate",
            ),
            (
                "Listen 80",
                "RemoteIPProxyProtocol On",
                "*:80",
                "site a.example: a listener is not probed: it expects the PROXY protocol",
            ),
        ] {
            let main =
                format!("{level}\n<VirtualHost {at}>\nServerName A.example\n{inside}\n</VirtualHost>\n");
            let hosts = format!("{at}      A.example (/a.conf:2)");
            let mut found = listeners(&main, &hosts);
            found.retain(|line| line.contains("a.example"));
            assert_eq!(found, [expected], "{level} {inside} {at}");
        }
    }

    #[test]
    fn what_no_virtual_host_takes_is_the_main_server_s() {
        let names = |main: &str, hosts: &str| -> Vec<String> {
            read(main, hosts).sites.into_iter().map(|site| site.name).collect()
        };
        assert_eq!(names("Listen 80\nServerName https://Main.example:80", ""), ["main.example"]);
        assert_eq!(names("Listen 80", ""), ["default"]);
        let one = "<VirtualHost *:80>\nServerName a\n</VirtualHost>";
        assert_eq!(names(&format!("{one}\nListen 80"), "*:80  a (/a.conf:1)"), ["a"]);
        assert_eq!(names(&format!("{one}\nListen 80\nListen 81"), "*:80  a (/a.conf:1)"), ["a", "default"]);
        assert_eq!(
            names(
                "<VirtualHost 10.0.0.1:80>\nServerName a\n</VirtualHost>\nListen 80",
                "10.0.0.1:80  a (/a.conf:1)"
            ),
            ["a", "default"]
        );
        // What the network says of a virtual host without a name is none.
        let unnamed = "<VirtualHost *:80>\n</VirtualHost>\nListen 80\n";
        assert_eq!(names(unnamed, "*:80  vm7.local (/a.conf:1)"), ["default"]);
        assert_eq!(listeners(unnamed, "*:80  vm7.local (/a.conf:1)"), ["http://127.0.0.1:80 127.0.0.1"]);
        assert_eq!(names(&format!("{unnamed}ServerName b"), "*:80  b (/a.conf:1)"), ["b"]);
    }

    #[test]
    fn loopback_is_not_asked_for_one_virtual_host_where_it_is_another_s() {
        let main = "<VirtualHost *:80>\nServerName a\n</VirtualHost>\n<VirtualHost 127.0.0.1:80>\nServerName b\n\
                    </VirtualHost>\nListen 80";
        let found = listeners(main, "*:80   a (/a.conf:1)\n127.0.0.1:80   b (/a.conf:4)");
        assert_eq!(
            found,
            [
                "http://127.0.0.1:80 b",
                "site a: a listener is not probed: what comes over loopback is another virtual host's"
            ]
        );
    }

    // This server's paths are those of Unix.
    #[cfg(unix)] // paths as such a server has them
    #[test]
    fn a_site_has_the_server_s_hook_and_one_of_its_own() {
        let line = "IncludeOptional /d/apache/live/server*.conf";
        let own = "IncludeOptional /d/apache/live/site-a.example.conf";
        let host = |inside: &str| {
            format!("Listen 80\n<VirtualHost *:80>\nServerName a.example\n{inside}\n</VirtualHost>\n")
        };
        let of = |main: &str| {
            let found = read(main, "*:80     A.example (/a.conf:2)");
            (found.sites[0].hook.clone(), found.lacks.get("site a.example").cloned())
        };
        let (hook, lacks) = of(&host(""));
        assert_eq!(hook, Hook::Missing(format!("/a.conf: the server level lacks `{line}`")));
        assert_eq!(lacks, Some(format!("/a.conf:2: the virtual host lacks `{own}`")));
        assert_eq!(of(&(host(own) + line)), (Hook::Present, None));
        // Where it is read for something else, it is no hook.
        assert_eq!(of(&host(line)).0, hook);
        assert_eq!(of(&(host("") + &format!("<Directory />\n{line}\n</Directory>"))).0, hook);
        assert_eq!(of(&(host("") + own + "\n" + line)).1, lacks);
    }
}
