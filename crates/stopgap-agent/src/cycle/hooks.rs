//! Hooks: what an operator runs before and after a change, such as draining a load balancer.
//!
//! They are programs of the configuration, which root alone can write; a feed names none. Each gets a fixed
//! environment: `STOPGAP_WHEN` (`before` or `after`), `STOPGAP_TARGET`, `STOPGAP_PUTS_ON` and
//! `STOPGAP_TAKES_OFF` (actions as `example:M1.1`, divided by blanks). `after` runs whenever `before` may
//! have run, after a crash too, so it must be able to run twice.

use std::path::Path;

use stopgap_core::plan::{ActionRef, Change};
use stopgap_drivers::{Host, host::Command};

use crate::config::HooksConfig;

/// Runs the programs that come before; the first that fails is the error, as a sentence.
pub(super) fn before(host: &dyn Host, hooks: &HooksConfig, change: &Change) -> Result<(), String> {
    hooks.before.iter().try_for_each(|program| run(host, hooks, program, "before", change))
}

/// Runs the programs that come after, all of them; what failed, as sentences.
pub(super) fn after(host: &dyn Host, hooks: &HooksConfig, change: &Change) -> Vec<String> {
    hooks.after.iter().filter_map(|program| run(host, hooks, program, "after", change).err()).collect()
}

/// How much of what a hook says is kept.
const SAID_MAX: usize = 400;

fn run(
    host: &dyn Host,
    hooks: &HooksConfig,
    program: &Path,
    when: &str,
    change: &Change,
) -> Result<(), String> {
    // `env` gives a program its environment with no shell in between.
    let command = Command {
        args: vec![
            format!("STOPGAP_WHEN={when}"),
            format!("STOPGAP_TARGET={}", change.target),
            format!("STOPGAP_PUTS_ON={}", names(&change.puts_on)),
            format!("STOPGAP_TAKES_OFF={}", names(&change.takes_off)),
            program.display().to_string(),
        ],
        timeout: hooks.timeout.unsigned_abs(),
        ..Command::new("/usr/bin/env", &[])
    };
    let named = |what: String| Err(format!("hook {} {what}", program.display()));
    match host.run(&command) {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(SAID_MAX).collect();
            let code = output.status.map_or("by a signal".to_owned(), |code| format!("with {code}"));
            named(if said.is_empty() { format!("ended {code}") } else { format!("ended {code}: {said}") })
        }
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            named(format!("was ended after {:#}", hooks.timeout))
        }
        Err(error) => named(format!("cannot be run: {error}")),
    }
}

fn names(actions: &[ActionRef]) -> String {
    let names: Vec<String> =
        actions.iter().map(|what| format!("{}:{}", what.key.feed, what.action)).collect();
    names.join(" ")
}
