//! Who asks: accounts, roles, API tokens, sessions.
//!
//! A request is one person's or one token's, or nobody's: [`Principal`] is an extractor, and a handler that does
//! not take one serves everybody. What a role may do is [`Role::allows`]. Agents are not people: they have a
//! credential of their own (`agents/`), which opens nothing here.

pub mod accounts;
pub mod issue;
mod limits;
mod password;
mod principal;
mod role;
pub mod scope;

pub use limits::Limits;
pub use password::Passwords;
pub use principal::{CSRF_HEADER, PLAIN_COOKIE, Principal, SECURE_COOKIE, Via};
pub use role::{Right, Role};
pub use scope::Scope;
