//! Which format a log has: as it is told, or the one that reads most of its first lines.

use super::haproxy::{self, Captures};
use super::holds::Holds;
use super::line::{Read, printable};
use super::template::Template;
use super::w3c::{FIELDS, Fields, USUAL};

/// A format of logs.
#[derive(Debug, Clone)]
pub struct Format {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Template(Template),
    Haproxy(Captures),
    W3c(Fields),
}

/// A format that nobody can read with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Neither a name nor a template.
    #[error(
        "`{text}` is no format: {why}; expected {}, or the text of nginx's log_format or Apache's LogFormat",
        Format::NAMES.join(", ")
    )]
    Unknown {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Captured headers are named, and the log is none of HAProxy's.
    #[error("the log is read as {format}, which has no captured headers: --captures is for `haproxy` alone")]
    Captures {
        /// What it is read as.
        format: String,
    },
    /// No known format reads the log.
    #[error("no known format reads this log; it begins with: {}{hint}", lines.join(" | "))]
    NotRecognized {
        /// Its first lines.
        lines: Vec<String>,
        /// What is known about such lines, with what to do; or nothing.
        hint: String,
    },
}

const COMMON: &str = r#"%h %l %u %t "%r" %>s %b"#;
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;

impl Format {
    /// What `--format` takes beside a template.
    pub const NAMES: [&str; 5] = ["combined", "common", "vhost_combined", "haproxy", "w3c"];

    /// By its name, or a template.
    ///
    /// # Errors
    /// [`FormatError::Unknown`].
    pub fn named(text: &str) -> Result<Format, FormatError> {
        let known = match text {
            "combined" => Format::template("combined (nginx and Apache)", COMBINED),
            "common" => Format::template("common (Apache)", COMMON),
            "vhost_combined" => {
                Format::template("combined with the site (Apache)", &format!("%v:%p {COMBINED}"))
            }
            "haproxy" => {
                Ok(Format { name: "HAProxy's httplog".into(), kind: Kind::Haproxy(Captures::default()) })
            }
            "w3c" => Format::w3c(USUAL.as_bytes()).ok_or_else(String::new),
            template if template.contains(['$', '%']) => Format::template("the given template", template),
            _ => Err("it is no name of one".into()),
        };
        known.map_err(|why| FormatError::Unknown { text: text.to_owned(), why })
    }

    /// A template in nginx's or Apache's words, under a name for people.
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence without a full stop.
    pub fn template(name: &str, text: &str) -> Result<Format, String> {
        Ok(Format { name: name.to_owned(), kind: Kind::Template(Template::parse(text)?) })
    }

    fn w3c(fields: &[u8]) -> Option<Format> {
        Some(Format { name: "W3C (IIS)".into(), kind: Kind::W3c(Fields::parse(fields)?) })
    }

    /// For people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, with the names of the request headers that HAProxy captures.
    ///
    /// # Errors
    /// [`FormatError::Captures`] in any other format.
    pub fn with_captures(mut self, named: Captures) -> Result<Format, FormatError> {
        match &mut self.kind {
            Kind::Haproxy(captures) => *captures = named,
            _ => return Err(FormatError::Captures { format: self.name }),
        }
        Ok(self)
    }

    /// What it holds of each request.
    pub fn holds(&self) -> Holds {
        match &self.kind {
            Kind::Template(template) => template.holds(),
            Kind::Haproxy(captures) => captures.holds(),
            Kind::W3c(fields) => fields.holds(),
        }
    }

    /// What whoever reads a verdict over such a log should know.
    pub fn notes(&self) -> Vec<&'static str> {
        let mut notes = Vec::new();
        let decoded = match &self.kind {
            Kind::Template(template) => template.is_decoded(),
            Kind::W3c(fields) => fields.is_decoded(),
            Kind::Haproxy(_) => false,
        };
        if decoded {
            notes.push(
                "the log holds paths as the server decoded them: a rule that reads them encoded may have seen \
                 another address than is judged here",
            );
        }
        if matches!(self.kind, Kind::W3c(_)) {
            notes.push("the log writes blanks as +: every + in a header is read as a blank");
        }
        match &self.kind {
            Kind::Haproxy(captures) if captures.is_empty() => notes.push(
                "captured headers have no names in the log and are not read; --captures Host,User-Agent names those of \
                 the request",
            ),
            Kind::Haproxy(_) => notes.push(
                "a captured header is as long as its `len` in HAProxy's configuration: what stood behind that is not \
                 judged",
            ),
            _ => {}
        }
        notes
    }

    /// Leaves out headers that none of these variables is.
    pub(super) fn narrow(&mut self, reads: &[String]) {
        match &mut self.kind {
            Kind::Template(template) => template.narrow(reads),
            Kind::W3c(fields) => fields.narrow(reads),
            Kind::Haproxy(captures) => captures.narrow(reads),
        }
    }

    pub(super) fn read<'a>(&'a self, line: &'a [u8]) -> Read<'a> {
        match &self.kind {
            Kind::Template(template) => template.read(line),
            Kind::Haproxy(captures) => haproxy::read(captures, line),
            Kind::W3c(fields) => fields.read(line),
        }
    }

    /// Whether this line is about the log and no part of it; with the format from there on where it says one.
    pub(super) fn directive(&self, line: &[u8]) -> Option<Option<Format>> {
        if !matches!(self.kind, Kind::W3c(_)) || !line.starts_with(b"#") {
            return None;
        }
        Some(line.strip_prefix(FIELDS).and_then(Format::w3c))
    }

    /// The formats that are tried, the one that says more before the one that says less.
    fn known() -> impl Iterator<Item = Format> {
        let site = |rest: &str| Template::parse(&format!("%v {rest}")).map(Template::strict);
        let with_site =
            [("combined with the site (Apache)", COMBINED), ("common with the site (Apache)", COMMON)];
        let with_site = with_site.map(|(name, text)| {
            site(text).map(|template| Format { name: name.to_owned(), kind: Kind::Template(template) }).ok()
        });
        let [combined_with_site, common_with_site] = with_site;
        [
            Format::named("vhost_combined").ok(),
            combined_with_site,
            Format::named("combined").ok(),
            Format::template("common with the site (Apache)", &format!("%v:%p {COMMON}")).ok(),
            common_with_site,
            Format::named("common").ok(),
            Format::named("haproxy").ok(),
        ]
        .into_iter()
        .flatten()
    }

    /// How well a line fits: where a client's address is expected, an address fits better than a name.
    fn weight(&self, line: &[u8]) -> usize {
        match self.read(line) {
            Read::Request(line) => 1 + usize::from(line.remote.is_some()),
            Read::CutOff => 1,
            Read::NoRequest | Read::NotUnderstood(_) => 0,
        }
    }

    /// The format that reads most of these lines, `others` (a server's own) before the known ones.
    ///
    /// # Errors
    /// [`FormatError::NotRecognized`]: none reads any of them.
    pub fn recognize(lines: &[Vec<u8>], others: Vec<Format>) -> Result<Format, FormatError> {
        if let Some(fields) = lines.iter().find_map(|line| line.strip_prefix(FIELDS)) {
            return Format::w3c(fields).ok_or_else(|| not_recognized(lines));
        }
        let usual = Format::w3c(USUAL.as_bytes());
        let mut best: Option<((usize, usize), Format)> = None;
        for format in others.into_iter().chain(Format::known()).chain(usual) {
            let value = lines.iter().map(|line| format.weight(line)).sum();
            // Of two that read the same lines the one that tells more of them.
            let worth: (usize, usize) = (value, format.holds().names().count());
            if value > 0 && best.as_ref().is_none_or(|(best, _)| worth > *best) {
                best = Some((worth, format));
            }
        }
        best.map(|(_, format)| format).ok_or_else(|| not_recognized(lines))
    }
}

fn not_recognized(lines: &[Vec<u8>]) -> FormatError {
    let haproxy = lines.iter().any(|line| haproxy::is_without_requests(line));
    let hint = if haproxy {
        "; HAProxy logs requests with `option httplog` alone"
    } else {
        "; `--format` takes the text of nginx's log_format or Apache's LogFormat"
    };
    FormatError::NotRecognized {
        lines: lines.iter().take(3).map(|line| printable(line)).collect(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognized(line: &str) -> String {
        match Format::recognize(&[line.as_bytes().to_vec()], Vec::new()) {
            Ok(format) => format.name,
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn each_format_is_recognized_by_one_line() {
        let rest = r#"- - [22/Nov/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 5"#;
        let agents = r#""-" "curl/8""#;
        for (line, name) in [
            (format!("192.0.2.1 {rest} {agents}"), "combined (nginx and Apache)"),
            (format!("::1 {rest} {agents} \"more\""), "combined (nginx and Apache)"),
            (format!("client.example.org {rest} {agents}"), "combined (nginx and Apache)"),
            (format!("192.0.2.1 {rest}"), "common (Apache)"),
            (format!("2001:db8::1 {rest}"), "common (Apache)"),
            (format!("www.example.org:443 192.0.2.1 {rest} {agents}"), "combined with the site (Apache)"),
            (format!("www.example.org 192.0.2.1 {rest} {agents}"), "combined with the site (Apache)"),
            (format!("www.example.org:80 192.0.2.1 {rest}"), "common with the site (Apache)"),
            (format!("www.example.org 192.0.2.1 {rest}"), "common with the site (Apache)"),
            ("#Fields: cs-method cs-uri-stem".to_owned(), "W3C (IIS)"),
            (
                "2026-11-22 10:00:00 192.0.2.1 GET /x - 80 - 192.0.2.7 curl/8 - 200 0 0 1".to_owned(),
                "W3C (IIS)",
            ),
            (
                "192.0.2.1:3 [22/Nov/2026:10:00:00.655] www app/s 1/0/3/6/9 200 5 - - ---- 1/1/1/1/0 0/0 \
                 \"GET /x HTTP/1.1\""
                    .to_owned(),
                "HAProxy's httplog",
            ),
        ] {
            assert_eq!(recognized(&line), name, "{line}");
        }
    }

    #[test]
    fn what_is_not_recognized_is_shown_with_what_to_do() {
        let error = Format::recognize(&[b"one\x1b".to_vec(), b"two".to_vec()], Vec::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("one\u{fffd} | two") && text.contains("--format"), "{text}");
        let plain = b"Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/HTTP)".to_vec();
        let text = Format::recognize(&[plain], Vec::new()).unwrap_err().to_string();
        assert!(text.contains("option httplog"), "{text}");
        for bad in ["combine", "$remote_addr"] {
            assert!(Format::named(bad).unwrap_err().to_string().contains("expected combined"), "{bad}");
        }
        for name in Format::NAMES {
            Format::named(name).unwrap();
        }
    }
}
