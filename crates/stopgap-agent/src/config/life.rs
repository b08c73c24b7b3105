//! The parts of `stopgap.toml` that say when a mitigation comes and who is told: rings, and hooks.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Deserialize;
use stopgap_feed::document::Wave;

/// One ring: this share of the servers has its turn then.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RingConfig {
    percent: u8,
    after: SignedDuration,
}

/// Rings as they count; the error is a sentence. Shares add up from ring to ring: 10, 50, 100.
pub(super) fn rings(configured: &[RingConfig]) -> Result<Vec<Wave>, String> {
    let mut rings: Vec<Wave> = Vec::new();
    for (number, ring) in configured.iter().enumerate() {
        let place = format!("ring {} of `rings`", number + 1);
        let Ok(after_seconds) = u64::try_from(ring.after.as_secs()) else {
            return Err(format!("{place}: `after` is {:#}: expected zero or more", ring.after));
        };
        if ring.percent > 100 {
            return Err(format!("{place}: `percent` is {}: expected 0 to 100", ring.percent));
        }
        if let Some(last) = rings.last()
            && (ring.percent <= last.percent || after_seconds < last.after_seconds)
        {
            return Err(format!(
                "{place}: expected more servers than the ring before it ({} percent), and not earlier: shares add \
                 up, as in 10, 50, 100",
                last.percent
            ));
        }
        rings.push(Wave { percent: ring.percent, after_seconds });
    }
    Ok(rings)
}

/// `[hooks]`: what an operator runs before and after each change of a target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HooksConfig {
    /// Programs that run before; one that fails stops the change.
    #[serde(default)]
    pub before: Vec<PathBuf>,
    /// Programs that run after, however the change ended.
    #[serde(default)]
    pub after: Vec<PathBuf>,
    /// How long one may take.
    #[serde(default = "default_timeout")]
    pub timeout: SignedDuration,
}

/// Enough for a load balancer to drain; whatever takes longer holds the next cycle up.
fn default_timeout() -> SignedDuration {
    SignedDuration::from_secs(60)
}

/// Longer, and one hook that hangs is an agent that does not protect.
const LONGEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(15);

impl Default for HooksConfig {
    fn default() -> Self {
        HooksConfig { before: Vec::new(), after: Vec::new(), timeout: default_timeout() }
    }
}

impl HooksConfig {
    /// The agent runs them with its own rights: nobody else may be able to put something else there.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.timeout.is_positive() || self.timeout > LONGEST_TIMEOUT {
            return Err(format!(
                "`timeout` of [hooks] is {:#}: expected more than zero, and at most {LONGEST_TIMEOUT:#}",
                self.timeout
            ));
        }
        self.before.iter().chain(&self.after).try_for_each(|program| check_program(program))
    }
}

fn check_program(program: &Path) -> Result<(), String> {
    let named = |what: String| Err(format!("hook {}: {what}", program.display()));
    if !program.is_absolute() {
        return named("expected an absolute path".into());
    }
    // It is handed to env(1), which would take such a path for a variable, and end well without having run it.
    if program.as_os_str().as_encoded_bytes().contains(&b'=') {
        return named("expected a path without `=`".into());
    }
    let meta = match std::fs::metadata(program) {
        Ok(meta) => meta,
        Err(error) => return named(format!("cannot be read: {error}")),
    };
    if !meta.is_file() {
        return named("expected a program, found no file".into());
    }
    #[cfg(unix)]
    if let Err(what) = check_owner(program) {
        return named(what);
    }
    Ok(())
}

/// The program, what a link to it leads to, and all folders above both: who may rename one of them chooses what runs.
#[cfg(unix)]
fn check_owner(program: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    // Whoever runs the agent without being root, in a test, owns what it runs.
    let us = std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid());
    let real = std::fs::canonicalize(program).map_err(|error| format!("cannot be read: {error}"))?;
    let own = std::fs::metadata(&real).map_err(|error| format!("cannot be read: {error}"))?;
    if own.mode() & 0o111 == 0 {
        return Err("it is not executable: chmod +x".into());
    }
    for path in real.ancestors().chain(program.ancestors().skip(1)) {
        let meta = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if ![0, us].contains(&meta.uid()) {
            return Err(format!("{} belongs to user {}: expected root", path.display(), meta.uid()));
        }
        // In a folder like /tmp nobody can rename what belongs to somebody else; what is new there is anybody's.
        let holds_it = Some(path) == real.parent() || Some(path) == program.parent();
        let is_sticky = meta.is_dir() && meta.mode() & 0o1000 != 0 && !holds_it;
        if meta.mode() & 0o022 != 0 && !is_sticky {
            return Err(format!(
                "{} can be written by others (mode {:o}): chmod go-w",
                path.display(),
                meta.mode() & 0o7777
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(percent: u8, seconds: i64) -> RingConfig {
        RingConfig { percent, after: SignedDuration::from_secs(seconds) }
    }

    #[test]
    fn rings_add_up_and_do_not_go_back() {
        let read = rings(&[ring(10, 0), ring(50, 3600), ring(100, 7200)]).unwrap();
        assert_eq!(read[1], Wave { percent: 50, after_seconds: 3600 });
        for bad in [
            vec![ring(101, 0)],
            vec![ring(10, -1)],
            vec![ring(50, 0), ring(50, 1)],
            vec![ring(1, 9), ring(2, 8)],
        ] {
            assert!(rings(&bad).unwrap_err().starts_with("ring "), "{bad:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_hook_that_somebody_else_could_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let hook = folder.path().join("drain");
        let check = |mode| {
            std::fs::write(&hook, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(mode)).unwrap();
            HooksConfig { before: vec![hook.clone()], ..HooksConfig::default() }.check()
        };
        assert_eq!(check(0o755), Ok(()));
        assert!(check(0o775).unwrap_err().contains("chmod go-w"));
        assert!(check(0o644).unwrap_err().contains("chmod +x"));
        check(0o755).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(check(0o755).unwrap_err().contains("chmod go-w"), "its folder counts, too");
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let below = HooksConfig { before: vec![deep.join("drain")], ..HooksConfig::default() };
        std::fs::copy(&hook, deep.join("drain")).unwrap();
        assert!(below.check().unwrap_err().contains("chmod go-w"), "and so do all above it");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(below.check(), Ok(()));
        let odd = folder.path().join("a=b");
        std::fs::copy(&hook, &odd).unwrap();
        let odd = HooksConfig { after: vec![odd], ..HooksConfig::default() };
        assert!(odd.check().unwrap_err().contains("without `=`"));
        let hooks = |path: &str| HooksConfig { after: vec![path.into()], ..HooksConfig::default() };
        assert!(hooks("drain").check().unwrap_err().contains("absolute"));
        assert!(hooks("/nowhere/drain").check().unwrap_err().contains("cannot be read"));
    }
}
