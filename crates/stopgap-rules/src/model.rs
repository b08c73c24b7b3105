//! The model: what a rule says, with IIS's defaults filled in. Made by [`crate::parse`], read by
//! [`crate::engine`] and [`crate::translate`]. Nothing is compiled or interpreted here.
//!
//! Source of names and defaults: the schema of `system.webServer/rewrite` (`rewrite_schema.xml`).

/// Rules in the order in which they are evaluated, and the maps that they read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// Global rules first, then rules: the order of evaluation.
    pub rules: Vec<Rule>,
    /// What `{Name:key}` looks up.
    pub maps: Vec<RewriteMap>,
}

impl RuleSet {
    /// Puts another set behind this one: its rules are evaluated after these. Its maps are added; where a
    /// name is taken, [`crate::Engine::compile`] refuses the result.
    pub fn append(&mut self, other: RuleSet) {
        self.rules.extend(other.rules);
        self.maps.extend(other.maps);
    }
}

/// One inbound rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The unique key of the collection.
    pub name: String,
    /// A disabled rule is as if it were not there.
    pub enabled: bool,
    /// The syntax of `match url` and of every condition's pattern.
    pub pattern_syntax: PatternSyntax,
    /// Ends the evaluation where this rule matched.
    pub stop_processing: bool,
    /// What the path must look like.
    pub match_url: MatchUrl,
    /// What else must hold.
    pub conditions: Conditions,
    /// Variables and request headers that are set where the rule matched, before its action.
    pub server_variables: Vec<SetVariable>,
    /// What happens where the rule matched.
    pub action: Action,
}

/// `patternSyntax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PatternSyntax {
    /// A regular expression, searched (not anchored); see [`crate::pattern`].
    #[default]
    EcmaScript,
    /// The whole string, `*` for any characters; see [`crate::wildcard`].
    Wildcard,
    /// The whole string; see [`crate::exact`].
    ExactMatch,
}

/// `<match url="…">`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchUrl {
    /// The pattern over the decoded path without leading slash and query string.
    pub url: String,
    /// Default true.
    pub ignore_case: bool,
    /// The rule goes on where the pattern does *not* match. Default false.
    pub negate: bool,
}

/// `<conditions>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// All of them, or one of them.
    pub grouping: Grouping,
    /// `{C:n}` counts through the captures of every matched condition, and not of the last one alone.
    pub track_all_captures: bool,
    /// In order. None at all: the conditions hold.
    pub list: Vec<Condition>,
}

/// `logicalGrouping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Every condition must hold; the first that does not ends the test.
    #[default]
    MatchAll,
    /// One condition must hold; the first that does ends the test.
    MatchAny,
}

/// `<conditions><add …>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// A template: text, `{VARIABLE}`, `{Function:…}`, `{R:n}`, `{C:n}`, `{Map:key}`.
    pub input: String,
    /// What the input is compared with.
    pub match_type: MatchType,
    /// Empty for `IsFile` and `IsDirectory`.
    pub pattern: String,
    /// Default true.
    pub ignore_case: bool,
    /// Default false.
    pub negate: bool,
}

/// `matchType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatchType {
    /// The pattern.
    #[default]
    Pattern,
    /// The input names a file on the server. Nothing outside IIS can know; the engine refuses it.
    IsFile,
    /// The input names a folder on the server. Refused likewise.
    IsDirectory,
}

/// `<serverVariables><set …>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetVariable {
    /// `HTTP_X_NAME` is the request header `X-Name`; any other name is a variable that later rules can read.
    pub name: String,
    /// A template.
    pub value: String,
    /// Default true; false leaves a variable alone that already has a value.
    pub replace: bool,
}

/// `<action …>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing; with `stopProcessing` an allow-list.
    None,
    /// The address is changed; the next rules see the new one.
    Rewrite {
        /// A template.
        url: String,
        /// Default true: the query string of the request is put behind that of `url`.
        append_query_string: bool,
    },
    /// The client is sent elsewhere. Ends the evaluation.
    Redirect {
        /// A template.
        url: String,
        /// Default true.
        append_query_string: bool,
        /// The status.
        redirect_type: RedirectType,
    },
    /// An answer without the application. Ends the evaluation.
    CustomResponse {
        /// 100 to 999 except 300 to 307, as in the schema.
        status: u16,
        /// IIS's second number, for its logs.
        substatus: u16,
        /// The words of the status line; IIS's own where empty.
        reason: String,
        /// The body.
        description: String,
    },
    /// The connection is dropped with no answer. Ends the evaluation.
    AbortRequest,
}

/// `redirectType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectType {
    /// 301.
    #[default]
    Permanent,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    Temporary,
}

impl RedirectType {
    /// The status code.
    pub fn status(self) -> u16 {
        match self {
            RedirectType::Permanent => 301,
            RedirectType::Found => 302,
            RedirectType::SeeOther => 303,
            RedirectType::Temporary => 307,
        }
    }
}

/// `<rewriteMap>`: a table for `{Name:key}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteMap {
    /// The unique key.
    pub name: String,
    /// What a missing key gives.
    pub default_value: String,
    /// Default true.
    pub ignore_case: bool,
    /// Keys and values, in order.
    pub entries: Vec<(String, String)>,
}
