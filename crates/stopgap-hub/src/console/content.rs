//! What a mitigation consists of: its rules, probes and side effects, as the feed has them that this hub mirrors. The
//! mirror verified them; no server's word stands for the publisher's.

use stopgap_core::plan::sha256_hex;
use stopgap_feed::Key;
use stopgap_feed::document::{Action, ActionKind, Expect, Mitigation, Platform, Scope};

use crate::state::AppState;

/// One revision, to be read.
pub(super) struct Content {
    pub serial: u64,
    /// How the digest begins, where a server knows this revision: it is the one that is approved.
    pub revision: Option<String>,
    pub cve: String,
    pub parts: Vec<Part>,
    pub probes: Vec<Probe>,
    /// With the monitor that will complain.
    pub side_effects: Vec<String>,
    /// How it is taken off by hand.
    pub rollback: String,
}

/// One action.
pub(super) struct Part {
    pub id: String,
    pub what: String,
    /// The rules as they are written, or names one to a line.
    pub text: String,
}

pub(super) struct Probe {
    pub expects: String,
    pub head: String,
}

/// `None`: this hub does not mirror the feed, or the feed has it no longer.
pub(super) fn of(state: &AppState, key: &Key, digests: &[String]) -> Option<Content> {
    let (serial, mitigation) = state.agents.released(key)?;
    let digest = sha256_hex(mitigation.octets.as_bytes());
    let revision = digests.contains(&digest).then(|| digest.chars().take(16).collect());
    Some(read(serial, revision, &mitigation))
}

fn read(serial: u64, revision: Option<String>, mitigation: &Mitigation) -> Content {
    let probes = mitigation.probes.iter().map(|probe| Probe {
        expects: match &probe.expect {
            Expect::Blocked => "is refused".to_owned(),
            Expect::Allowed => "is answered as before".to_owned(),
            Expect::Header { name, pattern } => format!("is answered with {name} that matches {pattern}"),
        },
        head: probe.head.replace("\r\n", "\n").trim_end().to_owned(),
    });
    let side_effects = mitigation.side_effects.iter().map(|effect| match &effect.monitor {
        Some(monitor) => format!("{} ({monitor} will complain)", effect.description),
        None => effect.description.clone(),
    });
    Content {
        serial,
        revision,
        cve: mitigation.cve.join(", "),
        parts: mitigation.actions.iter().map(part).collect(),
        probes: probes.collect(),
        side_effects: side_effects.collect(),
        rollback: mitigation.rollback.clone().unwrap_or_default(),
    }
}

fn part(action: &Action) -> Part {
    let (what, text) = match &action.kind {
        ActionKind::DoNothing => ("does nothing: a heartbeat", String::new()),
        ActionKind::UrlRewrite { rewrite } => {
            ("refuses or rewrites requests by these rules", rewrite.clone())
        }
        ActionKind::Service { names } => {
            ("stops the first of these services that is there", names.join("\n"))
        }
        ActionKind::AppPool { names } => {
            ("stops the first of these application pools that is there", names.join("\n"))
        }
    };
    let on = match action.platform {
        Some(Platform::Windows) => ", on Windows",
        Some(Platform::Linux) => ", on Linux",
        None => "",
    };
    let place = match (&action.scope, &action.target) {
        (Scope::Server, _) => ", for the whole server".to_owned(),
        (_, Some(target)) => format!(", at {target}"),
        (_, None) => String::new(),
    };
    Part { id: action.id.to_string(), what: format!("{what}{place}{on}"), text: aligned(text.trim()) }
}

/// The first line came without its indent; the others are moved as far to the left.
fn aligned(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let least = text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let rest = text.lines().skip(1).map(|line| line.get(least..).unwrap_or_default());
    text.lines().take(1).chain(rest).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_stands_at_the_left_whatever_surrounds_it_in_the_feed() {
        assert_eq!(aligned("<a>\n        <b>é</b>\n\n      </a>"), "<a>\n  <b>é</b>\n\n</a>");
        assert_eq!(aligned("<a/>"), "<a/>");
        assert_eq!(aligned("<a>\n\t<b/>\n</a>"), "<a>\n\t<b/>\n</a>");
    }
}
