//! What is worth telling of a server, from one report to the next. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stopgap_core::wire::{Happened, Mitigation};

use crate::Kind;

/// A mitigation that ends within this time is told of, once.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Number of the event "a change was taken back" in a server's log.
const REVERTED: u16 = 1011;

/// A mitigation as a report before had it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Was {
    /// Its status, in a word.
    pub status: String,
    /// Whether it was in force.
    pub in_force: bool,
    /// Its own end.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

impl From<&Mitigation> for Was {
    fn from(mitigation: &Mitigation) -> Was {
        Was { status: mitigation.status.clone(), in_force: mitigation.in_force, expires: mitigation.expires }
    }
}

/// What a report before said.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// When it was made.
    pub at: Timestamp,
    /// By `feed:id`.
    pub mitigations: &'a BTreeMap<String, Was>,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub kind: Kind,
    /// Of which mitigation, as `feed:id`; empty: of none alone.
    pub object: String,
    /// In words.
    pub text: String,
}

/// What changed. `before`: `None` where this is a server's first report; then only what wants somebody's eye is told,
/// since all of it is new. `events`: what happened between the two.
pub fn changes(
    before: Option<Before<'_>>,
    at: Timestamp,
    after: &[Mitigation],
    events: &[Happened],
) -> Vec<Happening> {
    let mut found = Vec::new();
    let nothing = BTreeMap::new();
    let known = before.map_or(&nothing, |before| before.mitigations);
    for mitigation in after {
        let object = format!("{}:{}", mitigation.feed, mitigation.id);
        let was = known.get(&object);
        let mut tell = |kind: Kind, text: String| {
            found.push(Happening { kind, object: object.clone(), text });
        };
        let reason = || mitigation.reason.clone().unwrap_or_default();
        if before.is_some() {
            if is_needed(&mitigation.status) && !was.is_some_and(|was| is_needed(&was.status)) {
                tell(Kind::Available, mitigation.description.clone());
            }
            if mitigation.in_force && !was.is_some_and(|was| was.in_force) {
                tell(Kind::Applied, applied(mitigation));
            }
            if !mitigation.in_force && was.is_some_and(|was| was.in_force) {
                tell(Kind::Removed, reason());
            }
        }
        let calls = match mitigation.status.as_str() {
            "AwaitingApproval" => Some(Kind::AwaitingApproval),
            "Failed" => Some(Kind::Failed),
            "Ineffective" => Some(Kind::Ineffective),
            "Contested" => Some(Kind::Contested),
            _ => None,
        };
        if let Some(kind) = calls.filter(|_| was.is_none_or(|was| was.status != mitigation.status)) {
            tell(kind, reason());
        }
        if let Some(end) = mitigation.expires.filter(|_| mitigation.in_force) {
            let soon = |at: Timestamp| end.duration_since(at) <= EXPIRES_SOON;
            let told = before
                .zip(was)
                .is_some_and(|(before, was)| was.in_force && was.expires == Some(end) && soon(before.at));
            if soon(at) && !told {
                tell(Kind::Expiring, format!("it is taken off at {end}"));
            }
        }
    }
    let named = |object: &String| after.iter().any(|one| format!("{}:{}", one.feed, one.id) == *object);
    for (object, _) in known.iter().filter(|(object, was)| was.in_force && !named(object)) {
        let text = "no feed brings it any more".to_owned();
        found.push(Happening { kind: Kind::Removed, object: object.clone(), text });
    }
    for event in events.iter().filter(|event| event.event == REVERTED) {
        let text = event.text.strip_prefix("reverted: ").unwrap_or(&event.text).to_owned();
        found.push(Happening {
            kind: Kind::Reverted,
            object: event.mitigation.clone().unwrap_or_default(),
            text,
        });
    }
    found
}

/// Whether a server in this status has what the mitigation is against.
fn is_needed(status: &str) -> bool {
    !matches!(status, "NotApplicable" | "Unknown" | "Unsupported" | "Expired" | "Withdrawn" | "")
}

fn applied(mitigation: &Mitigation) -> String {
    match (&mitigation.reason, mitigation.proven_at) {
        (Some(reason), _) => reason.clone(),
        (None, Some(_)) => "proven".to_owned(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn one(status: &str, in_force: bool, expires: Option<&str>) -> Mitigation {
        serde_json::from_value(serde_json::json!({"feed": "example", "id": "M1", "type": "UrlRewrite",
            "verdict": "Applies", "status": status, "in_force": in_force, "expires": expires}))
        .unwrap()
    }

    fn kinds(before: Option<&[Mitigation]>, after: &[Mitigation]) -> Vec<Kind> {
        let known: Option<BTreeMap<String, Was>> =
            before.map(|all| all.iter().map(|one| ("example:M1".to_owned(), one.into())).collect());
        let before = known.as_ref().map(|mitigations| Before { at: at("2026-11-22T11:00:00Z"), mitigations });
        changes(before, at(NOON), after, &[]).into_iter().map(|found| found.kind).collect()
    }

    #[test]
    fn each_step_of_a_life_is_told_once() {
        use Kind::*;
        let step = |from: (&str, bool), to: (&str, bool)| {
            kinds(Some(&[one(from.0, from.1, None)]), &[one(to.0, to.1, None)])
        };
        assert_eq!(kinds(Some(&[]), &[one("Scheduled", false, None)]), [Available]);
        assert_eq!(kinds(Some(&[]), &[one("Applied", true, None)]), [Available, Applied]);
        assert_eq!(
            step(("NotApplicable", false), ("AwaitingApproval", false)),
            [Available, AwaitingApproval]
        );
        assert_eq!(step(("Scheduled", false), ("Applied", true)), [Applied]);
        assert_eq!(step(("Applied", true), ("Applied", true)), []);
        assert_eq!(step(("Applied", true), ("Ineffective", true)), [Ineffective]);
        assert_eq!(step(("Ineffective", true), ("Ineffective", true)), []);
        assert_eq!(step(("Applied", true), ("Contested", true)), [Contested]);
        assert_eq!(step(("Scheduled", false), ("Failed", false)), [Failed]);
        assert_eq!(step(("Applied", true), ("NotApplicable", false)), [Removed]);
        assert_eq!(step(("Applied", true), ("Blocked", true)), [], "a block does not take off");
        assert_eq!(kinds(Some(&[one("Applied", true, None)]), &[]), [Removed]);
        assert_eq!(kinds(Some(&[one("Scheduled", false, None)]), &[]), []);
        assert_eq!(kinds(Some(&[]), &[one("NotApplicable", false, None)]), []);
    }

    #[test]
    fn a_server_that_joins_tells_what_wants_an_eye_and_not_all_that_it_has() {
        assert_eq!(kinds(None, &[one("Applied", true, None)]), []);
        assert_eq!(kinds(None, &[one("Failed", false, None)]), [Kind::Failed]);
    }

    #[test]
    fn an_end_is_told_when_it_comes_near_and_again_when_it_is_moved() {
        let with = |before: Option<&str>, after: &str| {
            kinds(Some(&[one("Applied", true, before)]), &[one("Applied", true, Some(after))])
        };
        let (near, nearer, far) = ("2026-11-29T11:30:00Z", "2026-11-24T12:00:00Z", "2026-12-24T12:00:00Z");
        assert_eq!(with(Some(near), near), [Kind::Expiring], "an hour ago it was more than a week");
        assert_eq!(with(Some(nearer), nearer), []);
        assert_eq!(with(Some(far), nearer), [Kind::Expiring]);
        assert_eq!(with(Some(far), far), []);
        assert_eq!(kinds(Some(&[]), &[one("Scheduled", false, Some(nearer))]), [Kind::Available]);
    }

    #[test]
    fn a_change_that_was_taken_back_is_told_in_the_servers_words() {
        let event =
            Happened { at: at(NOON), event: 1011, mitigation: None, text: "reverted: nginx: worse".into() };
        let other = Happened { event: 1008, ..event.clone() };
        let known = BTreeMap::new();
        let before = Before { at: at(NOON), mitigations: &known };
        let found = changes(Some(before), at(NOON), &[], &[event, other]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].text.as_str()), (Kind::Reverted, "nginx: worse"));
    }
}
