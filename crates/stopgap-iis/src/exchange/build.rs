//! A build number of Exchange, in the three forms in which Exchange writes it.

use std::fmt;
use std::str::FromStr;

/// Four numbers. What a build is depends on the first three, its branch; the last is raised by security updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build {
    major: u32,
    minor: u32,
    number: u32,
    revision: u32,
}

/// Why a text is no build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no build: expected four numbers such as 15.2.986.5, 15.02.0986.005 or Version 15.2 (Build 986.5)"
)]
pub struct BuildError {
    /// What stood there, shortened.
    pub found: String,
}

impl Build {
    /// The four numbers as they are written.
    pub const fn new(major: u32, minor: u32, number: u32, revision: u32) -> Build {
        Build { major, minor, number, revision }
    }

    /// The first three numbers: one cumulative update, whatever security update is on it.
    pub const fn branch(self) -> (u32, u32, u32) {
        (self.major, self.minor, self.number)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.major, self.minor, self.number, self.revision)
    }
}

impl FromStr for Build {
    type Err = BuildError;

    /// Reads the short form (`15.2.986.5`), the long form of file versions (`15.02.0986.005`) and that of
    /// `AdminDisplayVersion` (`Version 15.2 (Build 986.5)`), with leading zeros in any number.
    fn from_str(text: &str) -> Result<Build, BuildError> {
        let error = || BuildError { found: text.chars().take(80).collect() };
        let display = text.trim().strip_prefix("Version ").and_then(|rest| rest.strip_suffix(')'));
        let plain = match display {
            Some(rest) => rest.replacen(" (Build ", ".", 1),
            None => text.trim().to_owned(),
        };
        let mut parts = plain.split('.').map(|part| {
            // `parse` would take a sign.
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten().ok_or_else(error)
        });
        let mut next = || parts.next().ok_or_else(error)?;
        let build = Build { major: next()?, minor: next()?, number: next()?, revision: next()? };
        match parts.next() {
            None => Ok(build),
            Some(_) => Err(error()),
        }
    }
}
