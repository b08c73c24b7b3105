//! The numbers of what the hub tells its log: words are for people, numbers for their tools. Agents have theirs, from
//! 1005 on; the hub's begin at 2001. docs/hub.md lists them.

/// What the hub's records are found by: `journalctl -t stopgap-hub`.
pub const IDENTIFIER: &str = "stopgap-hub";

/// The hub began to serve, or stopped.
pub const SERVICE: u16 = 2001;
/// Where the audit log ends, once a day.
pub const AUDIT_HEAD: u16 = 2002;
/// A message went to whom it was for.
pub const TOLD: u16 = 2003;
/// A message was not told yet, or was given up.
pub const NOT_TOLD: u16 = 2004;
/// Somebody was not let in.
pub const SIGN_IN_REFUSED: u16 = 2005;
/// The disk is full: nothing is kept.
pub const DISK_FULL: u16 = 2006;
/// The database does not answer.
pub const DATABASE_AWAY: u16 = 2007;
/// A request failed for a reason of the hub's own.
pub const REQUEST_FAILED: u16 = 2008;
/// Something about the feeds that the hub keeps for its agents.
pub const MIRROR: u16 = 2009;
/// The hub's certificate could not be renewed.
pub const CERTIFICATE: u16 = 2010;
/// Work that repeats did not succeed this time.
pub const CHORE_FAILED: u16 = 2011;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_stands_once_in_the_documentation() {
        let docs = include_str!("../../../docs/hub.md");
        let all = [
            SERVICE,
            AUDIT_HEAD,
            TOLD,
            NOT_TOLD,
            SIGN_IN_REFUSED,
            DISK_FULL,
            DATABASE_AWAY,
            REQUEST_FAILED,
            MIRROR,
            CERTIFICATE,
            CHORE_FAILED,
        ];
        for event in all {
            assert_eq!(docs.matches(&format!("| {event} |")).count(), 1, "{event}");
        }
        assert_eq!(docs.lines().filter(|line| line.starts_with("| 20")).count(), all.len());
    }
}
