//! `stopgap feed trust NAME`: which roots can sign, and what else must hold.

use std::path::Path;

use serde::Serialize;
use stopgap_agent::config::{Config, FeedConfig};
use stopgap_agent::feeds::view::TrustView;
use stopgap_agent::trust;
use stopgap_drivers::Machine;
use stopgap_feed::FeedName;

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed
    name: FeedName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let feed = named(&config, &args.name)?;
    let trust = trust::load_trust(&Machine, feed).map_err(anyhow::Error::msg)?;
    let view = TrustView::of(&trust);
    if args.json {
        output::json(&Shown { feed: &feed.name, file: &feed.trust, view })?;
    } else {
        output::line(format_args!("{:<17} {}", "feed", feed.name))?;
        output::line(format_args!("{:<17} {}", "trust file", feed.trust.display()))?;
        for (name, what) in view.lines() {
            output::line(format_args!("{name:<17} {what}"))?;
        }
    }
    Ok(Code::Done)
}

/// `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    feed: &'a FeedName,
    file: &'a Path,
    #[serde(flatten)]
    view: TrustView,
}

/// The configured feed of this name.
pub(super) fn named<'a>(config: &'a Config, name: &FeedName) -> Result<&'a FeedConfig, Failure> {
    config.feeds.iter().find(|feed| feed.name == *name).ok_or_else(|| unknown(config, name))
}

pub(super) fn unknown(config: &Config, name: &FeedName) -> Failure {
    let found: Vec<&str> = config.feeds.iter().map(|feed| feed.name.as_str()).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Failure::new(anyhow::anyhow!("no feed is named `{name}` in {}: found {found}", config.path.display()))
        .hint("`stopgap feed list` lists them")
}
