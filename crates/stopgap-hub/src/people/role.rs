//! Roles, and what each may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a person or a token may do. Viewer, operator and administrator each include the one before; the
/// auditor reads everything, the audit log included, and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees servers, mitigations and settings.
    Viewer,
    /// Changes settings, approves.
    Operator,
    /// Manages people, tokens, enrollments, groups and servers as well.
    Administrator,
    /// Sees everything, the audit log included.
    Auditor,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// See servers, mitigations and settings.
    See,
    /// See the audit log, people and tokens.
    Audit,
    /// Change settings, approve.
    Operate,
    /// Manage people, tokens, enrollments, groups, servers.
    Administer,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Administrator, Role::Auditor];

    /// The table of roles.
    pub fn allows(self, right: Right) -> bool {
        match (self, right) {
            (_, Right::See)
            | (Role::Auditor | Role::Administrator, Right::Audit)
            | (Role::Operator | Role::Administrator, Right::Operate)
            | (Role::Administrator, Right::Administer) => true,
            (Role::Viewer | Role::Operator, Right::Audit)
            | (Role::Viewer | Role::Auditor, Right::Operate)
            | (Role::Viewer | Role::Operator | Role::Auditor, Right::Administer) => false,
        }
    }

    /// Whether somebody with this role may make a token with the other: nobody hands out more than they have.
    pub fn covers(self, other: Role) -> bool {
        [Right::See, Right::Audit, Right::Operate, Right::Administer]
            .into_iter()
            .all(|right| self.allows(right) || !other.allows(right))
    }

    /// Its word in JSON and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Administrator => "administrator",
            Role::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| {
            format!("{text:?} is no role; expected viewer, operator, administrator or auditor")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_roles() {
        let rights = |role: Role| {
            [Right::See, Right::Audit, Right::Operate, Right::Administer].map(|right| role.allows(right))
        };
        assert_eq!(rights(Role::Viewer), [true, false, false, false]);
        assert_eq!(rights(Role::Operator), [true, false, true, false]);
        assert_eq!(rights(Role::Administrator), [true, true, true, true]);
        assert_eq!(rights(Role::Auditor), [true, true, false, false]);
    }

    #[test]
    fn nobody_hands_out_more_than_they_have() {
        assert!(Role::Administrator.covers(Role::Auditor) && Role::Operator.covers(Role::Viewer));
        assert!(!Role::Operator.covers(Role::Auditor) && !Role::Auditor.covers(Role::Operator));
    }
}
