//! The same rules as another server's configuration: exact, or refused with the reason. One module a server;
//! what they share, patterns in linear form among it, stands here.

pub mod apache;
pub mod haproxy;
pub mod iis;
pub mod nginx;

use crate::model::{PatternSyntax, RuleSet};
use crate::pattern::ast::Node;
use crate::pattern::chain::Chains;
use crate::pattern::{self, PatternLimits};
use crate::{exact, wildcard};

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

/// Refuses what a translator does not know: a rule that stands below its site, a rule that changes responses.
/// A disabled rule is as if it were not there.
pub(crate) fn only_inbound_rules_of_the_site(
    server: &'static str,
    rules: &RuleSet,
) -> Result<(), CannotExpress> {
    let refuse = |rule: &str, reason: String| CannotExpress { server, rule: rule.to_owned(), reason };
    if let Some(rule) = rules.rules.iter().find(|rule| rule.enabled && !rule.level.is_site()) {
        let reason = format!(
            "it stands at {:?} and not at the site; which requests lie there is told by the decoded path, \
             which {server} decodes differently",
            rule.level.path()
        );
        return Err(refuse(&rule.name, reason));
    }
    match rules.outbound.iter().find(|rule| rule.enabled) {
        Some(rule) => Err(refuse(&rule.name, "it changes responses".to_owned())),
        None => Ok(()),
    }
}

/// What a pattern says; a reason where it cannot be read.
fn node(text: &str, ignore_case: bool, syntax: PatternSyntax) -> Result<Node, String> {
    let limits = PatternLimits::default();
    match syntax {
        PatternSyntax::EcmaScript => pattern::parse(text, ignore_case, &limits),
        PatternSyntax::Wildcard => wildcard::node(text, ignore_case, &limits),
        PatternSyntax::ExactMatch => exact::node(text, ignore_case, &limits),
    }
    .map_err(|error| format!("pattern {text:?}: {error}"))
}

/// A pattern in linear form; the reason where it has none.
fn chains(text: &str, ignore_case: bool, syntax: PatternSyntax) -> Result<Chains, String> {
    Chains::of(&node(text, ignore_case, syntax)?).map_err(str::to_owned)
}

/// Words for a comment: nothing that could end it, or carry it on to the next line.
fn plain(text: &str) -> String {
    text.chars()
        .take(100)
        .map(|c| if c.is_ascii_alphanumeric() || " ._:-".contains(c) { c } else { '?' })
        .collect()
}
