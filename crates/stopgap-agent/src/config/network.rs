//! The network keys of `stopgap.toml`: which way requests go out, and whose TLS certificates count.
//!
//! They apply to every feed, its mirrors, its event stream and its revocation lists. The variables
//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are not read: whoever can set a variable of
//! a service must not choose its way.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use url::{Host, Url};

/// How requests leave this server. The default: directly, with the system's roots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkConfig {
    /// `internet_web_proxy`: `http://HOST:PORT` or `https://HOST:PORT`.
    pub proxy: Option<Url>,
    /// `internet_web_proxy_bypass`: hosts that are asked directly.
    pub bypass: Vec<Bypass>,
    /// `internet_web_proxy_credentials`: a file with `user:password`, absolute.
    pub credentials: Option<PathBuf>,
    /// `ca_bundle`: PEM certificates that count in place of the system's, absolute.
    pub ca_bundle: Option<PathBuf>,
}

impl NetworkConfig {
    /// From the four keys as written in a file of `folder`; the error is a sentence that names the key.
    pub(super) fn from_keys(
        proxy: Option<String>,
        bypass: &[String],
        credentials: Option<PathBuf>,
        ca_bundle: Option<PathBuf>,
        folder: &Path,
    ) -> Result<NetworkConfig, String> {
        if proxy.is_none() && (!bypass.is_empty() || credentials.is_some()) {
            return Err("`internet_web_proxy_bypass` and `internet_web_proxy_credentials` mean nothing \
                        without `internet_web_proxy`: expected one, found none"
                .to_owned());
        }
        let bypass: Result<Vec<Bypass>, String> = bypass.iter().map(|text| text.parse()).collect();
        Ok(NetworkConfig {
            proxy: proxy.as_deref().map(proxy_address).transpose()?,
            bypass: bypass?,
            credentials: credentials.map(|file| folder.join(file)),
            ca_bundle: ca_bundle.map(|file| folder.join(file)),
        })
    }

    /// The same through another proxy, as the organization wants it. This server's certificates count with it, and
    /// its credentials go to the proxy that they were given for and to no other: whoever names a proxy must not
    /// be told the password of another.
    pub fn through(&self, proxy: &str, bypass: &[String]) -> Result<NetworkConfig, String> {
        let bypass: Result<Vec<Bypass>, String> = bypass.iter().map(|text| text.parse()).collect();
        let proxy = proxy_address(proxy)?;
        let credentials = self.credentials.clone().filter(|_| self.proxy.as_ref() == Some(&proxy));
        Ok(NetworkConfig {
            proxy: Some(proxy),
            bypass: bypass?,
            credentials,
            ca_bundle: self.ca_bundle.clone(),
        })
    }

    /// From the proxy of the machine as WinHTTP keeps it (`netsh winhttp show proxy`): `HOST:PORT`, or one for each scheme,
    /// `http=HOST:PORT;https=HOST:PORT`; and what bypasses it, `<local>` and patterns. What of these says nothing here is left
    /// out: the proxy is asked then, which is the safe side.
    pub fn from_machine(proxy: &str, bypass: &str) -> Result<NetworkConfig, String> {
        let entries = || proxy.split([';', ' ']).filter(|entry| !entry.is_empty());
        let of = |scheme: &str| entries().find_map(|entry| entry.strip_prefix(scheme)?.strip_prefix('='));
        let plain = || entries().find(|entry| !entry.contains('='));
        let found = of("https").or_else(|| of("http")).or_else(plain);
        let found = found.ok_or_else(|| format!("the machine's proxy is `{proxy}`: expected HOST:PORT"))?;
        let address = if found.contains("://") { found.to_owned() } else { format!("http://{found}") };
        let bypass = bypass.split([';', ' ']).filter(|entry| !entry.is_empty());
        Ok(NetworkConfig {
            proxy: Some(proxy_address(&address)?),
            bypass: bypass.filter_map(|entry| entry.parse().ok()).collect(),
            ..NetworkConfig::default()
        })
    }

    /// The proxy that a request to this host goes through, if any.
    pub fn proxy_for(&self, url: &Url) -> Option<&Url> {
        let passes = url.host().is_none_or(|host| self.bypass.iter().any(|bypass| bypass.matches(&host)));
        self.proxy.as_ref().filter(|_| !passes)
    }
}

fn proxy_address(text: &str) -> Result<Url, String> {
    let key = "internet_web_proxy";
    // Not even the found text is repeated: what is wrong may be where a password stands.
    let url: Url = text.parse().map_err(|error| {
        format!("`{key}`: expected an address such as http://proxy.example:3128 ({error})")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "`{key}`: expected an address without user and password, found some: put `user:password` into a \
             file of its own, and its name into `internet_web_proxy_credentials`"
        ));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("`{key}`: expected http://HOST:PORT or https://HOST:PORT, found `{url}`"));
    }
    Ok(url)
}

/// One entry of `internet_web_proxy_bypass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bypass {
    /// `feed.corp.example`: this host alone.
    Host(String),
    /// `*.corp.example`: every host below it; held as `.corp.example`.
    Below(String),
    /// `<local>`: every host without a dot, as Windows has it.
    Local,
    /// `10.0.0.0/8` or `10.1.2.3`: hosts that are written as such an address. Names are not resolved
    /// for it.
    Network(IpAddr, u8),
}

impl Bypass {
    fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Bypass::Host(name), Host::Domain(host)) => same(host, name),
            (Bypass::Below(end), Host::Domain(host)) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.len() > end.len() && host.ends_with(end.as_str())
            }
            (Bypass::Local, Host::Domain(host)) => !host.trim_end_matches('.').contains('.'),
            (Bypass::Network(network, bits), Host::Ipv4(host)) => within(*network, *bits, (*host).into()),
            (Bypass::Network(network, bits), Host::Ipv6(host)) => within(*network, *bits, (*host).into()),
            _ => false,
        }
    }
}

fn same(host: &str, name: &str) -> bool {
    host.trim_end_matches('.').eq_ignore_ascii_case(name)
}

/// Whether the first `bits` of both are the same.
fn within(network: IpAddr, bits: u8, host: IpAddr) -> bool {
    let differ = match (network, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(bits)
}

impl std::str::FromStr for Bypass {
    type Err = String;

    fn from_str(text: &str) -> Result<Bypass, String> {
        let wrong = || {
            format!(
                "`internet_web_proxy_bypass`: expected a host (feed.corp.example), all below a domain \
                 (*.corp.example) or a network (10.0.0.0/8), found `{text}`"
            )
        };
        if text == "<local>" {
            return Ok(Bypass::Local);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
            return Ok(Bypass::Network(address, bits));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Bypass::Network(address, if address.is_ipv4() { 32 } else { 128 }));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(wrong());
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        Ok(if text.starts_with("*.") { Bypass::Below(format!(".{name}")) } else { Bypass::Host(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(bypass: &[&str]) -> NetworkConfig {
        let bypass: Vec<String> = bypass.iter().map(|text| (*text).to_owned()).collect();
        let proxy = Some("http://proxy.example:3128".to_owned());
        NetworkConfig::from_keys(proxy, &bypass, None, None, Path::new("/etc/stopgap")).unwrap()
    }

    #[test]
    fn credentials_go_to_the_proxy_that_they_are_for_and_to_no_other() {
        let own = Some("http://proxy.example:3128".to_owned());
        let credentials = Some("proxy.credentials".into());
        let own = NetworkConfig::from_keys(own, &[], credentials, None, Path::new("/etc/stopgap")).unwrap();
        let through = |proxy: &str| own.through(proxy, &[]).unwrap().credentials;
        assert_eq!(through("http://proxy.example:3128/"), own.credentials);
        for other in ["http://other.example:3128", "http://proxy.example:3129", "https://proxy.example:3128"]
        {
            assert_eq!(through(other), None, "{other}");
        }
    }

    #[test]
    fn the_proxy_of_a_windows_machine_is_read_in_each_of_its_forms() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (proxy, expected) in [
            ("proxy.corp.example:8080", "http://proxy.corp.example:8080/"),
            ("http=one:80;https=two:3128", "http://two:3128/"),
            ("http=one:8081", "http://one:8081/"),
            ("http://three:3128", "http://three:3128/"),
        ] {
            let network =
                NetworkConfig::from_machine(proxy, "<local>;*.corp.example;10.0.0.0/8;192.168.*").unwrap();
            let through = |at: &str| network.proxy_for(&url(at)).map(Url::as_str);
            assert_eq!(through("https://feed.example.org/feed.xml"), Some(expected), "{proxy}");
            for direct in ["https://intranet/x", "https://feed.corp.example/x", "https://10.1.2.3/x"] {
                assert_eq!(through(direct), None, "{direct}");
            }
            assert!(
                through("https://192.168.1.1/x").is_some(),
                "a pattern that is none of ours is no bypass"
            );
        }
        assert!(NetworkConfig::from_machine("socks=one:1080", "").is_err());
    }

    #[test]
    fn hosts_below_a_domain_networks_and_names_are_asked_directly() {
        let network = network(&["*.corp.example", "10.0.0.0/8", "fd00::/8", "LocalHost", "192.0.2.7"]);
        let direct = |url: &str| network.proxy_for(&url.parse().unwrap()).is_none();
        for url in [
            "https://feed.corp.example/feed.xml",
            "https://a.b.CORP.example./",
            "http://10.255.0.1/",
            "http://[fd12::1]/",
            "http://localhost:8080/",
            "http://192.0.2.7/",
        ] {
            assert!(direct(url), "{url}");
        }
        for url in [
            "https://corp.example/",
            "https://evilcorp.example/",
            "http://11.0.0.1/",
            "http://[fe12::1]/",
            "http://localhost.example/",
            "http://192.0.2.8/",
            "https://10.0.0.1.example/",
        ] {
            assert!(!direct(url), "{url}");
        }
    }

    #[test]
    fn mistakes_are_told_without_a_password() {
        let keys = |proxy: Option<&str>, bypass: &[&str]| {
            let bypass: Vec<String> = bypass.iter().map(|text| (*text).to_owned()).collect();
            NetworkConfig::from_keys(proxy.map(str::to_owned), &bypass, None, None, Path::new("/"))
                .unwrap_err()
        };
        let with_password = keys(Some("http://me:secret@proxy:3128"), &[]);
        assert!(with_password.contains("internet_web_proxy_credentials"), "{with_password}");
        assert!(!with_password.contains("secret"), "{with_password}");
        assert!(keys(Some("socks5://proxy:1080"), &[]).contains("expected http://HOST:PORT"));
        assert!(keys(Some("proxy:3128"), &[]).contains("internet_web_proxy"));
        assert!(keys(None, &["localhost"]).contains("without `internet_web_proxy`"));
        for entry in ["10.0.0.0/33", "*.", "*", "a b", "http://x", ""] {
            assert!(keys(Some("http://proxy"), &[entry]).contains("expected a host"), "{entry}");
        }
    }
}
