//! THE DATA PATH: a reverse proxy in front of any HTTP server, which asks the rule language for a
//! verdict on each request.
//!
//! ```text
//!  client ==> Guard: framing ==> hyper ==> proxy ==> Pool ==> origin
//!             refuses what              |  judge: forward, answer, abort
//!             others may misread        v
//!                                     Rules (one book, swapped whole)
//!                                       ^
//!  control socket: activate, status ----+
//! ```
//!
//! HTTP/1.1 in the clear on both sides; TLS ends before it. Bodies stream both ways, WebSockets pass.
//! What a rule aborts gets no octet: the connection closes, after the answers to requests before it.
//! What could be framed in two ways is refused with 400 before any rule sees it ([`Refusal`]).
//!
//! What is stricter than in most servers: request targets that are not URIs (raw `<`, `>`, `"`,
//! backtick, octets that are not UTF-8) get 400 from the HTTP library; `Upgrade` is passed on for
//! `websocket` alone; HTTP/1.0 needs a `Host` too.
//!
//! [`iis`] is another server on the same sockets: one that has IIS's configuration, to try mitigations on.
//!
//! Not here: rules and their meaning (`stopgap-rules`), when to read them anew (the gateway's driver,
//! over the [`control`] socket), configuration files, process set-up.

mod answer;
mod connection;
pub mod control;
mod counters;
mod era;
mod error;
mod framing;
mod guard;
mod headers;
pub mod iis;
mod log;
mod proxy;
mod review;
mod rules;
mod server;
mod settings;
mod socket;
mod state;
mod tunnel;
mod upstream;
mod verdict;
mod watchdog;

pub use error::GatewayError;
pub use framing::{Fed, Framing, FramingLimits, Refusal};
pub use server::Gateway;
pub use settings::{Limits, Settings, Upstream, UpstreamError};
