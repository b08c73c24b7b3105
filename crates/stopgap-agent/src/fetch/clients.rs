//! The HTTP clients: one for each way out. A client keeps connections, so a way that may go nowhere but
//! to the internet has one of its own.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Certificate, Client, Proxy};
use url::Url;

use super::address::{Names, Reach};
use super::failure::Failure;
use crate::config::NetworkConfig;

/// A list of certificates or a line with a password beyond this is none.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why there is no way out at all.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// A file of the network keys.
    #[error("{key} {path}: {message}")]
    File {
        /// `ca_bundle` or `internet_web_proxy_credentials`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// The client itself.
    #[error("cannot make an HTTP client")]
    Client(#[from] reqwest::Error),
}

/// What the network keys name, read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    bundle: Option<Vec<u8>>,
    credentials: Option<(String, String)>,
}

/// The credentials are nobody's business.
impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Network {
    pub(super) fn read(config: &NetworkConfig) -> Result<Network, FetcherError> {
        let bundle = config.ca_bundle.as_deref().map(|path| read("ca_bundle", path)).transpose()?;
        let credentials = proxy_credentials(config)?;
        Ok(Network { config: config.clone(), bundle, credentials })
    }

    fn certificates(&self) -> Result<Option<Vec<Certificate>>, FetcherError> {
        let (Some(path), Some(bundle)) = (&self.config.ca_bundle, &self.bundle) else { return Ok(None) };
        let wrong = |message: String| FetcherError::File { key: "ca_bundle", path: path.clone(), message };
        let found = Certificate::from_pem_bundle(bundle).map_err(|error| wrong(error.to_string()))?;
        if found.is_empty() {
            return Err(wrong("expected certificates in PEM, found none".to_owned()));
        }
        Ok(Some(found))
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, FetcherError> {
    use io::Read as _;
    let wrong = |message: String| FetcherError::File { key, path: path.to_owned(), message };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut octets = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut octets);
    read.map_err(|error| wrong(error.to_string()))?;
    if octets.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(format!("expected at most {MAX_FILE_BYTES} bytes, found more")));
    }
    Ok(octets)
}

/// What the proxy is told, where it asks: a name and a password.
pub(crate) fn proxy_credentials(config: &NetworkConfig) -> Result<Option<(String, String)>, FetcherError> {
    config.credentials.as_deref().map(read_credentials).transpose()
}

/// `user:password`, in a file that nobody else can read.
fn read_credentials(path: &Path) -> Result<(String, String), FetcherError> {
    let key = "internet_web_proxy_credentials";
    let wrong = |message: String| FetcherError::File { key, path: path.to_owned(), message };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(wrong(format!(
                "expected a mode that keeps others out, such as 0600, found {mode:04o}: chmod 600"
            )));
        }
    }
    let octets = read(key, path)?;
    // What was found is not repeated: it is a password, or nearly one.
    let text = String::from_utf8(octets).map_err(|_| wrong("expected UTF-8 text, found none".to_owned()))?;
    let line = text.trim_end_matches(['\r', '\n']);
    let pair = line.split_once(':').filter(|(user, _)| !user.is_empty() && !line.contains(['\r', '\n']));
    let (user, password) = pair.ok_or_else(|| wrong("expected one line, `user:password`".to_owned()))?;
    Ok((user.to_owned(), password.to_owned()))
}

/// The ways out. Each client is made when it is first needed: reading the system's roots takes its time,
/// and a machine without any can still read feeds from files.
pub(super) struct Clients {
    network: Network,
    reach: Reach,
    connect: Duration,
    certificates: Option<Vec<Certificate>>,
    /// To any address.
    own: OnceLock<Client>,
    /// To addresses of the internet alone.
    away: OnceLock<Client>,
    /// Through the proxy, which resolves names itself.
    proxied: OnceLock<Client>,
}

/// A client's own words might hold the proxy's credentials.
impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("network", &self.network).finish_non_exhaustive()
    }
}

/// One way out.
pub(super) struct Way<'a> {
    pub(super) client: &'a Client,
    pub(super) by_proxy: bool,
}

impl Clients {
    pub(super) fn new(network: Network, reach: Reach, connect: Duration) -> Result<Clients, FetcherError> {
        let certificates = network.certificates()?;
        let (own, away, proxied) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Clients { network, reach, connect, certificates, own, away, proxied })
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The way to an address.
    pub(super) fn way(&self, url: &Url, public_only: bool) -> Result<Way<'_>, Failure> {
        let proxy = self.network.config.proxy_for(url);
        let cell = match proxy {
            Some(_) => &self.proxied,
            None if public_only => &self.away,
            None => &self.own,
        };
        let client = match cell.get() {
            Some(client) => client,
            None => {
                let made = self.make(proxy, public_only).map_err(|error| Failure::of_client(&error))?;
                cell.get_or_init(|| made)
            }
        };
        Ok(Way { client, by_proxy: proxy.is_some() })
    }

    fn make(&self, proxy: Option<&Url>, public_only: bool) -> Result<Client, reqwest::Error> {
        // The proxy itself may be anywhere.
        let public_only = public_only && proxy.is_none();
        let mut builder = Client::builder()
            .user_agent(concat!("stopgap/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(Arc::new(Names { reach: self.reach.clone(), public_only }));
        if let Some(certificates) = &self.certificates {
            builder = builder.tls_certs_only(certificates.iter().cloned());
        }
        if let Some(proxy) = proxy {
            let mut proxy = Proxy::all(proxy.as_str())?;
            if let Some((user, password)) = &self.network.credentials {
                proxy = proxy.basic_auth(user, password);
            }
            builder = builder.proxy(proxy);
        }
        builder.build()
    }
}
