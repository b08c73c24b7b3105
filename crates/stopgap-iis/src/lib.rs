//! IIS AS DATA: its configuration files, edited without losing a byte, and what they mean together.
//!
//! ```text
//!   bytes of a file --document--> elements with their place --edits--> the same bytes but for the edit
//!
//!   Tree (a drive C:)
//!      | server       applicationHost.config: sites, applications, virtual directories, folders
//!      | file, item   each file once: sections, for which path, and what they add, remove and clear
//!      | effective    what they come to at one level, each entry with its origin
//!      v
//!   Report            every level, and every violation: what IIS would answer with 500.19, 500.5x or 503
//! ```
//!
//! Beside that, [`exchange`] says what is installed, from registry and file versions, and [`pools`] takes an
//! application pool out of service and puts it back. [`place`] finds where a mitigation's rules go.
//!
//! Everything here is pure: files come in through [`Tree`], values come out. What is said about IIS is
//! *modeled, not run on IIS*: it follows Microsoft's configuration reference and the schema of the URL Rewrite
//! module, and nothing here has asked a real server.
//!
//! Not in here: sections other than those of `system.webServer/rewrite`, whose faults break a server as well;
//! files of .NET's above `applicationHost.config`, which have no rewrite sections; opening files; the meaning of
//! rules, which `stopgap-rules` has.

mod check;
pub mod document;
mod effective;
pub mod exchange;
mod file;
mod item;
pub mod place;
pub mod pools;
mod section;
mod server;
mod tree;
mod violation;

pub use check::{CheckError, LevelKind, LevelReport, Report, check};
pub use document::{Document, DocumentError, Edit, EditError, Element, ElementId, Encoding};
pub use effective::{Effective, Entry, Origin};
pub use section::Section;
pub use server::{Application, Binding, Server, Site, VirtualDirectory};
pub use stopgap_rules::parse::Place;
pub use tree::{Environment, MemoryTree, Tree};
pub use violation::{Code, Violation};
