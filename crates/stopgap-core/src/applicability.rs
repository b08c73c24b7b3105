//! Applicability: whether a mitigation concerns a server with these facts.
//!
//! Three answers, since what cannot be read is neither yes nor no. What is installed is judged first; once that
//! is fixed, what still runs of the time before.

mod known;
mod running;

use std::cmp::Ordering;

use stopgap_feed::document::{Condition, Product, Range};

use crate::facts::Facts;
use crate::version::{self, VersionError};

/// Whether a condition holds, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applicability {
    /// It holds.
    Holds(String),
    /// It does not hold.
    DoesNotHold(String),
    /// It could not be told.
    Unknown(String),
    /// This build cannot judge it.
    Unsupported(String),
}

/// Judges `condition`; `None` holds on every server.
pub fn judge(condition: Option<&Condition>, facts: &Facts) -> Applicability {
    match condition {
        None => Applicability::Holds("it concerns every server".into()),
        Some(Condition::All(parts)) => combine(parts, facts, Combine::All),
        Some(Condition::Any(parts)) => combine(parts, facts, Combine::Any),
        Some(Condition::Product(product)) => judge_product(product, facts),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Combine {
    All,
    Any,
}

/// Any: the first that holds decides; All: the first that does not. Else the least certain part
/// decides, so that an unknown is never counted as an answer.
fn combine(parts: &[Condition], facts: &Facts, how: Combine) -> Applicability {
    let judged: Vec<Applicability> = parts.iter().map(|part| judge(Some(part), facts)).collect();
    let decides = |a: &&Applicability| match how {
        Combine::Any => matches!(a, Applicability::Holds(_)),
        Combine::All => matches!(a, Applicability::DoesNotHold(_)),
    };
    let unsupported = |a: &&Applicability| matches!(a, Applicability::Unsupported(_));
    let unknown = |a: &&Applicability| matches!(a, Applicability::Unknown(_));
    let found = judged
        .iter()
        .find(decides)
        .or_else(|| judged.iter().find(unsupported))
        .or_else(|| judged.iter().find(unknown));
    match (found, how) {
        (Some(answer), _) => answer.clone(),
        (None, Combine::All) => Applicability::Holds(reasons(&judged)),
        (None, Combine::Any) => Applicability::DoesNotHold(reasons(&judged)),
    }
}

fn reasons(judged: &[Applicability]) -> String {
    let texts: Vec<&str> = judged
        .iter()
        .map(|answer| match answer {
            Applicability::Holds(why)
            | Applicability::DoesNotHold(why)
            | Applicability::Unknown(why)
            | Applicability::Unsupported(why) => why.as_str(),
        })
        .collect();
    if texts.is_empty() { "it names no product".into() } else { texts.join("; ") }
}

fn judge_product(product: &Product, facts: &Facts) -> Applicability {
    let known = match known::of(product, facts) {
        Ok(known) => known,
        Err(answer) => return answer,
    };
    let name = &product.name;
    let shown: Vec<String> = known.versions.iter().map(|version| known.shown(version)).collect();
    let shown = shown.join(", ");
    if product.ranges.is_empty() {
        let place = if known.is_behind() { "behind" } else { "on" };
        return Applicability::Holds(format!("{name} {shown} is {place} this server"));
    }
    // Any installed version that is affected is one that can be attacked.
    let mut unknown = known.unknown.as_ref().map(|why| format!("{name} {shown}, and {why}"));
    for version in &known.versions {
        match affected(product, version) {
            Ok(Some(range)) => {
                let version = known.shown(version);
                return Applicability::Holds(format!("{name} {version} is {}", words(range)));
            }
            Ok(None) => {}
            Err(error) => unknown = Some(format!("{name}: {error}")),
        }
    }
    let fixed = format!("{name} {shown} is in none of the affected ranges");
    match running::judge(product, &known, &fixed) {
        Some(Applicability::Unknown(why)) => {
            unknown.get_or_insert(why);
        }
        Some(answer) => return answer,
        None => {}
    }
    unknown.map_or(Applicability::DoesNotHold(fixed), Applicability::Unknown)
}

/// The first range that holds a version.
fn affected<'a>(product: &'a Product, version: &str) -> Result<Option<&'a Range>, VersionError> {
    for range in &product.ranges {
        if within(product, range, version)? {
            return Ok(Some(range));
        }
    }
    Ok(None)
}

fn within(product: &Product, range: &Range, version: &str) -> Result<bool, VersionError> {
    let bound = |limit: &Option<String>, holds: fn(Ordering) -> bool| match limit {
        None => Ok(true),
        Some(limit) => version::compare(product.scheme, version, limit).map(holds),
    };
    Ok(bound(&range.from, Ordering::is_ge)?
        && bound(&range.below, Ordering::is_lt)?
        && bound(&range.through, Ordering::is_le)?)
}

fn words(range: &Range) -> String {
    let part = |word: &str, limit: &Option<String>| limit.as_ref().map(|limit| format!("{word} {limit}"));
    let parts: Vec<String> =
        [part("from", &range.from), part("below", &range.below), part("through", &range.through)]
            .into_iter()
            .flatten()
            .collect();
    if parts.is_empty() { "any version".into() } else { parts.join(" and ") }
}

#[cfg(test)]
mod tests;
