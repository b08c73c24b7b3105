//! `stopgap iis check DIR`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use stopgap_iis::{CheckError, Entry, Environment, LevelKind, LevelReport, Report, Violation};

use super::disk::Disk;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// A folder that is the server's drive C:, or a copy of its configuration files laid out as there
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let disk = Disk::new(&args.dir);
    let mut report = stopgap_iis::check(&disk, &Environment::windows()).map_err(|error| {
        let hint = match &error {
            CheckError::Shared { .. } => {
                "check the folder that is named, laid out as the drive C: of a server"
            }
            _ => "DIR stands for the drive C:, so that DIR/Windows/System32/inetsrv/config is there",
        };
        let error = anyhow::Error::new(error).context(format!("cannot check {}", args.dir.display()));
        Failure::new(error).hint(hint)
    })?;
    for drive in disk.absent_drives() {
        report
            .notes
            .push(format!("files on drive {drive} are not part of {} and were not read", args.dir.display()));
    }
    match args.json {
        true => output::json(&Answer::of(&report))?,
        false => print(&report)?,
    }
    Ok(if report.violations.is_empty() { Code::Done } else { Code::Wanting })
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Answer<'r> {
    /// Rules of the whole server, which IIS runs before all others.
    global_rules: Vec<Rule<'r>>,
    applications: Vec<Level<'r>>,
    /// Virtual directories, folders and locations whose rules are not those of their application alone.
    levels: Vec<Level<'r>>,
    violations: Vec<Broken<'r>>,
    notes: &'r [String],
}

#[derive(Serialize)]
struct Level<'r> {
    path: &'r str,
    /// A violation stands here or above: nothing of this is in force.
    broken: bool,
    rules: Vec<Rule<'r>>,
    outbound: Vec<Rule<'r>>,
    pre_conditions: Vec<&'r str>,
    maps: Vec<&'r str>,
    providers: Vec<&'r str>,
    /// Merged in this order.
    files: &'r [String],
}

#[derive(Serialize)]
struct Rule<'r> {
    name: &'r str,
    enabled: bool,
    file: &'r str,
    line: u32,
    /// The level that it is written for.
    level: &'r str,
}

#[derive(Serialize)]
struct Broken<'r> {
    code: &'r str,
    application: &'r str,
    level: &'r str,
    file: &'r str,
    line: u32,
    column: u32,
    status: &'r str,
    key: Option<&'r str>,
    message: &'r str,
    explanation: &'r str,
}

impl Answer<'_> {
    fn of(report: &Report) -> Answer<'_> {
        let server = report.levels.first().map(|level| level.effective.global_rules.as_slice());
        let of = |level: &&LevelReport| level.kind == LevelKind::Application;
        let others = report.levels.iter().filter(|level| !of(level) && level.kind != LevelKind::Server);
        Answer {
            global_rules: rules(server.unwrap_or(&[]), |rule| rule.enabled),
            applications: report.levels.iter().filter(of).map(Level::of).collect(),
            levels: others.map(Level::of).collect(),
            violations: report.violations.iter().map(Broken::of).collect(),
            notes: &report.notes,
        }
    }
}

impl Level<'_> {
    fn of(level: &LevelReport) -> Level<'_> {
        let effective = &level.effective;
        Level {
            path: &level.path,
            broken: level.broken,
            rules: rules(&effective.rules, |rule| rule.enabled),
            outbound: rules(&effective.outbound, |rule| rule.enabled),
            pre_conditions: names(&effective.pre_conditions),
            maps: names(&effective.maps),
            providers: names(&effective.providers),
            files: &level.files,
        }
    }
}

fn names<T>(entries: &[Entry<T>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn rules<T>(entries: &[Entry<Arc<T>>], enabled: impl Fn(&T) -> bool) -> Vec<Rule<'_>> {
    let rule = |entry| {
        let Entry { name, value, origin }: &Entry<Arc<T>> = entry;
        Rule {
            name,
            enabled: enabled(value),
            file: &origin.file,
            line: origin.place.line,
            level: &origin.level,
        }
    };
    entries.iter().map(rule).collect()
}

impl Broken<'_> {
    fn of(violation: &Violation) -> Broken<'_> {
        Broken {
            code: violation.code.word(),
            application: &violation.application,
            level: &violation.level,
            file: &violation.file,
            line: violation.place.line,
            column: violation.place.column,
            status: violation.status,
            key: violation.key.as_deref(),
            message: &violation.message,
            explanation: violation.code.explanation(),
        }
    }
}

fn print(report: &Report) -> std::io::Result<()> {
    let answer = Answer::of(report);
    let mut without = 0;
    list("every site", &[("global rule", &answer.global_rules)])?;
    for level in answer.applications.iter().chain(&answer.levels) {
        without += usize::from(level.rules.is_empty() && level.outbound.is_empty());
        let state = if level.broken { " (broken, see below)" } else { "" };
        list(&format!("{}{state}", level.path), &[("rule", &level.rules), ("outbound", &level.outbound)])?;
    }
    for broken in &answer.violations {
        let whom = if broken.level.is_empty() { "the server" } else { broken.level };
        output::line(format_args!("{}: {} ({})", whom, broken.status, broken.code))?;
        output::line(format_args!(
            "    {}:{}:{}: {}",
            broken.file, broken.line, broken.column, broken.message
        ))?;
    }
    let codes: BTreeSet<_> = report.violations.iter().map(|violation| violation.code).collect();
    for code in codes {
        output::say(format_args!("{}: {}", code.word(), code.explanation()));
    }
    for note in &report.notes {
        output::say(format_args!("note: {note}"));
    }
    let levels = answer.applications.len() + answer.levels.len();
    output::say(format_args!(
        "{} applications, {levels} levels, {without} of them without rules, {} violations (modeled, not run on IIS)",
        answer.applications.len(),
        report.violations.len()
    ));
    Ok(())
}

fn list(path: &str, kinds: &[(&str, &[Rule])]) -> std::io::Result<()> {
    if kinds.iter().all(|(_, rules)| rules.is_empty()) {
        return Ok(());
    }
    output::line(path)?;
    for (kind, rules) in kinds {
        for rule in *rules {
            let state = if rule.enabled { "" } else { ", disabled" };
            output::line(format_args!("    {kind} `{}`{state}: {}:{}", rule.name, rule.file, rule.line))?;
        }
    }
    Ok(())
}
