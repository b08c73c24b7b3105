//! The model: what a rule says, with IIS's defaults filled in. Made by [`crate::parse`], read by
//! [`crate::engine`] and [`crate::translate`]. Nothing is compiled or interpreted here.
//!
//! Source of names and defaults: the schema of `system.webServer/rewrite` (`rewrite_schema.xml`).

/// Rules in the order in which they are evaluated, and the maps that they read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// Inbound rules: global rules first, then rules: the order of evaluation.
    pub rules: Vec<Rule>,
    /// Rules that change a response, in the order of evaluation.
    pub outbound: Vec<OutboundRule>,
    /// What outbound rules name in their `preCondition`.
    pub pre_conditions: Vec<PreCondition>,
    /// What `{Name:key}` looks up.
    pub maps: Vec<RewriteMap>,
    /// Levels whose `<location>` says `inheritInChildApplications="false"`. Which of the folders below them
    /// are applications only the server's own configuration tells; whoever knows it leaves these rules out
    /// there.
    pub not_inherited: Vec<Level>,
}

impl RuleSet {
    /// Puts another set behind this one: its rules are evaluated after these. Its maps and preconditions are
    /// added; where a name is taken, [`crate::Engine::compile`] refuses the result.
    pub fn append(&mut self, other: RuleSet) {
        self.rules.extend(other.rules);
        self.outbound.extend(other.outbound);
        self.pre_conditions.extend(other.pre_conditions);
        self.maps.extend(other.maps);
        self.not_inherited.extend(other.not_inherited);
    }

    /// The same set, standing at a level: each of its rules moves there.
    #[must_use]
    pub fn at(mut self, level: &Level) -> RuleSet {
        self.rules.iter_mut().for_each(|rule| rule.level = level.clone());
        self.outbound.iter_mut().for_each(|rule| rule.level = level.clone());
        self
    }
}

/// Where a rule stands: the site (the default), or an application or folder in it, whose rules see only
/// requests for what lies in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Level(String);

impl Level {
    /// The level of a path below the site, such as `owa` or `/owa/Calendar/`; of an empty one, the site.
    /// Slashes at the ends do not count.
    pub fn new(path: &str) -> Level {
        Level(path.trim_matches('/').to_owned())
    }

    /// Whether this is the site itself.
    pub fn is_site(&self) -> bool {
        self.0.is_empty()
    }

    /// The level of a path below this one.
    #[must_use]
    pub fn below(&self, path: &str) -> Level {
        Level::new(&format!("{}/{}", self.0, path.trim_matches('/')))
    }

    /// Whether a decoded path lies here, segment by segment, in any case: `owa` holds `/OWA` and `/owa/x`,
    /// and not `/owax`.
    pub fn contains(&self, path: &str) -> bool {
        let segments = |path| str::split(path, '/').filter(|segment| !segment.is_empty());
        let mut found = segments(path);
        segments(&self.0).all(|here| found.next().is_some_and(|s| s.to_lowercase() == here.to_lowercase()))
    }

    /// The same for every way to write it: its segments in lowercase, a slash between two.
    pub(crate) fn key(&self) -> String {
        let segments = self.0.split('/').filter(|segment| !segment.is_empty());
        segments.map(str::to_lowercase).collect::<Vec<_>>().join("/")
    }

    /// The path below the site, without slashes at its ends.
    pub fn path(&self) -> &str {
        &self.0
    }
}

/// One inbound rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The unique key of the collection.
    pub name: String,
    /// Where it stands; `match url` sees the path below it.
    pub level: Level,
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

/// One outbound rule: it changes a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundRule {
    /// The unique key of the collection.
    pub name: String,
    /// Where it stands: it sees responses to requests for what lies there.
    pub level: Level,
    /// A disabled rule is as if it were not there.
    pub enabled: bool,
    /// The [`PreCondition`] that must hold, by its name.
    pub pre_condition: Option<String>,
    /// The syntax of the match and of every condition's pattern.
    pub pattern_syntax: PatternSyntax,
    /// Ends the evaluation where this rule matched.
    pub stop_processing: bool,
    /// What is looked at.
    pub subject: OutboundSubject,
    /// Over its value.
    pub pattern: String,
    /// Default true.
    pub ignore_case: bool,
    /// The rule goes on where the pattern does *not* match. Default false.
    pub negate: bool,
    /// What else must hold. `trackAllCaptures` is true by default here.
    pub conditions: Conditions,
    /// What happens where the rule matched.
    pub action: OutboundAction,
}

/// What an outbound rule's `<match>` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundSubject {
    /// `serverVariable`: `RESPONSE_<NAME>` is a response header.
    Variable(String),
    /// `filterByTags`, or no attribute of these: the body. Read, and evaluated nowhere outside IIS.
    Body {
        /// The value of `filterByTags`, such as `A, Form`; empty: the whole body.
        tags: String,
    },
}

/// `<outboundRules><rule><action …>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundAction {
    /// Nothing; with `stopProcessing` an allow-list.
    None,
    /// The variable gets a new value.
    Rewrite {
        /// A template.
        value: String,
        /// Default true; false leaves a header alone that already has a value.
        replace: bool,
    },
}

/// `<preConditions><preCondition …>`: what must hold for a response before an outbound rule looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreCondition {
    /// The unique key.
    pub name: String,
    /// All of them, or one of them.
    pub grouping: Grouping,
    /// The syntax of every pattern.
    pub pattern_syntax: PatternSyntax,
    /// In order.
    pub list: Vec<Condition>,
}

/// `patternSyntax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
