//! A log through the rules, line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as Stream};

use stopgap_feed::Key;

use super::format::{Format, FormatError};
use super::haproxy::Captures;
use super::holds::Holds;
use super::judge::{Candidate, Finding, Judge, Lacks, Unjudged};
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
    /// The names of the request headers that HAProxy captures; nothing: they are not read.
    pub captures: Option<Captures>,
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
    let format = match (format, reading.captures) {
        (Some(format), Some(captures)) => Some(format.with_captures(captures)?),
        (format, _) => format,
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
    /// By the mitigation's name.
    unjudged: BTreeMap<String, Unjudged>,
    notes: BTreeSet<&'static str>,
}

fn name(counted: &[Counted], key: &Key) -> String {
    let same = counted.iter().filter(|one| one.key.id == key.id).count();
    if same > 1 { key.to_string() } else { key.id.to_string() }
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
        let nothing = judge.lacks(&Holds::address());
        let mut run = Run {
            judge,
            format: None,
            lacks: nothing,
            lacks_client: nothing,
            of,
            counted,
            report: ReplayReport::default(),
            unjudged: BTreeMap::new(),
            notes: BTreeSet::new(),
        };
        if let Some(format) = format {
            run.take(format);
        } else {
            run.report.format = "none: the log is empty".into();
            run.say_not_judged(&Holds::address());
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

    /// The actions of one mitigation together, and what any part of the log lacks.
    fn say_not_judged(&mut self, holds: &Holds) {
        for (key, _, unjudged) in self.judge.not_judged(holds) {
            let known = self.unjudged.entry(name(&self.counted, key)).or_insert_with(|| unjudged.clone());
            if let (Unjudged::Reads(known), Unjudged::Reads(more)) = (known, unjudged) {
                known.extend(more);
                known.sort();
                known.dedup();
            }
        }
    }

    /// `M1`; `example:M1` where several feeds have one.
    fn name(&self, key: &Key) -> String {
        name(&self.counted, key)
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
        let unjudged = self.unjudged.iter();
        self.report.not_judged = unjudged.map(|(name, why)| (name.clone(), why.words("the log"))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, action: &str, input: &str) -> Candidate {
        let rules = format!(
            r#"<rewrite><rules><rule name="{id} rule"><match url=".*"/><conditions><add input="{input}" pattern="bad"/>
               </conditions><action type="AbortRequest"/></rule></rules></rewrite>"#
        );
        Candidate { key: id.parse().unwrap(), action: action.parse().unwrap(), rules: Ok(rules) }
    }

    fn candidates() -> Vec<Candidate> {
        vec![
            candidate("example:M1", "M1.1", "{REQUEST_URI}"),
            candidate("example:M3", "M3.1", "{HTTP_COOKIE}"),
            candidate("example:M3", "M3.2", "{HTTP_X}{QUERY_STRING}"),
            Candidate { rules: Err("stops a service".into()), ..candidate("example:M4", "M4.1", "") },
        ]
    }

    fn combined(request: &str, status: u16) -> String {
        format!("192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"{request}\" {status} 5 \"-\" \"curl\"\n")
    }

    fn report(log: &str) -> ReplayReport {
        replay(log.as_bytes(), Reading::default(), &candidates(), |_| {}).unwrap()
    }

    #[test]
    fn what_is_counted_adds_up() {
        let log = [
            combined("GET /good HTTP/1.1", 200),
            combined("GET /bad HTTP/1.1", 200),
            combined("GET /bad HTTP/1.1", 404),
            combined("GET /x?bad HTTP/1.1", 304),
            combined("\\x16\\x03\\x01", 400),
            "odd line\n\n".to_owned(),
        ]
        .concat();
        let report = report(&log);
        assert_eq!((report.requests, report.refused, report.look_legitimate), (4, 3, 2));
        assert_eq!((report.lines, report.without_request, report.not_understood), (7, 1, 1));
        assert_eq!(report.not_understood_lines[0].line, 6);
        let samples: Vec<_> =
            report.samples.iter().map(|s| (s.line, s.status.unwrap(), s.looks_legitimate)).collect();
        assert_eq!(samples, [(2, 200, true), (3, 404, false), (4, 304, true)]);
        assert_eq!(report.not_judged["M3"], "reads HTTP_COOKIE and HTTP_X, which the log does not hold");
        assert_eq!(report.not_judged["M4"], "stops a service");
        assert_eq!(report.undecided["M3"], 4, "each request once, however many actions it has");
        assert_eq!(report.mitigations[0].refused, 3);
    }

    #[test]
    fn samples_are_the_first_ten_of_either_kind() {
        let log: String =
            (0..200).map(|at| combined("GET /bad HTTP/1.1", if at % 2 == 0 { 200 } else { 403 })).collect();
        let report = report(&log);
        assert_eq!((report.refused, report.look_legitimate, report.samples.len()), (200, 100, 20));
        assert_eq!(report.samples.last().unwrap().line, 20);
    }

    #[test]
    fn fields_may_change_within_a_log() {
        let log = "#Software: IIS\r\n#Fields: cs-method cs-uri-stem sc-status\r\nGET /bad 200\r\n#Date: x\r\n\
            #Fields: cs-uri-stem cs(Cookie) sc-status cs(X)\r\n/good bad 200 -\r\n/good - 200 -\r\n/good x 200\r\n";
        let report = report(log);
        assert_eq!((report.requests, report.refused, report.not_understood), (3, 2, 1));
        assert_eq!((report.undecided["M3"], report.lines), (1, 8));
        assert!(report.not_judged.contains_key("M3"), "the first part of the log did not hold it");
    }

    #[test]
    fn an_empty_log_has_no_requests_and_a_compressed_one_says_what_to_do() {
        let empty = report("");
        assert_eq!((empty.requests, empty.lines), (0, 0));
        assert!(empty.not_judged.contains_key("M3"));
        let compressed = replay(&b"\x1f\x8b\x08\x00"[..], Reading::default(), &[], |_| {}).unwrap_err();
        assert!(compressed.to_string().contains("zcat"), "{compressed}");
        let other = replay(&b"hello\n"[..], Reading::default(), &[], |_| {}).unwrap_err();
        assert!(matches!(other, ReplayError::Format(_)), "{other}");
    }

    /// xorshift64: the same octets in every run.
    fn octets(seed: u64, count: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn any_octets_are_counted_in_any_format() {
        const LIKELY: &[u8] = b" \"[]\\x:/-%#+{}\n\tGET HTTP/1.1 200 bad";
        for seed in 1..60 {
            let mut noise = octets(seed, 20_000);
            if seed % 2 == 0 {
                noise.iter_mut().for_each(|b| *b = LIKELY[usize::from(*b) % LIKELY.len()]);
            }
            for name in Format::NAMES {
                let reading = Reading { format: Some(Format::named(name).unwrap()), ..Reading::default() };
                let report = replay(noise.as_slice(), reading, &candidates(), |_| {}).unwrap();
                let counted =
                    report.requests + report.without_request + report.cut_off + report.not_understood;
                assert!(report.refused <= report.requests && counted <= report.lines, "{name} {seed}");
            }
            let _ = replay(noise.as_slice(), Reading::default(), &candidates(), |_| {});
        }
    }

    #[test]
    fn a_request_of_a_megabyte_is_a_line_that_is_too_long() {
        let log = [
            combined("GET /bad HTTP/1.1", 200),
            combined(&format!("GET /{} HTTP/1.1", "bad".repeat(400_000)), 200),
            combined("GET /bad HTTP/1.1", 200),
        ]
        .concat();
        let report = report(&log);
        assert_eq!((report.requests, report.refused, report.not_understood), (2, 2, 1));
        assert!(report.not_understood_lines[0].text.len() < 2_000);
    }
}
