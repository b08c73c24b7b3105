//! IIS AS DATA: its configuration files, edited without losing a byte, and what they mean together.
//!
//! ```text
//!   bytes of a file --document--> elements with their place --splices--> the same bytes but for the edit
//! ```
//!
//! Everything here is pure: files come in through [`Tree`], values come out. What is said about IIS is
//! *modeled, not run on IIS*: it follows Microsoft's configuration reference and the schema of the URL Rewrite
//! module, and nothing here has asked a real server.

pub mod document;

pub use document::{Document, DocumentError, Edit, EditError, Element, ElementId, Encoding};
pub use stopgap_rules::parse::Place;
