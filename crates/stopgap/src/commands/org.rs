//! `stopgap org`: the organization's own settings, approvals and past, at the hub.

#[cfg_attr(
    not(feature = "agent"),
    allow(dead_code, reason = "`approve` is a command of builds with the agent")
)]
pub(super) mod approvals;
mod history;

use serde_json::{Map, Value, json};

use super::remote::{Remote, at, texts};
use super::server::Wanted;
use super::server::wanted::Change;
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

const SETTINGS: &[&str] = &["organization", "settings"];

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print the organization's settings
    Get(GetArgs),
    /// Change the organization's settings
    Set(Box<SetArgs>),
    /// List who asked for which approval, and what became of it, newest first
    Approvals(approvals::ListArgs),
    /// Refuse what somebody asked to have approved
    Reject(approvals::RejectArgs),
    /// Tell which servers were protected on a day, and at which times
    History(history::Args),
}

#[derive(clap::Args)]
pub struct GetArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct SetArgs {
    #[command(flatten)]
    wanted: Wanted,
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Get(args) => {
            let remote = Remote::needed()?;
            system::runtime()?.block_on(get(&remote, args.json))
        }
        Command::Set(args) => {
            let change = Change::of(&args.wanted)?;
            let remote = Remote::needed()?;
            system::runtime()?.block_on(change.carry_out(&remote, SETTINGS))?;
            output::say("organization: settings changed");
            Ok(Code::Done)
        }
        Command::Approvals(args) => {
            let remote = Remote::needed()?;
            system::runtime()?.block_on(approvals::list(&remote, args))
        }
        Command::Reject(args) => {
            let remote = Remote::needed()?;
            system::runtime()?.block_on(approvals::reject(&remote, args))
        }
        Command::History(args) => {
            let remote = Remote::needed()?;
            system::runtime()?.block_on(history::run(&remote, args))
        }
    }
}

async fn get(remote: &Remote, json: bool) -> Outcome {
    let settings = remote.get(SETTINGS).await?;
    let mut settings: Map<String, Value> = settings.as_object().cloned().unwrap_or_default();
    // Exchange's default, which counts where nobody said anything.
    settings.entry("mitigations_enabled").or_insert(json!(true));
    if json {
        output::json(&settings)?;
        return Ok(Code::Done);
    }
    let text = |name: &str| settings.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let truth = |name: &str, default: bool| {
        let value = settings.get(name).and_then(Value::as_bool).unwrap_or(default);
        if value { "True" } else { "False" }
    };
    let blocked = settings.get("mitigations_blocked").and_then(Value::as_array).into_iter().flatten();
    let blocked: Vec<String> = blocked
        .map(|block| match at(block, "feed").as_str() {
            Some(feed) => format!("{feed}:{}", at(block, "id").as_str().unwrap_or_default()),
            None => at(block, "id").as_str().unwrap_or_default().to_owned(),
        })
        .collect();
    let bypass = settings.get("internet_web_proxy_bypass").map(texts).unwrap_or_default();
    output::line(format_args!("MitigationsEnabled           : {}", truth("mitigations_enabled", true)))?;
    output::line(format_args!("MitigationsBlocked           : {{{}}}", blocked.join(", ")))?;
    output::line(format_args!("InternetWebProxy             : {}", text("internet_web_proxy")))?;
    output::line(format_args!("InternetWebProxyBypassList   : {{{}}}", bypass.join(", ")))?;
    output::line(format_args!("DataCollectionEnabled        : {}", truth("data_collection_enabled", false)))?;
    // What Exchange does not know is told where somebody said it.
    for (name, label) in [
        ("approval", "Approval"),
        ("frozen_until", "FrozenUntil"),
        ("windows", "Windows"),
        ("max_parallel", "MaxParallel"),
        ("max_stopped", "MaxStopped"),
    ] {
        match settings.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(_)) => {
                let list = settings.get(name).map(texts).unwrap_or_default();
                output::line(format_args!("{label:<29}: {{{}}}", list.join(", ")))?;
            }
            Some(Value::String(text)) => output::line(format_args!("{label:<29}: {text}"))?,
            Some(other) => output::line(format_args!("{label:<29}: {other}"))?,
        }
    }
    Ok(Code::Done)
}

/// The feed and id of a mitigation; where no feed was named, the one that has it.
async fn named(remote: &Remote, id: &str) -> Result<(String, String), Failure> {
    if let Some((feed, id)) = id.split_once(':') {
        return Ok((feed.to_owned(), id.to_owned()));
    }
    let known = remote.all(&["mitigations"], &[]).await?;
    let mut feeds = known.iter().filter(|one| at(one, "id") == id).map(|one| text(one, "feed"));
    match (feeds.next(), feeds.next()) {
        (Some(feed), None) => Ok((feed, id.to_owned())),
        (Some(feed), Some(_)) => Err(Failure::usage(format_args!("{id} is in several feeds"))
            .hint(format_args!("name the feed too: {feed}:{id}"))),
        (None, _) => Err(Failure::new(anyhow::anyhow!("no server of this hub knows a mitigation {id}"))
            .hint("`stopgap get-mitigations` lists them. An action is approved with its mitigation")),
    }
}

fn text(value: &Value, name: &str) -> String {
    at(value, name).as_str().unwrap_or_default().to_owned()
}
