//! A log through the rules, line by line.

use std::collections::BTreeSet;
use std::io::{self, Read as Stream};

use stopgap_feed::Key;

use super::format::{Format, FormatError};
use super::judge::{Candidate, Finding, Judge, Lacks};
use super::line::{Line, Read, printable};
use super::lines::{Lines, Next};
use super::report::{
    JudgedMitigation, OddLine, ReplayReport, SAMPLES, SHOWN_LINES, Sample, looks_legitimate,
};

/// Lines of which the format is recognized.
const RECOGNIZED_BY: usize = 100;
/// Octets of them that are kept until it is.
const RECOGNIZED_BY_OCTETS: usize = 4 * 1024 * 1024;
/// Lines between two reports of progress.
const PROGRESS: u64 = 10_000;

/// How a log is read.
#[derive(Debug, Default)]
pub struct Reading {
    /// Its format; nothing: it is recognized.
    pub format: Option<Format>,
    /// Formats that this server's own configuration has, tried before the known ones.
    pub others: Vec<Format>,
}

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Reading it.
    #[error("cannot read the log")]
    Io(#[from] io::Error),
    /// Its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is compressed.
    #[error("the log is compressed with gzip; hand its text in: zcat LOG | stopgap plan --replay -")]
    Compressed,
}

/// Judges every request of a log. `progress` is told now and then how many octets were read.
///
/// # Errors
/// [`ReplayError`]. Lines that are not of the format are none; the report counts them.
pub fn replay(
    log: impl Stream,
    reading: Reading,
    candidates: &[Candidate],
    mut progress: impl FnMut(u64),
) -> Result<ReplayReport, ReplayError> {
    let mut lines = Lines::new(log);
    let mut first: Vec<(bool, Vec<u8>)> = Vec::new();
    let mut kept = 0;
    while first.len() < RECOGNIZED_BY && kept < RECOGNIZED_BY_OCTETS {
        let Some(next) = lines.next()? else { break };
        let (whole, line) = parts(&next);
        if first.is_empty() && line.starts_with(&[0x1f, 0x8b]) {
            return Err(ReplayError::Compressed);
        }
        kept += line.len();
        first.push((whole, line.to_vec()));
    }
    let format = match reading.format {
        Some(format) => Some(format),
        None => {
            let lines: Vec<Vec<u8>> =
                first.iter().filter(|(_, line)| !line.is_empty()).map(|(_, line)| line.clone()).collect();
            let empty = lines.is_empty();
            if empty { None } else { Some(Format::recognize(&lines, reading.others)?) }
        }
    };
    let mut run = Run::new(candidates, format);
    for (whole, line) in &first {
        run.line(*whole, line);
    }
    drop(first);
    while let Some(next) = lines.next()? {
        let (whole, line) = parts(&next);
        run.line(whole, line);
        if run.report.lines.is_multiple_of(PROGRESS) {
            progress(lines.read);
        }
    }
    progress(lines.read);
    Ok(run.finish())
}

fn parts<'a>(next: &Next<'a>) -> (bool, &'a [u8]) {
    match next {
        Next::Line(line) => (true, line),
        Next::TooLong(line) => (false, line),
    }
}

struct Run {
    judge: Judge,
    /// Nothing: the log is empty.
    format: Option<Format>,
    lacks: Lacks,
    /// What the log says of clients where it gives a name and no address.
    lacks_client: Lacks,
    /// For each action, the place of its mitigation.
    of: Vec<usize>,
    counted: Vec<Counted>,
    report: ReplayReport,
    notes: BTreeSet<&'static str>,
}

struct Counted {
    key: Key,
    refused: u64,
    look_legitimate: u64,
    undecided: u64,
    /// Of either kind.
    samples: [usize; 2],
}

impl Run {
    fn new(candidates: &[Candidate], format: Option<Format>) -> Run {
        let judge = Judge::new(candidates);
        let mut counted: Vec<Counted> = Vec::new();
        let of = judge
            .actions()
            .map(|(key, _)| match counted.iter().position(|one| one.key == *key) {
                Some(at) => at,
                None => {
                    let key = key.clone();
                    let new = Counted { key, refused: 0, look_legitimate: 0, undecided: 0, samples: [0; 2] };
                    counted.push(new);
                    counted.len() - 1
                }
            })
            .collect();
        let nothing = judge.lacks(&super::holds::Holds::address());
        let mut run = Run {
            judge,
            format: None,
            lacks: nothing,
            lacks_client: nothing,
            of,
            counted,
            report: ReplayReport::default(),
            notes: BTreeSet::new(),
        };
        if let Some(format) = format {
            run.take(format);
        } else {
            run.report.format = "none: the log is empty".into();
            run.say_not_judged(&super::holds::Holds::address());
        }
        run
    }

    /// From here on the log has this format.
    fn take(&mut self, mut format: Format) {
        let holds = format.holds();
        self.say_not_judged(&holds);
        self.lacks = self.judge.lacks(&holds);
        self.lacks_client = self.judge.lacks_too(self.lacks, "REMOTE_ADDR");
        self.report.format = format.name().to_owned();
        self.report.holds = holds.names().map(str::to_owned).collect();
        self.notes.extend(format.notes());
        format.narrow(self.judge.reads());
        self.format = Some(format);
    }

    fn say_not_judged(&mut self, holds: &super::holds::Holds) {
        let why = self.judge.not_judged(holds, "the log");
        let why = why.into_iter().map(|(key, _, why)| (self.name(key), why)).collect::<Vec<_>>();
        self.report.not_judged.extend(why);
    }

    /// `M1`; `example:M1` where several feeds have one.
    fn name(&self, key: &Key) -> String {
        let same = self.counted.iter().filter(|one| one.key.id == key.id).count();
        if same > 1 { key.to_string() } else { key.id.to_string() }
    }

    fn line(&mut self, whole: bool, line: &[u8]) {
        self.report.lines += 1;
        if line.is_empty() {
            return;
        }
        if !whole {
            self.odd(line, "it is longer than any request of these servers");
            return;
        }
        let Some(format) = self.format.take() else { return };
        if let Some(directive) = format.directive(line) {
            match directive {
                Some(other) => self.take(other),
                None => self.format = Some(format),
            }
            return;
        }
        match format.read(line) {
            Read::Request(request) => self.request(&request),
            Read::NoRequest => self.report.without_request += 1,
            Read::CutOff => self.report.cut_off += 1,
            Read::NotUnderstood(why) => self.odd(line, why),
        }
        self.format = Some(format);
    }

    fn odd(&mut self, line: &[u8], why: &str) {
        self.report.not_understood += 1;
        if self.report.not_understood_lines.len() < SHOWN_LINES {
            let odd = OddLine { line: self.report.lines, text: printable(line), why: why.to_owned() };
            self.report.not_understood_lines.push(odd);
        }
    }

    fn request(&mut self, line: &Line<'_>) {
        self.report.requests += 1;
        let lacks = if line.remote.is_some() { self.lacks } else { self.lacks_client };
        let Run { judge, of, counted, report, .. } = self;
        // Actions of one mitigation stand together; a request counts once for each.
        let (mut refused, mut by, mut open) = (false, None, None);
        let legitimate = looks_legitimate(line.status);
        let mut found: Vec<(usize, usize, String)> = Vec::new();
        judge.judge(&line.request(), lacks, |action, finding| {
            let Some(at) = of.get(action).copied() else { return };
            let Some(one) = counted.get_mut(at) else { return };
            match finding {
                Finding::Passes => {}
                Finding::Undecided if open != Some(at) && by != Some(at) => {
                    one.undecided += 1;
                    open = Some(at);
                }
                Finding::Refuses { rule, .. } if by != Some(at) => {
                    // What another action of it left open is decided.
                    if open == Some(at) {
                        one.undecided -= 1;
                    }
                    one.refused += 1;
                    one.look_legitimate += u64::from(legitimate);
                    (refused, by) = (true, Some(at));
                    let [others, legitimates] = &mut one.samples;
                    let kept = if legitimate { legitimates } else { others };
                    if *kept < SAMPLES {
                        *kept += 1;
                        found.push((at, action, rule));
                    }
                }
                Finding::Undecided | Finding::Refuses { .. } => {}
            }
        });
        report.refused += u64::from(refused);
        report.look_legitimate += u64::from(refused && legitimate);
        for (at, action, rule) in found {
            let action = self.judge.actions().nth(action).map(|(_, action)| action.clone());
            let (Some(one), Some(action)) = (self.counted.get(at), action) else { continue };
            self.report.samples.push(Sample {
                feed: one.key.feed.clone(),
                id: one.key.id.clone(),
                action,
                rule,
                line: self.report.lines,
                request: line.shown(),
                status: line.status,
                looks_legitimate: legitimate,
            });
        }
    }

    fn finish(mut self) -> ReplayReport {
        let undecided = self.counted.iter().map(|one| (self.name(&one.key), one.undecided));
        let listed = |(name, count): &(String, u64)| *count > 0 || self.report.not_judged.contains_key(name);
        self.report.undecided = undecided.filter(listed).collect();
        self.report.notes = self.notes.iter().map(|note| (*note).to_owned()).collect();
        self.report.mitigations = self
            .counted
            .into_iter()
            .map(|one| JudgedMitigation {
                feed: one.key.feed,
                id: one.key.id,
                refused: one.refused,
                look_legitimate: one.look_legitimate,
            })
            .collect();
        self.report
    }
}
