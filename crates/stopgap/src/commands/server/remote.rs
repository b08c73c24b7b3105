//! Servers, asked of the hub.

use super::wanted::Change;
use super::{Command, GetArgs, ListArgs, RemoveArgs, SetArgs, list_form};
use crate::commands::remote::{Remote, at, texts};
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

pub fn run(command: Command) -> Outcome {
    let remote = Remote::needed()?;
    system::runtime()?.block_on(async {
        match command {
            Command::List(args) => list(&remote, args).await,
            Command::Get(args) => get(&remote, args).await,
            Command::Set(args) => set(&remote, *args).await,
            Command::Remove(args) => remove(&remote, args).await,
        }
    })
}

async fn list(remote: &Remote, args: ListArgs) -> Outcome {
    let query = [("group", args.group), ("label", args.label)];
    let query: Vec<(&str, String)> =
        query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let servers = remote.all(&["servers"], &query).await?;
    if args.json {
        output::json(&servers)?;
        return Ok(Code::Done);
    }
    let rows = servers.iter().map(|server| {
        let labels = at(server, "labels").as_object().into_iter().flatten();
        let labels: Vec<String> =
            labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        let text = |name: &str| at(server, name).as_str().unwrap_or_default().to_owned();
        vec![text("name"), text("last_contact"), text("agent_version"), text("system"), labels.join(" ")]
    });
    output::line(output::table(&["NAME", "LAST CONTACT", "AGENT", "SYSTEM", "LABELS"], rows))?;
    Ok(Code::Done)
}

async fn get(remote: &Remote, args: GetArgs) -> Outcome {
    let name = args.name.unwrap_or_default();
    let server = remote.get(&["servers", &name]).await?;
    let enabled = at(&server, "enabled").as_bool().unwrap_or(true);
    let (applied, blocked) = (texts(at(&server, "applied")), texts(at(&server, "blocked")));
    let name = at(&server, "name").as_str().unwrap_or(&name).to_owned();
    if !args.json {
        list_form(&name, enabled, &applied, &blocked)?;
        return Ok(Code::Done);
    }
    // As `--local --json` has it, and with what the hub knows beside it.
    let mut told = server.as_object().cloned().unwrap_or_default();
    for gone in ["enabled", "applied", "blocked"] {
        told.remove(gone);
    }
    told.insert("mitigations_enabled".into(), enabled.into());
    told.insert("mitigations_applied".into(), applied.into());
    told.insert("mitigations_blocked".into(), blocked.into());
    output::json(&told)?;
    Ok(Code::Done)
}

async fn set(remote: &Remote, args: SetArgs) -> Outcome {
    let change = Change::of(&args.wanted)?;
    if let Some(group) = &args.group {
        change.carry_out(remote, &["groups", group, "settings"]).await?;
        output::say(format_args!("group {group}: settings changed"));
        return Ok(Code::Done);
    }
    if let Some(name) = &args.name {
        change.carry_out(remote, &["servers", name, "settings"]).await?;
        output::say(format_args!("{name} only: settings changed"));
        return Ok(Code::Done);
    }
    let servers = remote.all(&["servers"], &[]).await?;
    let mut changed = 0;
    for name in servers.iter().filter_map(|server| at(server, "name").as_str()) {
        let done = change.carry_out(remote, &["servers", name, "settings"]).await;
        done.map_err(|failure: Failure| Failure {
            error: failure.error.context(format!("{changed} servers were changed, and {name} was not")),
            ..failure
        })?;
        changed += 1;
    }
    output::say(format_args!("all {changed} servers: settings changed"));
    Ok(Code::Done)
}

async fn remove(remote: &Remote, args: RemoveArgs) -> Outcome {
    remote.delete(&["servers", &args.name], args.reason.as_deref()).await?;
    output::say(format_args!("{}: forgotten; its agent goes on by itself", args.name));
    Ok(Code::Done)
}
