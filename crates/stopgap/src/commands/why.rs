//! `stopgap why REQUEST`: which mitigation refuses this request here, and which would.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use stopgap_agent::cycle::{Done, Mode};
use stopgap_agent::home::Home;
use stopgap_agent::replay::{Candidate, Finding, Held, Question, in_force, planned};
use stopgap_drivers::Machine;
use stopgap_feed::{FeedName, Id};
use stopgap_rules::engine::Outcome as Refusal;

use super::{local, replay};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{json, line, say};

/// The largest text that is read: more is no request.
const MAX_BYTES: u64 = 1024 * 1024;

#[derive(clap::Args)]
pub struct Args {
    /// A URL, a request (GET /path HTTP/1.1), or a line of a log; - reads it from standard input
    #[arg(value_name = "REQUEST", required_unless_present = "file")]
    request: Option<String>,
    /// Read the request from this file
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    file: Option<PathBuf>,
    /// The format of a log's line, as `plan --replay` takes it; without it the format is recognized
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `why --json`.
#[derive(Debug, Serialize)]
struct Answer {
    /// Method and target.
    request: String,
    /// What the text was taken for.
    read_as: String,
    /// What is in force here and refuses it.
    refused_by: Vec<By>,
    /// What is not in force as it is here, would be after a cycle, and refuses it.
    would_refuse: Vec<By>,
    /// What may refuse it: what was given does not decide.
    undecided: Vec<Open>,
}

#[derive(Debug, Serialize)]
struct By {
    feed: FeedName,
    id: Id,
    action: Id,
    rule: String,
    /// AbortRequest, CustomResponse or Redirect.
    refusal: Refusal,
    /// Where it is in force.
    places: Vec<Place>,
}

#[derive(Debug, Serialize)]
struct Place {
    target: String,
    site: String,
}

#[derive(Debug, Serialize)]
struct Open {
    feed: FeedName,
    id: Id,
    action: Id,
    in_force: bool,
    why: String,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let text = text(&args)?;
    let format = replay::format(args.format.as_deref())?;
    let others = stopgap_agent::replay::formats_of(&config);
    let question = Question::read(&text, format, others).map_err(|error| {
        Failure::new(error).code(Code::Usage).hint("`stopgap why --help` shows what can be asked about")
    })?;
    let done = local::offline(&config, Mode::Plan)?;
    let ledger = Home::at(&config.data).ledger(&Machine)?;
    let held = in_force(&done, &ledger);
    let answer = Answer::of(&question, held, &done);
    if args.json {
        json(&answer)?;
    } else {
        answer.print()?;
    }
    Ok(if answer.refused_by.is_empty() { Code::Wanting } else { Code::Done })
}

fn text(args: &Args) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    match (&args.file, args.request.as_deref()) {
        (Some(path), _) => {
            let file =
                std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            file.take(MAX_BYTES + 1)
                .read_to_end(&mut text)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        (None, Some("-")) => {
            std::io::stdin()
                .lock()
                .take(MAX_BYTES + 1)
                .read_to_end(&mut text)
                .context("cannot read standard input")?;
        }
        (None, request) => text.extend_from_slice(request.unwrap_or_default().as_bytes()),
    }
    Ok(text)
}

impl Answer {
    fn of(question: &Question, held: Vec<Held>, done: &Done) -> Answer {
        let mut answer = Answer {
            request: question.shown(),
            read_as: question.read_as().to_owned(),
            refused_by: Vec::new(),
            would_refuse: Vec::new(),
            undecided: Vec::new(),
        };
        let here: Vec<Candidate> = held.iter().map(|held| held.candidate.clone()).collect();
        for ((finding, why), held) in question.judge(&here).into_iter().zip(&held) {
            let places = held.places.iter().cloned().map(|(target, site)| Place { target, site }).collect();
            match by(&held.candidate, finding, places) {
                Ok(by) => answer.refused_by.push(by),
                Err(false) => {}
                Err(true) => answer.undecided.extend(why.map(|why| open(&held.candidate, true, why))),
            }
        }
        let planned: Vec<Candidate> =
            planned(done, None).into_iter().filter(|candidate| !here.contains(candidate)).collect();
        for ((finding, why), candidate) in question.judge(&planned).into_iter().zip(&planned) {
            match by(candidate, finding, Vec::new()) {
                Ok(by) => answer.would_refuse.push(by),
                Err(false) => {}
                Err(true) => answer.undecided.extend(why.map(|why| open(candidate, false, why))),
            }
        }
        answer
    }

    fn print(&self) -> std::io::Result<()> {
        say(format_args!("asked about {} (read as {})", self.request, self.read_as));
        if self.refused_by.is_empty() {
            line("nothing of Stopgap's refuses it here")?;
        }
        for by in &self.refused_by {
            line(format_args!("refused by {}", by.words()))?;
            for place in &by.places {
                line(format_args!("  on {}, site {}", place.target, place.site))?;
            }
        }
        for by in &self.would_refuse {
            line(format_args!("after `stopgap apply` it is refused by {}", by.words()))?;
        }
        for open in &self.undecided {
            let force = if open.in_force { "in force" } else { "not in force here yet" };
            line(format_args!(
                "{}:{} ({}, {force}) may refuse it: it {}",
                open.feed, open.id, open.action, open.why
            ))?;
        }
        Ok(())
    }
}

impl By {
    fn words(&self) -> String {
        format!(
            "{}:{}, action {}, rule `{}` ({:?})",
            self.feed, self.id, self.action, self.rule, self.refusal
        )
    }
}

/// Who refuses; else whether that is open.
fn by(candidate: &Candidate, finding: Finding, places: Vec<Place>) -> Result<By, bool> {
    match finding {
        Finding::Passes => Err(false),
        Finding::Undecided => Err(true),
        Finding::Refuses { rule, outcome } => Ok(By {
            feed: candidate.key.feed.clone(),
            id: candidate.key.id.clone(),
            action: candidate.action.clone(),
            rule,
            refusal: outcome,
            places,
        }),
    }
}

fn open(candidate: &Candidate, in_force: bool, why: String) -> Open {
    Open {
        feed: candidate.key.feed.clone(),
        id: candidate.key.id.clone(),
        action: candidate.action.clone(),
        in_force,
        why,
    }
}
