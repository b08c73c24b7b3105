//! Why a fetch brought nothing: one code for each reason, and the sentence that goes with it.

use std::error::Error as StdError;
use std::fmt;

use crate::cycle::words;

/// The reason, in a word that scripts rely on. It stands in `error` of `status --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No address, no connection, or none that lasted until an answer began.
    Unreachable,
    /// The TLS certificate is not what it must be, or there is no TLS at that port.
    Tls,
    /// The proxy does not answer, or does not connect.
    Proxy,
    /// The proxy asks for credentials, or for others.
    ProxyAuth,
    /// Another status than 200.
    HttpStatus,
    /// No HTTP answer that is read here: too many or too long headers, a redirect to nowhere.
    BadAnswer,
    /// "Not modified", though nothing was said about what we have.
    UnchangedOfNothing,
    /// Compressed, though that was not asked for. Nothing is ever decompressed.
    ContentEncoding,
    /// More octets than are read.
    TooLarge,
    /// Fewer octets in a time than any line in use brings, or not all of them in time.
    TooSlow,
    /// The connection ended before the answer did.
    ShortBody,
    /// More redirects than are followed.
    RedirectLoop,
    /// A redirect from https to http.
    RedirectDowngrade,
    /// A redirect from the internet to an address that is not of the internet.
    RedirectPrivate,
    /// The configured address is none, or of an unknown kind.
    Address,
    /// A file or folder cannot be read.
    File,
    /// The network keys, or a file that they name, are wrong: nobody can be asked.
    Network,
}

impl Fault {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Fault::Unreachable => "unreachable",
            Fault::Tls => "tls",
            Fault::Proxy => "proxy",
            Fault::ProxyAuth => "proxy-auth",
            Fault::HttpStatus => "http-status",
            Fault::BadAnswer => "bad-answer",
            Fault::UnchangedOfNothing => "unchanged-of-nothing",
            Fault::ContentEncoding => "content-encoding",
            Fault::TooLarge => "too-large",
            Fault::TooSlow => "too-slow",
            Fault::ShortBody => "short-body",
            Fault::RedirectLoop => "redirect-loop",
            Fault::RedirectDowngrade => "redirect-downgrade",
            Fault::RedirectPrivate => "redirect-private",
            Fault::Address => "address",
            Fault::File => "file",
            Fault::Network => "network",
        }
    }

    /// Whether the same question may be answered a moment later.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Fault::Unreachable | Fault::Proxy | Fault::BadAnswer | Fault::ShortBody)
    }
}

/// A fault and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub fault: Fault,
    /// Where, what was found and what was expected.
    pub message: String,
    /// Asking again soon may help.
    pub(super) passing: bool,
}

impl Failure {
    /// A failure with this message.
    pub fn new(fault: Fault, message: impl Into<String>) -> Failure {
        Failure { fault, message: message.into(), passing: fault.may_pass() }
    }

    /// The same, with its place in front.
    #[must_use]
    pub(super) fn at(self, place: &str) -> Failure {
        Failure { message: format!("{place}: {}", self.message), ..self }
    }

    /// There is no HTTP client. That is the roots' fault: nothing else of it depends on the machine.
    pub(super) fn of_client(error: &reqwest::Error) -> Failure {
        let message = format!(
            "no HTTP client can be made: expected roots of TLS on this machine, or in `ca_bundle`: {}",
            words(error)
        );
        Failure::new(Fault::Network, message)
    }

    /// What reqwest says of a request for which no answer began.
    pub(super) fn of_request(error: reqwest::Error, by_proxy: bool) -> Failure {
        let error = error.without_url();
        let words = words(&error);
        let chain = Chain::of(&error);
        if chain.private {
            return Failure::new(Fault::RedirectPrivate, words);
        }
        // What the tunnel through a proxy says is told by its words alone: its type is not public.
        let fault = match &chain.tunnel {
            Some(tunnel) if tunnel.contains("authorization required") => Fault::ProxyAuth,
            Some(_) => Fault::Proxy,
            None if chain.tls => Fault::Tls,
            None if error.is_connect() && by_proxy => Fault::Proxy,
            None if error.is_connect() || error.is_timeout() || chain.io => Fault::Unreachable,
            None => Fault::BadAnswer,
        };
        Failure::new(fault, words)
    }

    /// What reqwest says of an answer that broke off.
    pub(super) fn of_body(error: reqwest::Error) -> Failure {
        let words = words(&error.without_url());
        Failure::new(Fault::ShortBody, format!("the answer broke off before its end: {words}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.fault.code())
    }
}

/// A name whose addresses are all private, where none of these may be asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{name}` is at {found}: expected an address of the internet, as it is one of the internet that sends there"
)]
pub(super) struct Private {
    pub(super) name: String,
    pub(super) found: String,
}

/// What is found on the way down an error's causes.
#[derive(Default)]
struct Chain {
    private: bool,
    tls: bool,
    io: bool,
    tunnel: Option<String>,
}

impl Chain {
    fn of(error: &reqwest::Error) -> Chain {
        let mut chain = Chain::default();
        let mut next: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(cause) = next {
            chain.note(cause);
            next = cause.source();
        }
        chain
    }

    fn note(&mut self, cause: &(dyn StdError + 'static)) {
        self.private |= cause.is::<Private>();
        self.tls |= cause.is::<rustls::Error>();
        let words = cause.to_string();
        if words.starts_with("tunnel error") {
            self.tunnel = Some(words);
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            self.io = true;
            // An io::Error hands out the causes of what it wraps, not that itself.
            if let Some(inner) = io.get_ref() {
                self.note(inner);
            }
        }
    }
}
