//! `stopgap audit`: who changed what, at the hub.

use jiff::Timestamp;
use serde_json::Value;

use super::remote::{Remote, at};
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Search the audit log, newest first
    Search(SearchArgs),
    /// Check that no entry was altered or left out
    Verify(VerifyArgs),
}

#[derive(clap::Args)]
pub struct SearchArgs {
    /// Only this action (settings.set), or all of its kind (settings)
    #[arg(long)]
    action: Option<String>,
    /// Only what this person or token did
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only what was done to this ("organization", "server Server1")
    #[arg(long)]
    object: Option<String>,
    /// From this time on (2026-11-22T03:00:00Z), or this long ago (7d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most this many entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct VerifyArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: Command) -> Outcome {
    let remote = Remote::needed()?;
    system::runtime()?.block_on(async {
        match command {
            Command::Search(args) => search(&remote, args).await,
            Command::Verify(args) => verify(&remote, args.json).await,
        }
    })
}

async fn search(remote: &Remote, args: SearchArgs) -> Outcome {
    let since = args.since.as_deref().map(|text| moment(text, Timestamp::now())).transpose()?;
    let query = [
        ("action", args.action),
        ("user", args.user),
        ("object", args.object),
        ("since", since.map(|since| since.to_string())),
        ("limit", Some(args.limit.to_string())),
    ];
    let query: Vec<(&str, String)> =
        query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut page = remote.ask(&["audit"], &query).await?;
    let entries = page.get_mut("items").map(Value::take).unwrap_or_default();
    if args.json {
        output::json(&entries)?;
        return Ok(Code::Done);
    }
    let rows = entries.as_array().into_iter().flatten().map(|entry| {
        let text = |name: &str| match at(entry, name) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        ["time", "user", "action", "object", "before", "after", "reason"].map(text).to_vec()
    });
    output::line(output::table(&["TIME", "USER", "ACTION", "OBJECT", "BEFORE", "AFTER", "REASON"], rows))?;
    Ok(Code::Done)
}

async fn verify(remote: &Remote, json: bool) -> Outcome {
    let verified = remote.get(&["audit", "verify"]).await?;
    let ok = at(&verified, "ok").as_bool().unwrap_or(false);
    if json {
        output::json(&verified)?;
    } else if ok {
        let head = at(&verified, "head").as_str().unwrap_or_default();
        output::line(format_args!(
            "{} entries, each follows the one before; head {head}",
            at(&verified, "entries")
        ))?;
    } else {
        output::line(format_args!("not whole: {}", at(&verified, "fault").as_str().unwrap_or_default()))?;
    }
    Ok(if ok { Code::Done } else { Code::Wanting })
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = system::lasting(text).ok().and_then(|ago| now.checked_sub(ago).ok());
    ago.ok_or_else(|| {
        Failure::usage(format_args!("--since {text:?}; expected 2026-11-22T03:00:00Z, 12h or 7d"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        assert_eq!(moment("2h", now).unwrap().to_string(), "2026-11-22T01:00:00Z");
        assert_eq!(moment("7d", now).unwrap().to_string(), "2026-11-15T03:00:00Z");
        assert_eq!(moment("2026-11-01T00:00:00Z", now).unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert!(moment("yesterday", now).is_err());
    }
}
