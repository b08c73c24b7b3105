//! `stopgap explain ID`: one mitigation: verdict, reason, where, probes, side effects, and how it is
//! taken off by hand.

use std::path::Path;

use stopgap_agent::cycle::{Mode, Prospect};
use stopgap_agent::operator::Named;
use stopgap_core::report::MitigationReport;
use stopgap_core::select::Selected;
use stopgap_feed::document::Expect;

use super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{json, line};

#[derive(clap::Args)]
pub struct Args {
    /// A mitigation, such as M1 or example:M1
    #[arg(value_name = "ID")]
    id: Named,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let done = local::offline(&config, Mode::Plan)?;
    let named = |m: &&MitigationReport| {
        m.id == args.id.id && args.id.feed.as_ref().is_none_or(|feed| *feed == m.feed)
    };
    let found: Vec<&MitigationReport> = done.report.mitigations.iter().filter(named).collect();
    let report = match found.as_slice() {
        [one] => *one,
        [] => {
            return Err(Failure::new(anyhow::anyhow!("no mitigation {} is known here", args.id))
                .hint("`stopgap status` lists them; `stopgap apply` asks the feeds"));
        }
        [first, ..] => {
            return Err(Failure::usage(format_args!("{} is in several feeds", args.id))
                .hint(format_args!("name the feed too: {}:{}", first.feed, first.id)));
        }
    };
    let selected = done
        .selection
        .mitigations
        .iter()
        .find(|s| s.key.id == report.id && s.key.feed == report.feed)
        .ok_or_else(|| anyhow::anyhow!("{} was reported and not selected", args.id))?;
    if args.json {
        let mut value = serde_json::to_value(report)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("revision".into(), selected.digest.clone().into());
            object.insert("cve".into(), selected.mitigation.cve.clone().into());
            object
                .insert("probes".into(), selected.mitigation.probes.iter().map(|p| p.head.clone()).collect());
            if let Some(prospect) = done.prospects.get(&selected.key) {
                object.insert("would_do".into(), serde_json::to_value(&prospect.steps)?);
                object.insert("cannot".into(), cannot(prospect));
            }
            object.insert("octets".into(), selected.mitigation.octets.clone().into());
        }
        json(&value)?;
    } else {
        print(report, selected)?;
        if let Some(prospect) = done.prospects.get(&selected.key) {
            foretell(prospect)?;
        }
    }
    Ok(Code::Done)
}

fn print(report: &MitigationReport, selected: &Selected) -> std::io::Result<()> {
    let mitigation = &selected.mitigation;
    line(format_args!("{}:{}  {}", report.feed, report.id, report.description))?;
    if !mitigation.cve.is_empty() {
        line(format_args!("CVE         {}", mitigation.cve.join(", ")))?;
    }
    line(format_args!("Verdict     {}: {}", report.verdict, selected.verdict.reason()))?;
    line(format_args!("Status      {:?}", report.status))?;
    if let Some(reason) = report.reason.as_ref().filter(|reason| **reason != selected.verdict.reason()) {
        line(format_args!("            {reason}"))?;
    }
    let force = if report.in_force { "yes, as observed on this server" } else { "no" };
    line(format_args!("In force    {force}"))?;
    if let Some(at) = report.proven_at {
        line(format_args!("Proven at   {at:.0}"))?;
    }
    line(format_args!("Trusted at  {:.0}", selected.trusted_at))?;
    line(format_args!("Revision    {}", selected.digest))?;
    for action in &report.actions {
        line(format_args!("\nAction {}", action.id))?;
        for place in &action.targets {
            let at = place.listener.as_deref().unwrap_or("no known listener");
            let force = if place.in_force { "in force" } else { "not in force" };
            let why = place.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            line(format_args!(
                "  {} / {} at {at}: {force}, {:?}{why}",
                place.target, place.site, place.proof
            ))?;
        }
    }
    if !mitigation.probes.is_empty() {
        line("\nProbes")?;
    }
    for probe in &mitigation.probes {
        let expect = match &probe.expect {
            Expect::Blocked => "blocked".to_owned(),
            Expect::Allowed => "allowed".to_owned(),
            Expect::Header { name, pattern } => format!("header {name} matches {pattern}"),
        };
        let request = probe.head.lines().next().unwrap_or_default();
        line(format_args!("  {expect}: {request}"))?;
    }
    for effect in &mitigation.side_effects {
        let monitor = effect.monitor.as_deref().map(|m| format!(" ({m} will complain)")).unwrap_or_default();
        line(format_args!("\nSide effect  {}{monitor}", effect.description))?;
    }
    line(format_args!("\nTo take it off: stopgap revert {}", report.id))?;
    if let Some(rollback) = &mitigation.rollback {
        line(format_args!("By hand: {rollback}"))?;
    }
    Ok(())
}

/// Where it waits: what would be done here.
fn foretell(prospect: &Prospect) -> std::io::Result<()> {
    line("\nOnce it is let in")?;
    for (target, why) in &prospect.cannot {
        line(format_args!("  {target} cannot: {why}"))?;
    }
    for step in &prospect.steps {
        let kind = format!("{:?}", step.kind).to_lowercase();
        line(format_args!("  {} {kind} {} {}", step.target, step.path, step.detail))?;
    }
    Ok(())
}

fn cannot(prospect: &Prospect) -> serde_json::Value {
    let one = |(target, why): &(String, String)| serde_json::json!({ "target": target, "why": why });
    prospect.cannot.iter().map(one).collect()
}
