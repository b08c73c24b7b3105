//! The same rules as another server's configuration: exact, or refused with the reason. One module a server;
//! what they share, patterns in linear form among it, stands here.

pub mod apache;
mod bytes;
pub mod haproxy;
pub mod iis;
pub mod nginx;
mod pcre;
mod possessive;

use crate::function::Function;
use crate::model::{Action, PatternSyntax, Rule, RuleSet};
use crate::pattern::ast::Node;
use crate::pattern::chain::Chains;
use crate::pattern::{self, PatternLimits};
use crate::template::{Names, Part, Template};
use crate::variable::Variable;
use crate::{exact, wildcard};
use bytes::Encoding;

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
    /// They are asked after all that are not observed, and where one would refuse, the request is logged and goes on.
    pub observe: bool,
}

/// The sets in the order in which their rules are asked: those that are only observed last, so that they see what
/// the others let pass.
pub(crate) fn observed_last(sets: &[SiteRules]) -> impl Iterator<Item = &SiteRules> {
    sets.iter().filter(|set| !set.observe).chain(sets.iter().filter(|set| set.observe))
}

/// What begins the words by which a server's log names an observed rule's mitigation.
pub const OBSERVES: &str = "Stopgap observes";

/// A marker as one word that is syntax on no server: `example M1.1` is `example:M1.1`.
pub(crate) fn marker_word(marker: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { ':' };
    marker.chars().take(100).map(plain).collect()
}

/// Whether a rule could refuse anything, so that there is something to observe.
pub fn can_be_observed(rules: &RuleSet) -> bool {
    let refuses = |action: &Action| !matches!(action, Action::None | Action::Rewrite { .. });
    rules.rules.iter().any(|rule| rule.enabled && refuses(&rule.action))
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

/// Refuses a rule that no server but IIS can be told exactly: one that sets server variables, one that reads the
/// decoded path.
fn reads_the_raw_request_alone(server: &str, rule: &Rule) -> Result<(), String> {
    if !rule.server_variables.is_empty() {
        return Err("it sets server variables".to_owned());
    }
    let url = &rule.match_url;
    let always =
        chains(&url.url, url.ignore_case, rule.pattern_syntax).is_ok_and(|chains| chains.is_always());
    if always {
        return Ok(());
    }
    Err(format!(
        "match url {:?} reads the decoded path, which {server} decodes differently; only a pattern that always \
         holds, such as .*, can be expressed",
        url.url
    ))
}

/// What a deciding rule does, on a server that takes no address from a rule.
#[derive(Clone, PartialEq, Eq)]
enum Effect {
    Pass,
    Abort,
    Status(u16),
    /// It would refuse: on whose behalf, as [`marker_word`].
    Observe(String),
}

impl Effect {
    /// Of an action; `can_answer` tells why the server does not answer with a status.
    fn of(action: &Action, can_answer: impl Fn(u16) -> Result<(), String>) -> Result<Effect, String> {
        match action {
            Action::AbortRequest => Ok(Effect::Abort),
            Action::CustomResponse { status, .. } => can_answer(*status).map(|()| Effect::Status(*status)),
            // Without stopProcessing it matches, and nothing follows; yet what cannot be understood is refused.
            Action::None => Ok(Effect::Pass),
            Action::Redirect { .. } => Err("Redirect is not translated yet".to_owned()),
            Action::Rewrite { .. } => Err("Rewrite is not translated yet".to_owned()),
        }
    }

    /// The same, observed where the set is.
    fn in_set(self, set: &SiteRules) -> Effect {
        match self {
            Effect::Abort | Effect::Status(_) if set.observe => Effect::Observe(marker_word(&set.marker)),
            effect => effect,
        }
    }

    /// How the verdict is named among the server's own words.
    fn word(&self) -> String {
        match self {
            Effect::Pass => "pass".to_owned(),
            Effect::Abort => "abort".to_owned(),
            Effect::Status(status) => status.to_string(),
            Effect::Observe(marker) => format!("observe:{marker}"),
        }
    }
}

/// The one variable that an input is, plain or in `{UrlDecode:…}`; `None` where it is anything else.
fn single_variable(input: &str) -> Result<Option<(Variable, Encoding)>, String> {
    let template =
        Template::parse(input, &Names { maps: &[], own: &[] }).map_err(|error| error.to_string())?;
    Ok(match template.parts.as_slice() {
        [Part::Variable(variable)] => Some((variable.clone(), Encoding::Raw)),
        [Part::Function(Function::UrlDecode, inner)] => match inner.parts.as_slice() {
            [Part::Variable(variable)] => Some((variable.clone(), Encoding::Percent)),
            _ => None,
        },
        _ => None,
    })
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
