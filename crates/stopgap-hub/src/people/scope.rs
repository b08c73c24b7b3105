//! Scopes: what of the API a token reaches, beside what its role may do there.
//!
//! A scope is the first word of an address behind `/v1/`, `servers`, or that word for reading alone, `servers:read`;
//! `metrics` is `/metrics`. A token without scopes reaches everything. A part of the API that is new is reached by no token with scopes until
//! somebody names it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What there is to reach.
pub const AREAS: [&str; 13] = [
    "organization",
    "groups",
    "servers",
    "mitigations",
    "approvals",
    "history",
    "audit",
    "tokens",
    "users",
    "enrollments",
    "notifications",
    "troubles",
    "metrics",
];

/// What everybody reaches who is somebody: who they are, and the description of the API.
const OPEN: [&str; 3] = ["me", "session", "openapi.json"];

/// One scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    area: &'static str,
    reads: bool,
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Scope, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let (area, reads) = match text.strip_suffix(":read") {
            Some(area) => (area, true),
            None => (text, false),
        };
        let known = AREAS.into_iter().find(|known| *known == area);
        let area = known.ok_or_else(|| {
            format!("{text:?} is no scope; expected one of {}, alone or with :read", AREAS.join(", "))
        })?;
        Ok(Scope { area, reads })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.area, if self.reads { ":read" } else { "" })
    }
}

/// Whether these scopes reach an address below `/v1`, for reading or for changing.
pub fn reach(scopes: &[Scope], path: &str, reads: bool) -> bool {
    let area = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    scopes.is_empty() || OPEN.contains(&area) || names(scopes, area, reads)
}

/// Whether who has these scopes may hand out those: nobody hands out more than they have.
pub fn cover(scopes: &[Scope], others: &[Scope]) -> bool {
    let within = |other: &Scope| names(scopes, other.area, other.reads);
    scopes.is_empty() || !others.is_empty() && others.iter().all(within)
}

fn names(scopes: &[Scope], area: &str, reads: bool) -> bool {
    scopes.iter().any(|scope| scope.area == area && (reads || !scope.reads))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_token_reaches_what_its_scopes_name_and_nothing_new() {
        let some = scopes(&["servers:read", "approvals"]);
        for (path, reads, expected) in [
            ("/servers", true, true),
            ("/servers/a/settings", true, true),
            ("/servers/a", false, false),
            ("/approvals", false, true),
            ("/audit", true, false),
            ("/a-part-of-later", true, false),
            ("/me", true, true),
        ] {
            assert_eq!(reach(&some, path, reads), expected, "{path}");
            assert!(reach(&[], path, reads));
        }
        assert!("servers:write".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    }

    #[test]
    fn nobody_hands_out_more_than_they_have() {
        let some = scopes(&["tokens", "servers:read"]);
        assert!(cover(&some, &scopes(&["servers:read"])) && cover(&[], &[]) && cover(&[], &some));
        assert!(
            !cover(&some, &[]) && !cover(&some, &scopes(&["servers"])) && !cover(&some, &scopes(&["users"]))
        );
    }
}
