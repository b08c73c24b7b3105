//! The document: grammar, canonical form, signature, certificates, freshness. Pure: bytes, trust
//! and `now` come in as arguments, values come out.

pub mod c14n;
pub mod document;
mod id;
pub mod limits;
pub mod scan;

pub use id::{FeedName, Id, IdError, Key};
