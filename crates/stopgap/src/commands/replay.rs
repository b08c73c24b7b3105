//! `stopgap plan --replay LOG`: what would have been refused here, printed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use stopgap_agent::cycle::Done;
use stopgap_agent::operator::Named;
use stopgap_agent::replay::{Captures, Format, Reading, ReplayReport, planned, replay};

use crate::exit::{Failure, Outcome};
use crate::{exit, output};

#[derive(clap::Args)]
pub struct ReplayArgs {
    /// Judge the requests of this log (- reads standard input) by what would be in force, changing nothing
    #[arg(long, value_name = "LOG")]
    pub replay: Option<PathBuf>,
    /// With --replay: only this mitigation, such as M1 or example:M1, whatever its verdict
    #[arg(long, value_name = "ID", requires = "replay")]
    id: Option<Named>,
    /// With --replay: combined, common, vhost_combined, haproxy, w3c, or the text of nginx's log_format or Apache's
    /// LogFormat; without it the format is recognized
    #[arg(long, value_name = "FORMAT", requires = "replay")]
    format: Option<String>,
    /// With --replay of a log of HAProxy's: the request headers that it captures, in the order of its configuration,
    /// such as Host,User-Agent
    #[arg(long, value_name = "NAMES", requires = "replay")]
    captures: Option<String>,
    /// With --replay: print the samples as CSV
    #[arg(long, requires = "replay", conflicts_with = "json")]
    csv: bool,
}

/// `--format` as a format.
pub fn format(text: Option<&str>) -> Result<Option<Format>, Failure> {
    text.map(|text| Format::named(text).map_err(Failure::usage)).transpose()
}

/// Replays `log` and prints what was found.
pub fn run(args: &ReplayArgs, log: &Path, others: Vec<Format>, done: &Done, json: bool) -> Outcome {
    let candidates = planned(done, args.id.as_ref());
    if let (Some(id), true) = (&args.id, candidates.is_empty()) {
        return Err(Failure::new(anyhow::anyhow!("no mitigation {id} with rules is known here"))
            .hint("`stopgap status` lists them; `stopgap apply` asks the feeds"));
    }
    let captures = args.captures.as_deref().map(Captures::parse).transpose();
    let captures = captures.map_err(|why| Failure::usage(format_args!("--captures: {why}")))?;
    let reading = Reading { format: format(args.format.as_deref())?, others, captures };
    let (stream, size) = open(log)?;
    let mut progress = Progress::new(size);
    let found = replay(stream, reading, &candidates, |read| progress.at(read));
    progress.end();
    let report = found.with_context(|| format!("cannot replay {}", log.display()))?;
    if json {
        output::json(&report)?;
    } else if args.csv {
        output::csv(anstream::stdout().lock(), &COLUMNS, report.samples.iter().map(row))?;
    } else {
        for line in summary(&report) {
            output::line(line)?;
        }
        if !report.samples.is_empty() {
            output::line(format_args!("\n{}", output::table(&COLUMNS, report.samples.iter().map(row))))?;
        }
    }
    if !json {
        said_aside(&report);
    }
    Ok(exit::Code::Done)
}

const COLUMNS: [&str; 7] = ["LINE", "ID", "ACTION", "RULE", "STATUS", "LOOKS LEGITIMATE", "REQUEST"];

fn row(sample: &stopgap_agent::replay::Sample) -> Vec<String> {
    vec![
        sample.line.to_string(),
        format!("{}:{}", sample.feed, sample.id),
        sample.action.to_string(),
        sample.rule.clone(),
        sample.status.map(|status| status.to_string()).unwrap_or_default(),
        if sample.looks_legitimate { "yes" } else { "no" }.to_owned(),
        sample.request.clone(),
    ]
}

/// What an operator has to know, in the order of its weight.
fn summary(report: &ReplayReport) -> Vec<String> {
    let mut lines = vec![format!(
        "would have refused {} of {} requests{}",
        grouped(report.refused),
        grouped(report.requests),
        match report.look_legitimate {
            0 => String::new(),
            some => format!(
                "; {} look{} legitimate: the server answered 2xx or 3xx",
                grouped(some),
                if some == 1 { "s" } else { "" }
            ),
        }
    )];
    if report.mitigations.is_empty() {
        lines.push("no mitigation with rules would be in force here: nothing was judged".to_owned());
    }
    for one in report.mitigations.iter().filter(|one| one.refused > 0) {
        lines.push(format!(
            "  {}:{} {}, of which {} look legitimate",
            one.feed,
            one.id,
            grouped(one.refused),
            grouped(one.look_legitimate)
        ));
    }
    for (name, why) in &report.not_judged {
        let mut line = format!("{name} not judged: {why}");
        if let Some(count) = report.undecided.get(name).filter(|_| why.starts_with("reads ")) {
            let _ = match count {
                0 => write!(line, "; whatever that was, it refuses none but those counted above"),
                count => write!(line, "; {} requests could be refused because of it", grouped(*count)),
            };
        }
        lines.push(line);
    }
    lines
}

/// About the log, and not about the mitigations.
fn said_aside(report: &ReplayReport) {
    output::say(format_args!("read as {}", report.format));
    for note in &report.notes {
        output::say(format_args!("note: {note}"));
    }
    for (count, what) in [
        (report.without_request, "lines hold no request that the server could read"),
        (report.cut_off, "requests were cut off by the server before it logged them, and are not judged"),
        (report.not_understood, "lines were not understood"),
    ] {
        if count > 0 {
            output::say(format_args!("{} {what}", grouped(count)));
        }
    }
    for odd in &report.not_understood_lines {
        output::say(format_args!("  line {}: {}: {}", odd.line, odd.why, odd.text));
    }
}

/// `1,204,331`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The log, and its size where it has one.
fn open(log: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if log == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(log).with_context(|| format!("cannot open {}", log.display()))?;
    let meta = file.metadata().with_context(|| format!("cannot read {}", log.display()))?;
    if meta.is_dir() {
        anyhow::bail!("{} is a folder; expected one log", log.display());
    }
    Ok((Box::new(file), meta.is_file().then_some(meta.len())))
}

/// How far it is, on a terminal alone: one line that is written over, by the octets read.
struct Progress {
    size: Option<u64>,
    shown: Option<u64>,
}

const BAR: u64 = 30;

impl Progress {
    fn new(size: Option<u64>) -> Progress {
        Progress { size: size.filter(|size| *size > 0 && io::stderr().is_terminal()), shown: None }
    }

    fn at(&mut self, read: u64) {
        let Some(size) = self.size else { return };
        let percent = read.min(size) * 100 / size;
        if self.shown != Some(percent) {
            self.shown = Some(percent);
            let done = usize::try_from(percent * BAR / 100).unwrap_or_default();
            let left = usize::try_from(BAR).unwrap_or_default().saturating_sub(done);
            output::over(format_args!("[{}{}] {percent:>3} %", "#".repeat(done), " ".repeat(left)));
        }
    }

    fn end(&mut self) {
        if self.shown.take().is_some() {
            output::over("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let texts = [0, 999, 1_000, 1_204_331].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,204,331"]);
    }

    #[test]
    fn what_was_not_judged_says_what_is_left_open() {
        let mut report = ReplayReport { requests: 1_204_331, ..ReplayReport::default() };
        report.not_judged.insert("M3".into(), "reads HTTP_COOKIE, which the log does not hold".into());
        report.undecided.insert("M3".into(), 12);
        let lines = summary(&report);
        assert_eq!(lines[0], "would have refused 0 of 1,204,331 requests");
        assert_eq!(
            lines[2],
            "M3 not judged: reads HTTP_COOKIE, which the log does not hold; 12 requests could be refused because of it"
        );
        report.undecided.insert("M3".into(), 0);
        assert!(summary(&report)[2].ends_with("it refuses none but those counted above"));
    }
}
