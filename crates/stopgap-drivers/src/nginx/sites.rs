//! Server blocks as sites: their names, where they listen, and whether they have the hook.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stopgap_core::observed::{Hook, Listener, Site};

use super::config::{Config, Directive};
use super::hook::Hooks;
use crate::server::{Settings, address_host, reachable};

/// The site of server blocks that have no name.
const UNNAMED: &str = "default";

/// What of a configuration matters to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sites {
    /// Blocks of one primary name are one site, in the order of the first.
    pub sites: Vec<Site>,
    /// Listeners that cannot be probed, and why.
    pub warnings: Vec<String>,
}

/// The values of `$server_name` in the blocks of a site.
pub(super) fn server_names(site: &str) -> Vec<String> {
    if site == UNNAMED { vec![site.to_owned(), String::new()] } else { vec![site.to_owned()] }
}

/// Reads the sites of a configuration.
pub(super) fn sites(config: &Config, hooks: &Hooks, settings: &Settings) -> Sites {
    let mut found = Sites::default();
    for http in config.main().into_iter().filter(|d| d.name == "http") {
        let context = config.inside(http);
        let http_hook = context.iter().any(|d| hooks.is_http(config, d));
        let servers: Vec<Block> =
            context.iter().filter(|d| d.name == "server").map(|d| block(config, d)).collect();
        let shared = Shared::of(&servers);
        let certificates_asked = wants_certificate(&context);
        for server in &servers {
            let missing = missing(config, hooks, http_hook, server);
            let asked = wants_certificate(&server.directives).or(certificates_asked).unwrap_or(false);
            let bound = settings.listeners_or(
                || probed(server, &shared, asked, &mut found.warnings),
                |address| server.host(address),
            );
            match found.sites.iter_mut().find(|site| site.name == server.name) {
                Some(site) => {
                    // A request of that name may reach any of the blocks: all of them need the hook.
                    if let (Hook::Present, Some(why)) = (&site.hook, missing) {
                        site.hook = Hook::Missing(why);
                    }
                    let new: Vec<Listener> =
                        bound.into_iter().filter(|l| !site.listeners.contains(l)).collect();
                    site.listeners.extend(new);
                }
                None => found.sites.push(Site {
                    name: server.name.clone(),
                    hook: missing.map_or(Hook::Present, Hook::Missing),
                    listeners: bound,
                }),
            }
        }
    }
    found
}

/// One server block.
struct Block<'a> {
    directive: &'a Directive,
    directives: Vec<&'a Directive>,
    /// The value of `$server_name`, or [`UNNAMED`].
    name: String,
    listens: Vec<Listen>,
}

fn block<'a>(config: &'a Config, directive: &'a Directive) -> Block<'a> {
    let directives = config.inside(directive);
    let name = directives.iter().find(|d| d.name == "server_name").and_then(|d| d.args.first());
    // As ngx_http_core_merge_srv_conf makes `$server_name` of the first name.
    let name = name.map(|name| match (name.strip_prefix('~'), name.strip_prefix('.')) {
        (Some(pattern), _) => pattern.to_owned(),
        (_, Some(domain)) => domain.to_ascii_lowercase(),
        _ => name.to_ascii_lowercase(),
    });
    let ssl = directives.iter().any(|d| d.name == "ssl" && d.args.first().is_some_and(|arg| arg == "on"));
    let mut listens: Vec<Listen> =
        directives.iter().filter(|d| d.name == "listen").map(|d| listen(d, ssl)).collect();
    if listens.is_empty() {
        let address = Address::Ip(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)));
        listens.push(Listen { address, tls: ssl, proxy_protocol: false });
    }
    Block { directive, directives, name: name.filter(|n| !n.is_empty()).unwrap_or(UNNAMED.into()), listens }
}

impl Block<'_> {
    /// A name under which a client reaches the block.
    fn host(&self, address: SocketAddr) -> String {
        let first = self.directives.iter().find(|d| d.name == "server_name").and_then(|d| d.args.first());
        match first.map(String::as_str) {
            // A catch-all is reached under any name that no other block has; the address is one.
            None | Some("" | "_") => address_host(address.ip()),
            Some(name) if name.starts_with('~') => address_host(address.ip()),
            Some(name) if name.starts_with("*.") => name.replacen('*', "www", 1),
            Some(name) if name.ends_with(".*") => format!("{}example", name.trim_end_matches('*')),
            Some(_) => self.name.clone(),
        }
    }
}

/// One `listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listen {
    address: Address,
    tls: bool,
    proxy_protocol: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    Ip(SocketAddr),
    /// A local socket, QUIC, a host name: why no probe goes there.
    Not(String),
}

/// <https://nginx.org/en/docs/http/ngx_http_core_module.html#listen>
fn listen(directive: &Directive, ssl: bool) -> Listen {
    let has = |word: &str| directive.args.iter().skip(1).any(|arg| arg == word);
    let text = directive.args.first().map(String::as_str).unwrap_or_default();
    let address = match address(text) {
        _ if has("quic") => Address::Not(format!("{text} is QUIC")),
        Some(address) => Address::Ip(address),
        None if text.starts_with("unix:") => Address::Not(format!("{text} is a local socket")),
        None => Address::Not(format!("{text} is no address")),
    };
    Listen { address, tls: ssl || has("ssl"), proxy_protocol: has("proxy_protocol") }
}

/// `80`, `*:80`, `127.0.0.1`, `127.0.0.1:80`, `[::]:80`, `localhost:80`.
fn address(text: &str) -> Option<SocketAddr> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Ok(port) = text.parse() {
        return Some(SocketAddr::new(any, port));
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) =
        match text.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']')) {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, 80),
        };
    let ip = match host {
        "*" => any,
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => host.trim_start_matches('[').trim_end_matches(']').parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

/// What one block says of an address holds for every block that listens there.
struct Shared {
    tls: BTreeSet<Address>,
    proxy_protocol: BTreeSet<Address>,
}

impl Shared {
    fn of(servers: &[Block]) -> Shared {
        let listens = || servers.iter().flat_map(|server| &server.listens);
        Shared {
            tls: listens().filter(|l| l.tls).map(|l| l.address.clone()).collect(),
            proxy_protocol: listens().filter(|l| l.proxy_protocol).map(|l| l.address.clone()).collect(),
        }
    }
}

/// The listeners of a block that a probe can reach.
fn probed(server: &Block, shared: &Shared, certificate: bool, warnings: &mut Vec<String>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for listen in &server.listens {
        let tls = shared.tls.contains(&listen.address);
        let why = match &listen.address {
            Address::Not(why) => why.clone(),
            address if shared.proxy_protocol.contains(address) => "it expects the PROXY protocol".to_owned(),
            _ if tls && certificate => "it demands a client certificate".to_owned(),
            Address::Ip(address) => {
                let address = reachable(*address);
                let listener = Listener { tls, address, host: server.host(address) };
                if !listeners.contains(&listener) {
                    listeners.push(listener);
                }
                continue;
            }
        };
        warnings.push(format!("site {}: a listener is not probed: {why}", server.name));
    }
    listeners
}

/// `ssl_verify_client on`: without a certificate nginx answers 400 before any rule, whatever is asked.
fn wants_certificate(directives: &[&Directive]) -> Option<bool> {
    let directive = directives.iter().find(|d| d.name == "ssl_verify_client")?;
    Some(directive.args.first().is_some_and(|arg| arg == "on"))
}

/// What a block lacks, with its place.
fn missing(config: &Config, hooks: &Hooks, http_hook: bool, server: &Block) -> Option<String> {
    let path = config.files.get(server.directive.file).map(|file| file.path.as_str()).unwrap_or_default();
    if !server.directives.iter().any(|d| hooks.is_server(config, d)) {
        return Some(format!(
            "{path}:{}: the server block lacks `{}`",
            server.directive.line,
            hooks.server_line()
        ));
    }
    (!http_hook).then(|| format!("the http block lacks `{}`", hooks.http_line()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::config::split_dump;

    fn read(http: &str) -> Sites {
        let dump = format!("# configuration file /e/nginx.conf:\nhttp {{\n{http}\n}}\n");
        let config = Config::read(split_dump(&dump)).unwrap();
        sites(
            &config,
            &Hooks::new("/d/nginx".as_ref()),
            &crate::nginx::settings("nginx", "/d/nginx".into(), "/".into()),
        )
    }

    fn listeners(http: &str) -> Vec<String> {
        let found = read(http);
        let listeners = found.sites.iter().flat_map(|s| &s.listeners).map(|l| format!("{l} {}", l.host));
        listeners.chain(found.warnings.iter().cloned()).collect()
    }

    #[test]
    fn listeners_are_where_they_are_bound() {
        for (listen, expected) in [
            ("", "http://127.0.0.1:80 a"),
            ("listen 8080;", "http://127.0.0.1:8080 a"),
            ("listen *:81;", "http://127.0.0.1:81 a"),
            ("listen 10.0.0.1;", "http://10.0.0.1:80 a"),
            ("listen 10.0.0.1:443 ssl http2;", "https://10.0.0.1:443 a"),
            ("listen [::]:443 ssl;", "https://[::1]:443 a"),
            ("listen [fe80::1];", "http://[fe80::1]:80 a"),
            ("listen localhost:8000;", "http://127.0.0.1:8000 a"),
            ("listen 443; ssl on;", "https://127.0.0.1:443 a"),
            ("listen unix:/run/x;", "site a: a listener is not probed: unix:/run/x is a local socket"),
            ("listen 443 quic;", "site a: a listener is not probed: 443 is QUIC"),
            ("listen 80 proxy_protocol;", "site a: a listener is not probed: it expects the PROXY protocol"),
            (
                "listen 443 ssl; ssl_verify_client on;",
                "site a: a listener is not probed: it demands a client certificate",
            ),
            ("listen 443 ssl; ssl_verify_client optional;", "https://127.0.0.1:443 a"),
        ] {
            assert_eq!(listeners(&format!("server {{ {listen} server_name A; }}")), [expected], "{listen}");
        }
    }

    #[test]
    fn what_one_block_says_of_an_address_holds_for_all() {
        let found =
            listeners("server { listen 443; server_name a; } server { listen 443 ssl; server_name b; }");
        assert_eq!(found, ["https://127.0.0.1:443 a", "https://127.0.0.1:443 b"]);
    }

    #[test]
    fn names_are_those_of_server_name() {
        let name = |server_name: &str| {
            let site = read(&format!("server {{ {server_name} }}")).sites.remove(0);
            (site.name, site.listeners[0].host.clone())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(name("server_name Mail.example.org other;"), pair("mail.example.org", "mail.example.org"));
        assert_eq!(name(""), pair("default", "127.0.0.1"));
        assert_eq!(name("server_name _;"), pair("_", "127.0.0.1"));
        assert_eq!(name("server_name .example.org;"), pair("example.org", "example.org"));
        assert_eq!(name("server_name *.example.org;"), pair("*.example.org", "www.example.org"));
        assert_eq!(name("server_name ~^(A|b)$;"), pair("^(A|b)$", "127.0.0.1"));
        assert_eq!(server_names("default"), ["default", ""]);
    }

    // This server's paths are those of Unix.
    #[cfg(unix)] // paths as such a server has them
    #[test]
    fn a_site_is_covered_when_all_its_blocks_have_both_hooks() {
        let (http, server) = ("include /d/nginx/live/http*.conf;", "include /d/nginx/live/server*.conf;");
        let hooks =
            |text: &str| -> Vec<bool> { read(text).sites.iter().map(|s| s.hook == Hook::Present).collect() };
        let one = |hook: &str| format!("server {{ listen 80; server_name a; {hook} }}");
        assert_eq!(hooks(&format!("{http} {} {}", one(server), one(server).replace("80", "81"))), [true]);
        assert_eq!(hooks(&format!("{http} {} {}", one(server), one("").replace("80", "81"))), [false]);
        assert_eq!(
            hooks(&format!("{http} {} {}", one(server), one("").replace("name a", "name b"))),
            [true, false]
        );
        assert_eq!(hooks(&one(server)), [false]);
        let site = read(&format!("{http}\n{}", one(""))).sites.remove(0);
        let why = "/e/nginx.conf:3: the server block lacks `include /d/nginx/live/server*.conf;`";
        assert_eq!(site.hook, Hook::Missing(why.into()));
    }
}
