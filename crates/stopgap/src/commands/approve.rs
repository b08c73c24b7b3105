//! `stopgap approve` and `unapprove`: a person's word that one revision of a mitigation may come into
//! force, where `approval = "required"`; on this server, or through the hub for others.

use std::path::Path;

use jiff::Timestamp;
use stopgap_agent::cycle::Mode;
use stopgap_agent::operator::Named;
use stopgap_core::policy::Approved;
use stopgap_core::select::{Selected, Selection, Verdict};
use stopgap_feed::Key;

use super::local;
#[cfg(feature = "hub")]
use super::org::approvals::{self, Scope, Wanted};
#[cfg(feature = "hub")]
use super::remote::Remote;
use crate::exit::{Failure, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct ApproveArgs {
    /// A mitigation, such as M1 or example:M1
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Named>,
    /// Say why; the history keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only while this is its revision: the SHA-256 that `explain` prints, or how it begins
    #[arg(long, value_name = "SHA256")]
    revision: Option<String>,
    #[cfg(feature = "hub")]
    #[command(flatten)]
    scope: Scope,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct UnapproveArgs {
    /// A mitigation, such as M1 or example:M1
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Named>,
    #[cfg(feature = "hub")]
    #[command(flatten)]
    scope: Scope,
    /// Say why; the hub's audit log keeps it
    #[cfg(feature = "hub")]
    #[arg(long, value_name = "TEXT", requires = "scope")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn approve(args: ApproveArgs, path: &Path) -> Outcome {
    if args.revision.is_some() && args.ids.len() != 1 {
        return Err(Failure::usage("--revision is of one mitigation: name one"));
    }
    #[cfg(feature = "hub")]
    if let Some(level) = args.scope.level() {
        if args.revision.as_ref().is_some_and(|revision| revision.len() < SHORTEST) {
            return Err(Failure::usage(format_args!("--revision takes at least {SHORTEST} digits")));
        }
        let ids = args.ids.iter().map(Named::to_string).collect();
        let (revision, reason, json) = (args.revision.as_deref(), args.reason.as_deref(), args.json);
        let remote = Remote::needed()?;
        let wanted = Wanted { level, ids, revision, reason, json };
        return system::runtime()?.block_on(approvals::approve(&remote, wanted));
    }
    let config = local::config(path)?;
    let selection = local::offline(&config, Mode::Plan)?.selection;
    let found: Result<Vec<&Selected>, Failure> = args.ids.iter().map(|id| one(&selection, id)).collect();
    let found = found?;
    if let (Some(revision), Some(selected)) = (&args.revision, found.first())
        && (revision.len() < SHORTEST || !selected.digest.starts_with(&revision.to_ascii_lowercase()))
    {
        return Err(Failure::new(anyhow::anyhow!(
            "{} is not approved: its revision is {}, and not {revision}",
            selected.key,
            selected.digest
        ))
        .hint(format_args!("read it again: stopgap explain {}", selected.key)));
    }
    let (at, by) = (Timestamp::now(), system::user());
    let names: Vec<String> =
        found.iter().map(|s| format!("{} (revision {})", s.key, local::short(&s.digest))).collect();
    let said = format!("approve {}{}", names.join(" "), local::because(args.reason.as_deref()));
    local::change_operator(&config, &said, |operator| {
        for selected in &found {
            operator.approve(Approved {
                key: selected.key.clone(),
                digest: selected.digest.clone(),
                at,
                by: by.clone(),
                reason: args.reason.clone(),
            });
        }
    })?;
    for (selected, name) in found.iter().zip(&names) {
        let rest = match selected.verdict {
            Verdict::AwaitingApproval { .. } => "",
            _ => "; nothing waited for that",
        };
        output::say(format_args!("{} only: {name} is approved{rest}", config.server));
    }
    local::carry_out(&config, args.json)
}

/// Eight digits of a digest are no accident.
const SHORTEST: usize = 8;

pub fn unapprove(args: UnapproveArgs, path: &Path) -> Outcome {
    #[cfg(feature = "hub")]
    if let Some(level) = args.scope.level() {
        let ids = args.ids.iter().map(Named::to_string).collect();
        let (reason, json) = (args.reason.as_deref(), args.json);
        let remote = Remote::needed()?;
        let wanted = Wanted { level, ids, revision: None, reason, json };
        return system::runtime()?.block_on(approvals::unapprove(&remote, wanted));
    }
    let config = local::config(path)?;
    let selection = local::offline(&config, Mode::Plan)?.selection;
    let keys: Result<Vec<Key>, Failure> =
        args.ids.iter().map(|id| one(&selection, id).map(|s| s.key.clone())).collect();
    let keys = keys?;
    let names: Vec<String> = keys.iter().map(Key::to_string).collect();
    let missing = local::change_operator(&config, &format!("unapprove {}", names.join(" ")), |operator| {
        let before = operator.clone();
        let missing = keys.iter().find(|key| !operator.unapprove(key)).cloned();
        if missing.is_some() {
            *operator = before;
        }
        missing
    })?;
    if let Some(missing) = missing {
        return Err(Failure::new(anyhow::anyhow!("{missing} was not approved on {}", config.server)));
    }
    for name in names {
        output::say(format_args!(
            "{} only: {name} is no longer approved; what is in force stays",
            config.server
        ));
    }
    local::carry_out(&config, args.json)
}

/// The one mitigation of that name.
fn one<'s>(selection: &'s Selection, id: &Named) -> Result<&'s Selected, Failure> {
    let named = |s: &&Selected| s.key.id == id.id && id.feed.as_ref().is_none_or(|feed| *feed == s.key.feed);
    let found: Vec<&Selected> = selection.mitigations.iter().filter(named).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::new(anyhow::anyhow!("no mitigation {id} is known here"))
            .hint("`stopgap status` lists them; `stopgap apply` asks the feeds. An action is approved with its mitigation")),
        [first, ..] => Err(Failure::usage(format_args!("{id} is in several feeds"))
            .hint(format_args!("name the feed too: {}", first.key))),
    }
}
