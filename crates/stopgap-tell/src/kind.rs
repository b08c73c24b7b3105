//! What a message is about.

use serde::{Deserialize, Serialize};

/// What happened. The words are API: `events = [...]` names them, and so do webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A server needs a mitigation that it did not need, or that there was not.
    Available,
    /// A mitigation came into force.
    Applied,
    /// A mitigation waits for somebody's approval.
    AwaitingApproval,
    /// A mitigation could not be applied.
    Failed,
    /// A change was taken back.
    Reverted,
    /// A mitigation is in force and does not work.
    Ineffective,
    /// Somebody else keeps undoing it.
    Contested,
    /// A mitigation ends soon, and is taken off then.
    Expiring,
    /// A mitigation is in force no more.
    Removed,
    /// A server is not heard of.
    Quiet,
    /// A server is heard of, and does not reach its feed.
    CutOff,
    /// A server reaches its feed, and is given an old one.
    Frozen,
    /// A server's clock is wrong.
    WrongClock,
    /// One of these four is over.
    Recovered,
    /// How things stand, once a day.
    Digest,
    /// Every mitigation on every server, as a table.
    Report,
    /// Somebody tries whether messages arrive.
    Test,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 17] = [
        Kind::Available,
        Kind::Applied,
        Kind::AwaitingApproval,
        Kind::Failed,
        Kind::Reverted,
        Kind::Ineffective,
        Kind::Contested,
        Kind::Expiring,
        Kind::Removed,
        Kind::Quiet,
        Kind::CutOff,
        Kind::Frozen,
        Kind::WrongClock,
        Kind::Recovered,
        Kind::Digest,
        Kind::Report,
        Kind::Test,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Available => "available",
            Kind::Applied => "applied",
            Kind::AwaitingApproval => "awaiting-approval",
            Kind::Failed => "failed",
            Kind::Reverted => "reverted",
            Kind::Ineffective => "ineffective",
            Kind::Contested => "contested",
            Kind::Expiring => "expiring",
            Kind::Removed => "removed",
            Kind::Quiet => "quiet",
            Kind::CutOff => "cut-off",
            Kind::Frozen => "frozen",
            Kind::WrongClock => "wrong-clock",
            Kind::Recovered => "recovered",
            Kind::Digest => "digest",
            Kind::Report => "report",
            Kind::Test => "test",
        }
    }

    /// What has to be looked at by somebody.
    pub fn is_alarming(self) -> bool {
        use Kind::*;
        matches!(
            self,
            Failed | Reverted | Ineffective | Contested | Expiring | Quiet | CutOff | Frozen | WrongClock
        )
    }

    /// The middle of a title: `example:M1` … ` on 12 servers`.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Kind::Available => "is needed",
            Kind::Applied => "is in force",
            Kind::AwaitingApproval => "waits for approval",
            Kind::Failed => "could not be applied",
            Kind::Reverted => "was taken back",
            Kind::Ineffective => "does not work",
            Kind::Contested => "is undone by somebody else",
            Kind::Expiring => "ends soon",
            Kind::Removed => "was taken off",
            Kind::Quiet => "is not heard of",
            Kind::CutOff => "does not reach its feed",
            Kind::Frozen => "is given an old feed",
            Kind::WrongClock => "has a wrong clock",
            Kind::Recovered => "is well again",
            Kind::Digest | Kind::Report | Kind::Test => "",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let found = Kind::ALL.into_iter().find(|kind| kind.word() == text);
        found.ok_or_else(|| format!("{text:?} is nothing that is told of"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
            assert_eq!(kind.word().parse::<Kind>().unwrap(), kind);
        }
    }
}
