//! nginx.

use crate::model::RuleSet;

/// The rules of one action, and where they apply.
#[derive(Debug, Clone)]
pub struct SiteRules {
    /// Named in a comment, such as `example M1.1`.
    pub marker: String,
    /// Values of `$server_name`; nothing: every server block that has the hook.
    pub sites: Option<Vec<String>>,
    /// The rules.
    pub rules: RuleSet,
}

/// What goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxConfig {
    /// For the `http` context: maps.
    pub http: String,
    /// For every `server` block: what the hook includes.
    pub server: String,
}

/// A rule that nginx cannot be told exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule \"{rule}\" cannot be expressed for nginx: {reason}")]
pub struct CannotExpress {
    /// The rule.
    pub rule: String,
    /// Why.
    pub reason: String,
}

/// Translates every set together.
///
/// # Errors
/// [`CannotExpress`] for the first rule that is not exact.
pub fn translate(sets: &[SiteRules]) -> Result<NginxConfig, CannotExpress> {
    let rule = sets.iter().flat_map(|set| &set.rules.rules).map(|rule| rule.name.clone()).next();
    Err(CannotExpress { rule: rule.unwrap_or_default(), reason: "not built yet".to_owned() })
}

/// Translates one set for a reader: both parts, with comments that say where each goes.
///
/// # Errors
/// As [`translate`].
pub fn translate_one(rules: &RuleSet) -> Result<String, CannotExpress> {
    let set = SiteRules { marker: "rules".to_owned(), sites: None, rules: rules.clone() };
    translate(&[set]).map(|config| format!("{}{}", config.http, config.server))
}
