//! A piece of a mitigation: what it says, for which level, and the elements that say it to IIS, under names of ours.

use stopgap_rules::translate::iis::translate;
use stopgap_rules::translate::{CannotExpress, SiteRules};
use stopgap_rules::{ParseError, RuleSet};

use crate::check::{LevelKind, Report};
use crate::document::{Document, Element};
use crate::section::Section;
use crate::tree::{folded, url};

/// One action of a mitigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Feed and action id, `example M1.1`: no two pieces have the same.
    pub marker: String,
    /// What it is for.
    pub scope: Scope,
    /// `<rewrite>` or one of its sections, as the mitigation has it.
    pub rules: String,
}

/// What a piece is for: that, and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every site.
    Server,
    /// One site, by its name.
    Site(String),
    /// A virtual directory or an application, `Default Web Site/owa`.
    VirtualDirectory(String),
}

/// Why nothing of a piece is placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// `applicationHost.config` cannot be read, so IIS serves nothing.
    #[error("applicationHost.config cannot be read: {0}")]
    NoServer(String),
    /// The server has no such site, application or virtual directory.
    #[error("there is no {0:?} on this server")]
    NoLevel(String),
    /// The rules cannot be read.
    #[error("its rules cannot be read: {0}")]
    Rules(#[from] ParseError),
    /// IIS would not take the rules, or evaluate them otherwise.
    #[error(transparent)]
    CannotExpress(#[from] CannotExpress),
    /// There is nothing to place.
    #[error("it has no rule that is enabled")]
    Nothing,
    /// The rules have a `<location>` of their own.
    #[error("its rules stand in a <location>; the scope says where they go")]
    Location,
    /// No candidate is sound.
    #[error("no place at {level:?} is sound: {}", .reasons.join("; "))]
    NoPlace {
        /// The level; empty: the server.
        level: String,
        /// One for each candidate.
        reasons: Vec<String>,
    },
}

impl Refused {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::NoServer(_) => "no-server",
            Refused::NoLevel(_) => "no-level",
            Refused::Rules(_) => "rules-unreadable",
            Refused::CannotExpress(error) => error.code(),
            Refused::Nothing => "no-rules",
            Refused::Location => "rules-in-location",
            Refused::NoPlace { .. } => "no-place",
        }
    }
}

/// A piece that can be placed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) marker: String,
    /// As the server writes it; empty: the server.
    pub(super) level: String,
    /// With names of ours.
    pub(super) rules: RuleSet,
    /// In the order in which they are written.
    pub(super) sections: Vec<(Section, Vec<Part>)>,
}

/// One entry, as an element.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// As written, quotes escaped.
    pub(super) name: String,
    /// Whether it stands in `<preConditions>`.
    pub(super) pre_condition: bool,
    /// Two blanks for each depth.
    pub(super) xml: String,
}

impl Wanted {
    pub(super) fn of(piece: &Piece, report: &Report) -> Result<Wanted, Refused> {
        if report.levels.is_empty() {
            let why = report.violations.first().map(|violation| violation.message.clone());
            return Err(Refused::NoServer(why.unwrap_or_default()));
        }
        let level = level(&piece.scope, report)?;
        let mut rules = RuleSet::parse(&piece.rules)?;
        rules.rules.retain(|rule| rule.enabled);
        rules.outbound.retain(|rule| rule.enabled);
        if rules.rules.is_empty() && rules.outbound.is_empty() {
            return Err(Refused::Nothing);
        }
        let mut levels =
            rules.rules.iter().map(|rule| &rule.level).chain(rules.outbound.iter().map(|r| &r.level));
        if levels.any(|level| !level.is_site()) || !rules.not_inherited.is_empty() {
            return Err(Refused::Location);
        }
        let sites = (piece.scope != Scope::Server).then(Vec::new);
        let config = translate(&[SiteRules { observe: false, marker: piece.marker.clone(), sites, rules }])?;
        let text = config.parts.into_iter().next().map(|part| part.rewrite).unwrap_or_default();
        let rules = RuleSet::parse(&text)?;
        // What was printed is read here as any other file.
        let Ok(document) = Document::parse(text.as_bytes()) else { return Err(Refused::Nothing) };
        let sections = document.root().children().filter_map(|section| {
            Some((Section::named(section.name())?, section.children().flat_map(parts).collect()))
        });
        Ok(Wanted { marker: piece.marker.clone(), level, rules, sections: sections.collect() })
    }

    /// Whether the rules say the same at any level: none looks at the path below its own.
    pub(super) fn free_of_level(&self) -> bool {
        self.rules.rules.iter().all(|rule| any_url(&rule.match_url))
    }
}

/// Whether the pattern holds for every path.
pub(super) fn any_url(url: &stopgap_rules::MatchUrl) -> bool {
    !url.negate && matches!(url.url.as_str(), ".*" | "(.*)" | "^.*$" | "^(.*)$" | "^" | "*")
}

fn level(scope: &Scope, report: &Report) -> Result<String, Refused> {
    let path = match scope {
        Scope::Server => return Ok(String::new()),
        Scope::Site(name) | Scope::VirtualDirectory(name) => url(name),
    };
    let fits = |kind: LevelKind| match scope {
        Scope::Site(_) => kind == LevelKind::Application && !path.contains('/'),
        _ => !matches!(kind, LevelKind::Server),
    };
    let found = report.levels.iter().find(|level| folded(&level.path) == folded(&path) && fits(level.kind));
    found.map(|level| level.path.clone()).ok_or(Refused::NoLevel(path))
}

fn parts(element: Element<'_>) -> Vec<Part> {
    let part = |element: Element<'_>, pre_condition| {
        let quoted = element.attribute_span("name").and_then(|span| {
            let start = span.start.checked_sub(element.span().start)?;
            element.source().get(start..span.end.checked_sub(element.span().start)?)
        });
        let name = quoted.and_then(|text| text.split_once('"')?.1.strip_suffix('"')).unwrap_or_default();
        Part { name: name.to_owned(), pre_condition, xml: outdented(element) }
    };
    match element.name() {
        "preConditions" => element.children().map(|child| part(child, true)).collect(),
        _ => vec![part(element, false)],
    }
}

/// An element's text, as it would be at the left margin.
fn outdented(element: Element<'_>) -> String {
    let left = usize::try_from(element.place().column).unwrap_or(1).saturating_sub(1);
    let lines = element.source().lines().map(|line| {
        let blanks = line.len() - line.trim_start_matches(' ').len();
        line.get(blanks.min(left)..).unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}
