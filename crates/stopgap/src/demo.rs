//! The demonstration: a publisher, a sample site, a gateway in front of it and an agent, on loopback
//! addresses and in a temporary folder. Gateway and agent are processes of their own, as they are on
//! a server; what the agent does is seen from outside, as a client sees it.
//!
//! ```text
//!                            hub
//!                             │ holds back, is told
//!                             ▼
//!   publisher ──feed.xml──► agent ──rules──► gateway ──► sample site
//!                                              ▲
//!   this process ──── attack, legitimate ──────┘
//! ```

mod client;
#[cfg(feature = "hub")]
mod organization;
mod site;
mod stage;
mod story;
mod summary;

pub use stage::Stage;
pub use story::play;
pub use summary::words;
