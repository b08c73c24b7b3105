//! What a gateway is told when it starts, and the bounds of everything that a stranger can make it
//! hold or wait for. Reading a configuration file is the caller's work.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

/// Everything that [`Gateway::bind`](crate::Gateway::bind) needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect, in plain HTTP. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The server behind.
    pub upstream: Upstream,
    /// A file with one `<rewrite>` (or a `web.config`). Absent or empty: no rules.
    pub rules: PathBuf,
    /// Path of the control socket (see [`control`](crate::control)).
    pub control: PathBuf,
    /// Bounds of sizes, counts and waits.
    pub limits: Limits,
    /// Adds `Via: 1.1 stopgap` to forwarded requests, as RFC 9110, 7.6.3 asks. Off by default: nginx
    /// and IIS can be set (nginx is, out of the box) to stop compressing for requests that carry it,
    /// and a mitigation must not change what a server answers to everybody.
    pub via: bool,
}

impl Settings {
    /// Settings with the default [`Limits`].
    pub fn new(listen: Vec<SocketAddr>, upstream: Upstream, rules: PathBuf, control: PathBuf) -> Self {
        Settings { listen, upstream, rules, control, limits: Limits::default(), via: false }
    }
}

/// Bounds. A wait is checked four times within its length, so it ends between once and one and a
/// quarter times the time stated here.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Octets of a request head, and of a trailer section. Default 65,536. The origin has its own,
    /// smaller limit; this one bounds memory.
    pub head_bytes: usize,
    /// Header fields of a request. Default and maximum 100.
    pub head_fields: usize,
    /// Client connections at a time; further ones wait in the listen queue. Default 10,000.
    pub connections: usize,
    /// Idle connections kept open to the origin. Default 128.
    pub upstream_idle: usize,
    /// Time for a whole request head, from its first octet (on a new connection: from the accept).
    /// Default 20 s.
    pub head: Duration,
    /// Time that a connection may rest between two requests. Default 75 s.
    pub keep_alive: Duration,
    /// Time without progress in which the client owes octets of a body, or does not take those of
    /// a response. Default 60 s.
    pub client: Duration,
    /// Time for connecting to the origin. Default 5 s.
    pub connect: Duration,
    /// Time in which the origin may be silent, before the response head (then: 504) or in the body.
    /// Default 1 h: long polls are ordinary (an Exchange ActiveSync ping rests for up to 59 minutes),
    /// and a client that leaves is noticed at once.
    pub origin: Duration,
    /// Age at which an idle connection to the origin is not used again. Default 4 s, just below the
    /// 5 s after which Apache httpd and Node.js close it from their side: a request that meets a
    /// closing connection can be repeated only if it is idempotent and has no body.
    pub upstream_idle_time: Duration,
    /// Time that an upgraded connection may rest. Default 10 min.
    pub tunnel: Duration,
    /// Time that requests in progress, and tunnels, get when the gateway stops. Default 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 64 * 1024,
            head_fields: MAX_HEAD_FIELDS,
            connections: 10_000,
            upstream_idle: 128,
            head: Duration::from_secs(20),
            keep_alive: Duration::from_secs(75),
            client: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            origin: Duration::from_secs(3600),
            upstream_idle_time: Duration::from_secs(4),
            tunnel: Duration::from_secs(600),
            drain: Duration::from_secs(10),
        }
    }
}

/// hyper parses this many fields without an allocation for each request.
pub(crate) const MAX_HEAD_FIELDS: usize = 100;

/// The server behind: `http://host[:port]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    host: String,
    port: u16,
}

impl Upstream {
    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port; 80 where the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(url: &str) -> Result<Self, UpstreamError> {
        let refuse = |expected| UpstreamError { url: url.to_owned(), expected };
        let parsed: Uri = url.parse().map_err(|_| refuse("a URL like http://127.0.0.1:8080"))?;
        if parsed.scheme_str() != Some("http") {
            return Err(refuse("the scheme http (the gateway speaks plain HTTP to its origin)"));
        }
        let authority = parsed.authority().ok_or_else(|| refuse("a host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("no user information"));
        }
        if parsed.path() != "/" || parsed.query().is_some() {
            return Err(refuse("no path and no query (targets are forwarded as they are)"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refuse("a host"));
        }
        let port = match authority.port() {
            None if authority.as_str().ends_with(':') => return Err(refuse("a port after the colon")),
            None => 80,
            Some(port) => match port.as_str().parse() {
                Ok(0) | Err(_) => return Err(refuse("a port from 1 to 65535")),
                Ok(port) => port,
            },
        };
        Ok(Upstream { host, port })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.parse::<Ipv6Addr>().is_ok() {
            write!(f, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{}:{}", self.host, self.port)
        }
    }
}

/// A URL that cannot be an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("upstream {url:?}: expected {expected}")]
pub struct UpstreamError {
    url: String,
    expected: &'static str,
}

impl UpstreamError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        "upstream-url"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_plain_http_origin() {
        for (url, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://origin.example/", "http://origin.example:80"),
            ("http://[::1]:81", "http://[::1]:81"),
        ] {
            let upstream: Upstream = url.parse().expect(url);
            assert_eq!(upstream.to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused_with_what_was_expected() {
        for (url, expected) in [
            ("https://origin.example", "the scheme http"),
            ("origin.example:80", "the scheme http"),
            ("127.0.0.1", "the scheme http"),
            ("http://user:pw@origin.example", "no user information"),
            ("http://origin.example/app", "no path"),
            ("http://origin.example/?x", "no path"),
            ("http://origin.example:0", "a port"),
            ("http://origin.example:", "a port"),
            ("http://", "a URL like"),
            ("", "a URL like"),
        ] {
            let error = url.parse::<Upstream>().expect_err(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
