//! The same rules as another server's configuration: exact, or refused with the reason. One module a server;
//! what they share, patterns in linear form among it, stands here.

pub mod nginx;

use crate::model::RuleSet;

/// The rules of one action, and where they apply.
#[derive(Debug, Clone)]
pub struct SiteRules {
    /// Named in a comment, such as `example M1.1`.
    pub marker: String,
    /// The sites by the name that the target has for them (nginx `$server_name` and Apache `ServerName` in
    /// lowercase, HAProxy the frontend's name); nothing: every site that has the hook.
    pub sites: Option<Vec<String>>,
    /// The rules.
    pub rules: RuleSet,
}

/// A rule that a server cannot be told exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule \"{rule}\" cannot be expressed for {server}: {reason}")]
pub struct CannotExpress {
    /// The server's name, such as `nginx`.
    pub server: &'static str,
    /// The rule.
    pub rule: String,
    /// Why.
    pub reason: String,
}

impl CannotExpress {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        "rules-cannot-express"
    }
}
