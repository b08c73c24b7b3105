//! The document: grammar, canonical form, signature, certificates, freshness. Pure: bytes, trust
//! and `now` come in as arguments, values come out.

pub mod document;
mod id;

pub use id::{FeedName, Id, IdError, Key};
