//! The organization's hub, as one agent deals with it: joining, asking what the organization wants,
//! telling what happened, leaving.
//!
//! ```text
//!   enroll ──► hub/enrollment.json ──► sync (settings, reports, credential, event stream)
//!                                       │          ▲
//!                 hub/settings.json ◄───┘          │
//!                        │                  hub/reports.json ◄── books ◄── a cycle that has news
//!                        ▼
//!        said: policy, network, feeds ──► every cycle, with the hub or without it
//! ```
//!
//! A hub holds back, and takes off where `hub_may_revert` lets it; nothing that it says can put anything on
//! this server, since mitigations are believed from their publisher alone. A hub that is away changes
//! nothing: what it said last goes on counting, for weeks if need be, and `status` says since when.

mod address;
pub(crate) mod books;
mod client;
mod contact;
mod enroll;
mod enrollment;
mod machine;
mod mirror;
mod pinned;
mod said;
mod sync;
mod turn;

pub use address::{Address, AddressError, Token};
pub use client::{Client, HubError};
pub use contact::Contact;
pub use enroll::{EnrollError, Joined, enroll, leave};
pub use enrollment::Enrollment;
pub use mirror::Mirror;
pub use said::{Said, configured};

pub(crate) use books::note;
pub(crate) use sync::{Link, once};
pub(crate) use turn::{Waiting, ask as ask_for_turn, asks_first, forget_turn};

/// The folder in the data folder.
const FOLDER: &str = "hub";
