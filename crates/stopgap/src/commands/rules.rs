//! `stopgap rules`: the rule language by itself.

mod check;
mod test;
mod translate;

use std::path::Path;

use anyhow::Context;
use stopgap_rules::{Engine, EngineLimits, RuleSet};

use crate::exit::{Code, Failure, Outcome};

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Check that rules are read and compiled
    Check(check::Args),
    /// Say what rules do to a request
    Test(test::Args),
    /// Print rules as another server's configuration
    Translate(translate::Args),
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Check(args) => check::run(args),
        Command::Test(args) => test::run(args),
        Command::Translate(args) => translate::run(args),
    }
}

/// Reads and parses a rule file.
fn load(path: &Path) -> Result<RuleSet, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    RuleSet::parse(&text)
        .with_context(|| format!("{} holds rules that cannot be read", path.display()))
        .map_err(|error| Failure { error, hint: None, code: Code::Wanting })
}

fn compile(rules: &RuleSet, path: &Path) -> Result<Engine, Failure> {
    Engine::compile(rules, &EngineLimits::default())
        .with_context(|| format!("{} holds rules that cannot be compiled", path.display()))
        .map_err(|error| Failure { error, hint: None, code: Code::Wanting })
}
