//! `stopgap agent check`: whether this server is ready. A missing hook is an error, an unreachable
//! feed a warning.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use stopgap_agent::config::Config;
use stopgap_agent::fetch::{Fetched, Fetcher};
use stopgap_agent::home::Home;
use stopgap_agent::trust::{self, Standing};
use stopgap_agent::{facts, targets};
use stopgap_core::observed::Hook;
use stopgap_drivers::Machine;

use super::super::local;
use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    what: String,
    detail: String,
}

/// This build was made after that day: an earlier clock is wrong.
const NO_EARLIER: &str = "2026-11-01T00:00:00Z";

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let mut findings = vec![finding(Level::Ok, "configuration", config.path.display())];
    findings.push(clock());
    findings.push(data(&config));
    findings.extend(feeds(&config)?);
    findings.extend(targets_of(&config)?);
    let wanting = findings.iter().any(|finding| finding.level == Level::Error);
    if args.json {
        output::json(&serde_json::json!({ "ready": !wanting, "checks": findings }))?;
    } else {
        let rows = findings.into_iter().map(|finding| {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "ERROR",
            };
            vec![level.to_owned(), finding.what, finding.detail]
        });
        output::line(output::table(&["", "CHECK", "DETAIL"], rows))?;
    }
    Ok(if wanting { Code::Wanting } else { Code::Done })
}

fn finding(level: Level, what: impl ToString, detail: impl ToString) -> Finding {
    Finding { level, what: what.to_string(), detail: detail.to_string() }
}

fn clock() -> Finding {
    let now = Timestamp::now();
    let wrong = NO_EARLIER.parse::<Timestamp>().is_ok_and(|earliest| now < earliest);
    let level = if wrong { Level::Error } else { Level::Ok };
    finding(
        level,
        "clock",
        format_args!("{now}{}", if wrong { ": set it; nothing can be judged fresh" } else { "" }),
    )
}

fn data(config: &Config) -> Finding {
    let tried = Home::open(&Machine, &config.data).and_then(|home| home.lock().map(drop));
    match tried {
        Ok(()) => finding(Level::Ok, "data folder", config.data.display()),
        Err(error) => finding(Level::Error, "data folder", error),
    }
}

fn feeds(config: &Config) -> anyhow::Result<Vec<Finding>> {
    if config.feeds.is_empty() {
        return Ok(vec![finding(
            Level::Error,
            "feeds",
            "no [[feed]] is configured: nothing can ever be applied",
        )]);
    }
    let fetcher = Fetcher::new(&config.network)?;
    let runtime = system::runtime()?;
    let mut findings = Vec::new();
    for feed in &config.feeds {
        let what = format!("feed {}", feed.name);
        let trust = match trust::load_trust(&Machine, feed) {
            Ok(trust) => trust,
            Err(message) => {
                findings.push(finding(Level::Error, format_args!("{what} trust"), message));
                continue;
            }
        };
        findings.push(finding(Level::Ok, format_args!("{what} trust"), feed.trust.display()));
        let standing = Standing::new(trust);
        let delivery = runtime.block_on(fetcher.fetch(feed, &standing, Timestamp::now()));
        findings.push(match delivery.fetched {
            Fetched::Failed(failure) => finding(Level::Warning, what, failure),
            _ => finding(Level::Ok, what, &feed.url),
        });
    }
    Ok(findings)
}

fn targets_of(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let facts = facts::facts(config);
    let mut findings = Vec::new();
    for target in targets::targets(config, &facts)? {
        let what = format!("target {}", target.driver.target());
        let observed = match target.driver.observe(&Machine) {
            Ok(observed) => observed,
            Err(error) => {
                findings.push(finding(Level::Error, what, format_args!("{:#}", anyhow::Error::new(error))));
                continue;
            }
        };
        for site in &observed.sites {
            let what = format!("{what}, site {}", site.name);
            findings.push(match &site.hook {
                Hook::Present => finding(Level::Ok, what, "reads our rules"),
                Hook::Missing(missing) => finding(Level::Error, what, missing),
            });
        }
        let warnings = observed.warnings.iter().chain(observed.lacks.values());
        findings.extend(warnings.map(|warning| finding(Level::Warning, &what, warning)));
    }
    if config.targets.is_empty() {
        findings.push(finding(
            Level::Error,
            "targets",
            "no [[target]] is configured: rules have nowhere to go",
        ));
    }
    Ok(findings)
}
