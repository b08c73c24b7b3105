//! The decision: facts, policy, selection, plan, proof and report. Pure: no I/O and no clock.
//!
//! ```text
//!   VerifiedFeed, Facts, Policy, Ledger, now
//!        │ select        what applies to this server, and why the rest does not
//!        ▼
//!   Selection ──► (drivers render) ──► Change ──► Plan ──► (drivers apply) ──► Answer
//!                                                                               │ proof::judge
//!                                                                               ▼
//!                                                        Ledger ◄── Outcome ── Report
//! ```

pub mod applicability;
pub mod diagnostics;
pub mod facts;
pub mod fronted;
pub mod ledger;
pub mod observed;
pub mod organization;
pub mod plan;
pub mod policy;
pub mod proof;
pub mod report;
pub mod select;
pub mod stops;
pub mod version;
pub mod window;
pub mod wire;

pub use facts::{Fact, Facts};
pub use ledger::Ledger;
pub use policy::Policy;
pub use select::{Selection, Verdict, select};
