//! What follows from the rules: the first that holds decides, for the sites that it is for.

use super::maps::site_key;
use super::{CannotExpress, SERVER};
use crate::translate::{OBSERVES, SiteRules, marker_word};
use std::fmt::Write;

/// Rules of one group: their variables make one word.
const MAX_RULES: usize = 160;
/// Groups in a row: nginx evaluates a variable that needs a variable to a depth of 100.
const MAX_GROUPS: usize = 40;

/// What a deciding rule does.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Pass,
    Abort,
    /// With nginx's own words.
    Status(u16),
    /// With the address, or the body, that this variable holds.
    Answer {
        status: u16,
        variable: String,
    },
    /// It would refuse: on whose behalf.
    Observe(String),
}

impl Effect {
    /// The same, observed where the set is.
    pub(super) fn in_set(self, set: &SiteRules) -> Effect {
        match self {
            Effect::Pass => Effect::Pass,
            _ if set.observe => Effect::Observe(marker_word(&set.marker)),
            effect => effect,
        }
    }

    /// The value of `$stopgap_verdict`.
    fn word(&self) -> String {
        match self {
            Effect::Pass => "pass".to_owned(),
            Effect::Abort => "abort".to_owned(),
            Effect::Status(status) => status.to_string(),
            Effect::Answer { status, variable } => format!("{status}_{variable}"),
            Effect::Observe(marker) => format!("observe:{marker}"),
        }
    }

    /// The line for each `server` block.
    fn line(&self) -> Option<String> {
        let answer = match self {
            Effect::Pass => return None,
            Effect::Abort => "444".to_owned(),
            Effect::Status(status) => status.to_string(),
            Effect::Answer { status, variable } => format!("{status} ${variable}"),
            // No rate: nginx logs it with the client and the request, as an error, and changes nothing.
            Effect::Observe(marker) => {
                let logs = format!("set $limit_rate \"{OBSERVES} {marker}\";");
                return Some(format!("if ($stopgap_verdict = {}) {{ {logs} }}\n", self.word()));
            }
        };
        Some(format!("if ($stopgap_verdict = {}) {{ return {answer}; }}\n", self.word()))
    }
}

/// A rule that is written: `0` or `1` in the variable, and what follows from it.
pub(super) struct Decision {
    /// The rule.
    pub(super) name: String,
    /// The place of the map that decides; nothing: the rule always holds.
    pub(super) test: Option<usize>,
    /// `1`, or `0` where the variable is that of a negated condition.
    pub(super) holds: char,
    pub(super) sites: Option<Vec<String>>,
    pub(super) effect: Effect,
    pub(super) comment: String,
}

/// The maps that lead to `$stopgap_verdict`, and the lines for each server block.
pub(super) fn write(
    decisions: &[Decision],
    variable: impl Fn(usize) -> String,
) -> Result<(String, String), CannotExpress> {
    let mut groups: Vec<&[Decision]> = Vec::new();
    for same in decisions.chunk_by(|a, b| a.sites == b.sites) {
        groups.extend(same.chunks(MAX_RULES));
    }
    if let Some(first) = groups.get(MAX_GROUPS).and_then(|group| group.first()) {
        let reason = format!(
            "the rules before it make {MAX_GROUPS} groups already, each of at most {MAX_RULES} rules for the \
             same sites; rules that follow each other, with one condition each on the same input and the same \
             action, count as one"
        );
        return Err(CannotExpress { server: SERVER, rule: first.name.clone(), reason });
    }
    let mut maps = String::new();
    for (at, decisions) in groups.iter().enumerate() {
        group(&mut maps, decisions, at + 1, at + 1 == groups.len(), &variable);
    }
    let mut server = String::new();
    let mut written: Vec<&Effect> = Vec::new();
    for Decision { effect, .. } in decisions {
        if !written.contains(&effect) {
            written.push(effect);
            server.push_str(&effect.line().unwrap_or_default());
        }
    }
    if server.is_empty() {
        server.push_str("# Stopgap: no rule refuses anything.\n");
    }
    Ok((maps, server))
}

/// The rules that follow one another for the same sites: the first that holds decides, else the next group
/// does.
fn group(
    maps: &mut String,
    group: &[Decision],
    number: usize,
    last: bool,
    variable: &impl Fn(usize) -> String,
) {
    let verdict = |number| match number {
        1 => "$stopgap_verdict".to_owned(),
        _ => format!("$stopgap_verdict_{number}"),
    };
    let next = if last { "pass".to_owned() } else { verdict(number + 1) };
    let source: String = group
        .iter()
        .map(|decision| match decision.test {
            Some(at) => braced(&variable(at)),
            None => "1".to_owned(),
        })
        .collect();
    // Writing to a string cannot fail.
    let _ =
        write!(maps, "\n# The first rule that holds decides.\nmap \"{source}\" $stopgap_group_{number} {{\n");
    for (at, Decision { holds, comment, effect, .. }) in group.iter().enumerate() {
        let _ = writeln!(maps, "    # {comment}\n    \"~^.{{{at}}}{holds}\" {};", effect.word());
    }
    let _ = writeln!(maps, "    default {next};\n}}");
    let _ = writeln!(maps, "map $server_name {} {{", verdict(number));
    match group.first().and_then(|first| first.sites.as_deref()) {
        None => {
            let _ = writeln!(maps, "    default $stopgap_group_{number};");
        }
        Some(sites) => {
            let mut keys: Vec<String> = sites.iter().map(|site| site_key(site)).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let _ = writeln!(maps, "    {key} $stopgap_group_{number};");
            }
            let _ = writeln!(maps, "    default {next};");
        }
    }
    maps.push_str("}\n");
}

/// `${name}`: where the constant of a rule without conditions follows, `$name` would swallow it.
fn braced(variable: &str) -> String {
    variable.strip_prefix('$').map_or_else(|| variable.to_owned(), |name| format!("${{{name}}}"))
}
