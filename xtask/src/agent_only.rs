//! The agent-only build: what a server gets that is no publisher. It must hold nothing that signs.

use anyhow::{Result, bail};

use crate::cargo::{cargo, output, succeed};

/// How Cargo is told to build it.
const BUILD: &[&str] = &["--package", "stopgap", "--no-default-features", "--features", "agent"];

/// Crates that sign, or make keys.
const FORBIDDEN: &[&str] = &["rcgen", "stopgap-publish"];

/// Without it the build would be no agent, and the absence of the others no merit.
const REQUIRED: &str = "stopgap-agent";

/// Looks at the tree of the build, then builds it.
pub fn check() -> Result<()> {
    let tree = output(cargo().arg("tree").args(BUILD).args(["--edges", "normal,build", "--prefix", "none"]))?;
    judge(&tree)?;
    succeed(cargo().args(["build", "--release"]).args(BUILD))
}

/// `tree`: one crate a line, its name first.
fn judge(tree: &str) -> Result<()> {
    let holds = |name: &str| tree.lines().any(|line| line.split_whitespace().next() == Some(name));
    if !holds(REQUIRED) {
        bail!("the agent-only build does not contain {REQUIRED}");
    }
    let found: Vec<&str> = FORBIDDEN.iter().copied().filter(|name| holds(name)).collect();
    if !found.is_empty() {
        bail!("the agent-only build contains {}: an agent must not be able to sign", found.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_can_sign_is_refused() {
        assert!(judge("stopgap v0.1.0 (/src)\nstopgap-agent v0.1.0 (/src)\n").is_ok());
        let error = judge("stopgap v0.1.0\nstopgap-agent v0.1.0\nrcgen v0.14.10\n").unwrap_err().to_string();
        assert_eq!(error, "the agent-only build contains rcgen: an agent must not be able to sign");
    }

    #[test]
    fn a_build_without_an_agent_proves_nothing() {
        assert!(judge("stopgap v0.1.0\n").is_err());
    }
}
