//! `stopgap feed remove NAME --keep|--revert`.

use std::path::Path;

use stopgap_agent::feeds::remove::{self, Fate, RemoveError};
use stopgap_feed::FeedName;

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::{ask, output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The feed
    name: FeedName,
    /// Leave in force what it brought
    #[arg(long, conflicts_with = "revert")]
    keep: bool,
    /// Take off what it brought
    #[arg(long)]
    revert: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    super::trust::named(&config, &args.name)?;
    let name = &args.name;
    let fate = match (args.keep, args.revert) {
        (true, _) => Fate::Keep,
        (_, true) => Fate::Revert,
        (false, false) if ask::is_possible() => {
            let question = format!("What {name} brought to this server: does it stay, or is it taken off?");
            match ask::one_of(&question, &["keep", "revert", "cancel"])? {
                Some("keep") => Fate::Keep,
                Some("revert") => Fate::Revert,
                _ => return Err(Failure::new(anyhow::anyhow!("nothing was removed"))),
            }
        }
        (false, false) => {
            return Err(Failure::usage("what it brought is yours to decide: expected --keep or --revert"));
        }
    };
    let removed = match system::runtime()?.block_on(remove::remove(&config, name, fate)) {
        Ok(removed) => removed,
        Err(RemoveError::Stays { stays, done }) => {
            local::tell_events(&config, &done);
            return Err(Failure::new(RemoveError::Stays { stays, done })
                .hint(format_args!("when it is gone, `stopgap feed remove {name} --revert` again")));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(done) = &removed.done {
        local::tell_events(&config, done);
    }
    if args.json {
        let brought: Vec<String> = removed.brought.iter().map(ToString::to_string).collect();
        let (kept, reverted) = match fate {
            Fate::Keep => (brought, Vec::new()),
            Fate::Revert => (Vec::new(), brought),
        };
        output::json(
            &serde_json::json!({ "removed": true, "feed": name, "kept": kept, "reverted": reverted }),
        )?;
    } else {
        for key in removed.brought.iter().filter(|_| fate == Fate::Keep) {
            output::say(format_args!("{key} stays in force; `stopgap revert {key}` takes it off"));
        }
    }
    output::say(format_args!("{} only: feed {name} removed, and its serial forgotten", config.server));
    Ok(Code::Done)
}
