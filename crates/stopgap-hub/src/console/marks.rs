//! How a state looks: a word and a shape, with a color that nobody needs. And how a time looks.

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What a state means for who looks after servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// In force and shown to work.
    Good,
    /// In force, and not shown to work everywhere.
    Partly,
    /// Somebody has to look.
    Bad,
    /// Comes by itself, or when somebody approves.
    Waiting,
    /// Somebody holds it back.
    Held,
    /// Not needed here.
    Idle,
}

impl Kind {
    /// Of the statuses that agents report; one that this build does not know is somebody's to look at.
    pub(super) fn of_status(status: &str) -> Kind {
        match status {
            "Applied" => Kind::Good,
            "Unproven" => Kind::Partly,
            "AwaitingApproval" | "Scheduled" | "Frozen" => Kind::Waiting,
            "Blocked" | "Disabled" => Kind::Held,
            "NotApplicable" | "Expired" | "Withdrawn" => Kind::Idle,
            _ => Kind::Bad,
        }
    }

    /// The class of elements.
    pub(super) fn class(self) -> &'static str {
        match self {
            Kind::Good => "good",
            Kind::Partly => "partly",
            Kind::Bad => "bad",
            Kind::Waiting => "waiting",
            Kind::Held => "held",
            Kind::Idle => "idle",
        }
    }

    /// In a few words, for legends.
    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Good => "in force, proven",
            Kind::Partly => "in force, unproven",
            Kind::Bad => "needs attention",
            Kind::Waiting => "waiting",
            Kind::Held => "held back",
            Kind::Idle => "not needed",
        }
    }

    /// The shape, in a box of 12 by 12.
    fn shape(self) -> &'static str {
        match self {
            Kind::Good => r#"<circle cx="6" cy="6" r="5"/>"#,
            Kind::Partly => r#"<path d="M6 1a5 5 0 0 1 0 10z"/><circle class="line" cx="6" cy="6" r="4.5"/>"#,
            Kind::Bad => r#"<path d="M6 .5 11.8 11H.2z"/>"#,
            Kind::Waiting => {
                r#"<circle class="line" cx="6" cy="6" r="4.5"/><path class="line" d="M6 3v3l2.2 1.4"/>"#
            }
            Kind::Held => r#"<rect x="1.5" y="1.5" width="9" height="9"/>"#,
            Kind::Idle => r#"<path class="line" d="M2 6h8"/>"#,
        }
    }
}

/// A state as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Mark {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Mark {
        Mark { kind, text: text.into() }
    }

    /// Of a status; what is held back and yet in force says so.
    pub(super) fn status(status: &str, in_force: bool) -> Mark {
        let kind = Kind::of_status(status);
        let also = in_force && !matches!(kind, Kind::Good | Kind::Partly);
        let text = if also { format!("{}, in force", spaced(status)) } else { spaced(status) };
        Mark { kind, text }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, shape) = (self.kind.class(), self.kind.shape());
        write!(
            f,
            r#"<span class="mark {class}"><svg viewBox="0 0 12 12" aria-hidden="true">{shape}</svg>{}</span>"#,
            escape(&self.text)
        )
    }
}

impl HtmlSafe for Mark {}

/// `AwaitingApproval` as people read it: `Awaiting approval`.
pub(super) fn spaced(word: &str) -> String {
    let mut text = String::new();
    for c in word.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push(' ');
            text.extend(c.to_lowercase());
        } else {
            text.push(c);
        }
    }
    text
}

/// A moment in UTC, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<time datetime="{:.0}">{}</time>"#, self.0, minute(self.0))
    }
}

impl HtmlSafe for Time {}

/// `2026-11-22 03:00`.
pub(super) fn minute(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A moment, or a dash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maybe(pub(super) Option<Timestamp>);

impl fmt::Display for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => Time(at).fmt(f),
            None => f.write_str(r#"<span class="none">–</span>"#),
        }
    }
}

impl HtmlSafe for Maybe {}

/// How long, in its two largest units: `3 d 4 h`.
pub(super) fn span(length: SignedDuration) -> String {
    let minutes = length.as_mins().max(0);
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than 1 min".into(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// `1 server`, `2 servers`.
pub(super) fn servers(count: u64) -> String {
    if count == 1 { "1 server".into() } else { format!("{count} servers") }
}

pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut all, c| {
        match c {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\'' => all.push_str("&#39;"),
            c => all.push(c),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blocked_and_in_force_says_both() {
        assert_eq!(Mark::status("Blocked", true).text, "Blocked, in force");
        assert_eq!(Mark::status("AwaitingApproval", false).text, "Awaiting approval");
        assert_eq!(Mark::status("Applied", true).text, "Applied");
        assert_eq!(Mark::status("Resting", false).kind, Kind::Bad, "a later version's word is looked at");
    }

    #[test]
    fn every_kind_has_a_shape_of_its_own() {
        let all = [Kind::Good, Kind::Partly, Kind::Bad, Kind::Waiting, Kind::Held, Kind::Idle];
        let shapes: std::collections::BTreeSet<_> = all.iter().map(|kind| kind.shape()).collect();
        assert_eq!(shapes.len(), all.len());
    }

    #[test]
    fn a_mark_holds_no_markup_of_others() {
        let html = Mark::new(Kind::Bad, "<b>\"'&").to_string();
        assert!(html.ends_with("&lt;b&gt;&quot;&#39;&amp;</span>"), "{html}");
    }

    #[test]
    fn a_length_has_two_units_at_most() {
        let of = |minutes| span(SignedDuration::from_mins(minutes));
        assert_eq!([of(0), of(59), of(61), of(1500)], ["less than 1 min", "59 min", "1 h 1 min", "1 d 1 h"]);
    }
}
