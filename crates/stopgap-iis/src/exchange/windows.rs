//! Versions of Windows, IIS and the rewrite module, from the strings that Windows keeps.

use super::Reading;

/// `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// `CurrentMajorVersionNumber`, from Windows Server 2016 on.
    pub major: Reading,
    /// `CurrentMinorVersionNumber`, from Windows Server 2016 on.
    pub minor: Reading,
    /// `CurrentVersion`: right up to 6.3, and left at that in later versions.
    pub current: Reading,
    /// `CurrentBuildNumber`.
    pub build: Reading,
    /// `UBR`, the number that monthly updates raise; absent in the oldest.
    pub revision: Reading,
}

/// An installed Windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// `10.0`, `6.3`.
    release: String,
    build: u32,
    revision: Option<u32>,
}

impl Windows {
    /// `10.0.17763.6414`; without the last number where Windows does not state it.
    pub fn version(&self) -> String {
        match self.revision {
            Some(revision) => format!("{}.{}.{revision}", self.release, self.build),
            None => format!("{}.{}", self.release, self.build),
        }
    }

    /// The server release of this build, for people. Source: "Windows Server release information" (Microsoft).
    pub fn name(&self) -> Option<&'static str> {
        let names = [
            (9200, "Windows Server 2012"),
            (9600, "Windows Server 2012 R2"),
            (14393, "Windows Server 2016"),
            (17763, "Windows Server 2019"),
            (20348, "Windows Server 2022"),
            (26100, "Windows Server 2025"),
        ];
        names.into_iter().find(|(build, _)| *build == self.build).map(|(_, name)| name)
    }
}

/// Reads the version of Windows; nothing where there is no such key, which is no Windows.
pub fn windows(readings: &Readings) -> Option<Result<Windows, String>> {
    if *readings == Readings::default() {
        return None;
    }
    Some(read(readings))
}

fn read(readings: &Readings) -> Result<Windows, String> {
    let release = match (&readings.major, &readings.minor) {
        (Reading::Absent, _) => dotted(&required("CurrentVersion", &readings.current)?)
            .map_err(|e| format!("CurrentVersion: {e}"))?,
        (major, minor) => format!(
            "{}.{}",
            number("CurrentMajorVersionNumber", major)?,
            number("CurrentMinorVersionNumber", minor)?
        ),
    };
    let revision = match &readings.revision {
        Reading::Absent => None,
        revision => Some(number("UBR", revision)?),
    };
    Ok(Windows { release, build: number("CurrentBuildNumber", &readings.build)?, revision })
}

fn required(name: &str, reading: &Reading) -> Result<String, String> {
    match reading {
        Reading::Value(text) => Ok(text.clone()),
        Reading::Absent => Err(format!("{name} is missing")),
        Reading::Unreadable(why) => Err(format!("{name}: {why}")),
    }
}

fn number(name: &str, reading: &Reading) -> Result<u32, String> {
    let text = required(name, reading)?;
    let error = || format!("{name} is `{}`, expected a number", text.chars().take(80).collect::<String>());
    if text.trim().starts_with('+') { Err(error()) } else { text.trim().parse().map_err(|_| error()) }
}

/// A dotted version out of a registry string or a file version: `Version 10.0` is `10.0`, `7.1.1993.2351` itself,
/// `07.01.1993` is `7.1.1993`. The error says what was found.
pub fn dotted(text: &str) -> Result<String, String> {
    let shown = || text.chars().take(80).collect::<String>();
    let plain = text.trim();
    let plain = plain.strip_prefix("Version ").unwrap_or(plain);
    let parts = plain.split('.').map(|part| {
        let digits = !part.is_empty() && part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u64>().ok()).flatten().map(|number| number.to_string())
    });
    let parts: Option<Vec<String>> = parts.collect();
    match parts.filter(|parts| parts.len() <= 8) {
        Some(parts) => Ok(parts.join(".")),
        None => Err(format!("`{}` is no version: expected numbers separated by dots", shown())),
    }
}
