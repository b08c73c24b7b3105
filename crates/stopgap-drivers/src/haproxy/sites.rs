//! Frontends as sites: where they listen, and whether they have the hook.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stopgap_core::observed::{Hook, Listener, Site};

use super::config::{Section, words};
use crate::server::{Settings, address_host, reachable};

/// What of a configuration matters to us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sites {
    pub sites: Vec<Site>,
    /// Listeners that cannot be probed, and why.
    pub warnings: Vec<String>,
    /// Which frontend has a hook of an earlier version, which logs nothing of what is only observed.
    pub earlier: Option<String>,
}

/// Ports of one `bind` that are probed; a range of more is the same frontend all over.
const PORTS_MAX: u16 = 16;

/// The frontends of a configuration that speak HTTP.
pub(super) fn frontends(sections: &[Section]) -> impl Iterator<Item = &Section> {
    sections.iter().filter(|section| {
        let mode = |section: &Section| section.last("mode").and_then(|args| args.first().cloned());
        let mode = mode(section).or_else(|| section.defaults(sections).and_then(mode));
        matches!(section.kind.as_str(), "frontend" | "listen") && mode.as_deref() == Some("http")
    })
}

/// Reads the sites of a configuration. `hooks`: the lines of the hook, and of its
/// earlier versions.
pub(super) fn sites(sections: &[Section], hooks: &[String], settings: &Settings) -> Sites {
    let mut found = Sites::default();
    for frontend in frontends(sections) {
        let name = frontend.name().to_owned();
        let bound = || {
            let (listeners, not_probed) = listeners(frontend);
            let warn = |why: &str| format!("site {name}: a listener is not probed: {why}");
            found.warnings.extend(not_probed.iter().map(|why| warn(why)));
            listeners
        };
        // A frontend has no name of its own that a client would say.
        let listeners = settings.listeners_or(bound, |address| address_host(address.ip()));
        let hook = match missing(frontend, sections, hooks) {
            Ok(0) => Hook::Present,
            Ok(_) => {
                found.earlier.get_or_insert_with(|| {
                    format!(
                        "frontend {name} has the hook of an earlier version, which cannot observe: `stopgap agent hook \
                         {} --insert` renews what it placed; lines that were placed by hand are to be replaced by hand",
                        settings.name
                    )
                });
                Hook::Present
            }
            Err(why) => Hook::Missing(format!("{}:{}: {why}", settings.config.display(), frontend.line)),
        };
        found.sites.push(Site { name, hook, listeners });
    }
    found
}

/// Which of the hooks a frontend has; or what keeps the rules from seeing its requests as they came.
pub(super) fn missing(frontend: &Section, sections: &[Section], hooks: &[String]) -> Result<usize, String> {
    let hooks: Vec<Vec<Vec<String>>> = hooks.iter().map(|hook| hook.lines().map(words).collect()).collect();
    let request = |line: &&Vec<String>| line.first().is_some_and(|first| first == "http-request");
    if frontend.defaults(sections).is_some_and(|defaults| defaults.lines.iter().any(|line| request(&line))) {
        return Err(
            "the defaults of this frontend have `http-request` lines, which come before the hook".into()
        );
    }
    let first = frontend.lines.iter().position(|line| request(&line));
    let rest = first.and_then(|first| frontend.lines.get(first..)).unwrap_or_default();
    if let Some(which) = hooks.iter().position(|hook| rest.starts_with(hook)) {
        return Ok(which);
    }
    let stands = |hook: &Vec<Vec<String>>| frontend.lines.windows(hook.len()).any(|lines| lines == *hook);
    Err(match hooks.iter().any(stands) {
        true => format!("frontend {} has an `http-request` line before the hook", frontend.name()),
        false => format!("frontend {} lacks the hook, or has another version of it", frontend.name()),
    })
}

/// What a probe can reach, and why it cannot the rest.
fn listeners(frontend: &Section) -> (Vec<Listener>, Vec<String>) {
    let (mut listeners, mut not_probed) = (Vec::new(), Vec::new());
    let expects = |line: &&Vec<String>| matches!(line.as_slice(), [a, b, c, ..] if a == "tcp-request" && b == "connection" && c == "expect-proxy");
    let proxied = frontend.lines.iter().any(|line| expects(&line));
    for line in frontend.lines.iter().filter(|line| line.first().is_some_and(|first| first == "bind")) {
        let params = line.get(2..).unwrap_or_default();
        let has = |word: &str| params.iter().any(|param| param == word);
        let verify = params.windows(2).any(|pair| matches!(pair, [a, b] if a == "verify" && b == "required"));
        let tls = has("ssl");
        for text in line.get(1).map(|text| text.split(',')).into_iter().flatten() {
            match addresses(text) {
                _ if proxied || has("accept-proxy") => {
                    not_probed.push("it expects the PROXY protocol".to_owned());
                }
                _ if tls && verify => not_probed.push("it demands a client certificate".to_owned()),
                Ok(addresses) => {
                    listeners.extend(addresses.into_iter().map(reachable).map(|address| Listener {
                        tls,
                        address,
                        host: address_host(address.ip()),
                    }))
                }
                Err(why) => not_probed.push(format!("{text} {why}")),
            }
        }
    }
    (listeners, not_probed)
}

/// `:80`, `*:80`, `127.0.0.1:80-81`, `ipv4@…`, `[::1]:80`, `:::80`.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, &'static str> {
    let (family, text) = text.split_once('@').unwrap_or(("", text));
    if text.starts_with('/') || matches!(family, "unix" | "abns" | "fd" | "sockpair") {
        return Err("is a local socket");
    }
    if family.starts_with("quic") || family.starts_with("udp") {
        return Err("is QUIC");
    }
    let (ip, ports) = text.rsplit_once(':').ok_or("is no address")?;
    let ip = match ip.trim_matches(['[', ']']) {
        "" | "*" if family == "ipv6" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip.parse().map_err(|_| "is no address")?,
    };
    let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse::<u16>().map_err(|_| "is no address");
    let (low, high) = (port(low)?, port(high)?);
    Ok((low..=high.min(low.saturating_add(PORTS_MAX - 1))).map(|port| SocketAddr::new(ip, port)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::config::sections;
    use super::*;

    const HOOK: &str = "http-request set-var(txn.a) url,regsub(^a,/,i)\nhttp-request reject if { var(txn.a) -m str \"b c\" }\n";

    fn read(text: &str) -> Sites {
        let settings = crate::haproxy::settings("haproxy", "/d".into(), "/".into());
        sites(&sections(text), &[HOOK.to_owned()], &settings)
    }

    #[test]
    fn listeners_are_where_they_are_bound() {
        for (bind, expected) in [
            ("bind :80", "http://127.0.0.1:80 127.0.0.1"),
            ("bind *:443 ssl crt /x.pem", "https://127.0.0.1:443 127.0.0.1"),
            ("bind 10.0.0.1:80", "http://10.0.0.1:80 10.0.0.1"),
            ("bind :::80 v6only", "http://[::1]:80 [::1]"),
            ("bind ipv6@:80", "http://[::1]:80 [::1]"),
            ("bind 127.0.0.1:80-81", "http://127.0.0.1:80 127.0.0.1,http://127.0.0.1:81 127.0.0.1"),
            ("bind /run/x", "site www: a listener is not probed: /run/x is a local socket"),
            ("bind quic4@:443 ssl crt x", "site www: a listener is not probed: quic4@:443 is QUIC"),
            ("bind :80 accept-proxy", "site www: a listener is not probed: it expects the PROXY protocol"),
            (
                "bind :80\ntcp-request connection expect-proxy layer4",
                "site www: a listener is not probed: it expects the PROXY protocol",
            ),
            (
                "bind :443 ssl crt x ca-file y verify required",
                "site www: a listener is not probed: it demands a client certificate",
            ),
        ] {
            let found = read(&format!("frontend www\nmode http\n{bind}\n"));
            let listeners = found.sites[0].listeners.iter().map(|l| format!("{l} {}", l.host));
            let all: Vec<String> = listeners.chain(found.warnings.clone()).collect();
            assert_eq!(all.join(","), expected, "{bind}");
        }
    }

    #[test]
    fn the_hook_counts_where_nothing_changes_a_request_before_it() {
        let of = |defaults: &str, lines: &str| match read(&format!(
            "defaults\nmode http\n{defaults}\nfrontend www\n{lines}\n"
        ))
        .sites
        .remove(0)
        .hook
        {
            Hook::Present => "present".to_owned(),
            Hook::Missing(why) => why,
        };
        let set = "http-request set-header a b\n";
        assert_eq!(of("", &format!("bind :80\n # x\n{HOOK}{set}")), "present");
        assert_eq!(of("", &HOOK.replace('\n', "   # by hand\n")), "present");
        assert!(
            of("", &format!("{set}{HOOK}")).contains(":4: frontend www has an `http-request` line before")
        );
        assert!(of(set, HOOK).contains("the defaults of this frontend"));
        assert!(of("", set).contains("lacks the hook"));
        assert!(of("", &HOOK.replace("reject", "deny")).contains("another version"));
    }

    #[test]
    fn what_does_not_speak_http_is_no_site() {
        let found = read(
            "defaults\nmode tcp\nfrontend a\nfrontend b\nmode http\nlisten c\nmode http\nbackend d\nmode http\n",
        );
        let names: Vec<&str> = found.sites.iter().map(|site| site.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
