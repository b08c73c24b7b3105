//! The document: grammar, canonical form, signature, certificates, freshness. Pure: bytes, trust
//! and `now` come in as arguments, values come out.
//!
//! ```text
//! octets --scan--> text --dsig--> digested octets + signature --timestamp, chain--> signer
//!                                        |
//!                                        +--document--> Document --freshness, co-signatures--> VerifiedFeed
//! ```
//!
//! [`verify()`] does all of it; each stage also stands alone. Not in here: making signatures, reading
//! files, fetching revocation lists, and what a mitigation does.

mod ber;
pub mod c14n;
pub mod card;
pub mod certificate;
pub mod chain;
pub mod cosignature;
mod distribution;
pub mod document;
pub mod dsig;
pub mod freshness;
mod id;
pub mod limits;
mod refusal;
pub mod scan;
pub mod timestamp;
pub mod trust;
mod verify;

pub use chain::{Revocation, RevocationMode};
pub use cosignature::{Cosignature, CosignatureError};
pub use distribution::{MAX_DISTRIBUTION_POINT_BYTES, MAX_DISTRIBUTION_POINTS, distribution_points};
pub use document::Document;
pub use freshness::LastSeen;
pub use id::{FeedName, Id, IdError, Key};
pub use limits::Limits;
pub use refusal::Refusal;
pub use trust::{Cosigner, FreshnessMode, Trust, TrustError, TrustFile};
pub use verify::{Presented, VerifiedFeed, verify, verify_presented};
