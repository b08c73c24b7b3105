//! `stopgap rules check FILE`.

use std::path::PathBuf;

use stopgap_rules::OutboundAction;

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// One <rewrite>, one of its sections, or a web.config
    file: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let rules = super::load(&args.file)?;
    let engine = super::compile(&rules, &args.file)?;
    let file = args.file.display();
    let (inbound, outbound) = (engine.len(), engine.outbound_len());
    output::line(format_args!("{file}: {inbound} rules, {outbound} outbound rules, all of them compile"))?;
    for rule in rules.outbound.iter().filter(|rule| rule.enabled) {
        let does = match &rule.action {
            OutboundAction::None => "changes nothing",
            OutboundAction::Rewrite { value, .. } if value.is_empty() => "removes",
            OutboundAction::Rewrite { .. } => "rewrites",
        };
        let subject = match &rule.subject {
            stopgap_rules::OutboundSubject::Variable(name) => name.as_str(),
            stopgap_rules::OutboundSubject::Body { .. } => "the body",
        };
        output::line(format_args!("outbound `{}`: {does} {subject}", rule.name))?;
    }
    for rule in engine.rules_without_literal() {
        output::line(format_args!("note: `{rule}` holds no fixed text and is tried on every request"))?;
    }
    for level in &rules.not_inherited {
        output::line(format_args!(
            "note: applications below `{}` do not inherit its rules on IIS; here they do",
            level.path()
        ))?;
    }
    Ok(Code::Done)
}
