//! HAProxy's configuration as far as it matters to us: its sections, and the words of their lines.
//!
//! HAProxy prints no configuration, so its file is read, as `parse_line` does: blanks, quotes, backslashes, comments.
//! What is read decides nothing but where hooks, listeners and sockets are, and is bounded all the same. Lines within
//! `.if … .endif` are passed over: whether they hold is not known here.

use std::path::PathBuf;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Such as `frontend`.
    pub kind: String,
    /// What follows on its line.
    pub args: Vec<String>,
    /// The line of its beginning, from 1, and the offset of that line's end.
    pub line: usize,
    pub end: usize,
    /// Its lines that are not empty, as words.
    pub lines: Vec<Vec<String>>,
}

const KINDS: [&str; 20] = [
    "global",
    "defaults",
    "frontend",
    "listen",
    "backend",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "program",
    "cache",
    "http-errors",
    "ring",
    "fcgi-app",
    "log-forward",
    "crt-store",
    "traces",
    "log-profile",
    "acme",
    "namespace_list",
];

/// Reads the sections of a configuration.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut end, mut conditions) = (0, 0_usize);
    for (number, physical) in text.split_inclusive('\n').enumerate() {
        let line = physical.trim_end_matches('\n').trim_end_matches('\r');
        let line_end = end + line.len();
        end += physical.len();
        let words = words(line);
        let Some(first) = words.first() else { continue };
        match first.as_str() {
            ".if" => conditions += 1,
            ".endif" => conditions = conditions.saturating_sub(1),
            _ if conditions > 0 || first.starts_with('.') => (),
            kind if KINDS.contains(&kind) => sections.push(Section {
                kind: kind.to_owned(),
                args: words.into_iter().skip(1).collect(),
                line: number + 1,
                end: line_end,
                lines: Vec::new(),
            }),
            _ => {
                if let Some(section) = sections.last_mut() {
                    section.lines.push(words);
                }
            }
        }
    }
    sections
}

/// The words of one line.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                begun = true;
                match (chars.next(), quote) {
                    (Some('n'), _) => word.push('\n'),
                    (Some('r'), _) => word.push('\r'),
                    (Some('t'), _) => word.push('\t'),
                    (Some(c), None) => word.push(c),
                    (Some(c @ ('"' | '\\' | '$')), _) => word.push(c),
                    (Some(c), _) => word.extend(['\\', c]),
                    (None, _) => word.push('\\'),
                }
            }
            (c @ ('"' | '\''), None) => (begun, quote) = (true, Some(c)),
            (c, Some(open)) if c == open => quote = None,
            ('#', None) => break,
            (' ' | '\t', None) => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            (c, _) => {
                begun = true;
                word.push(c);
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

impl Section {
    pub(super) fn name(&self) -> &str {
        self.args.first().map(String::as_str).unwrap_or_default()
    }

    /// The words behind the last line that begins with `keyword`.
    pub(super) fn last(&self, keyword: &str) -> Option<&[String]> {
        let is = |line: &&Vec<String>| line.first().is_some_and(|first| first == keyword);
        self.lines.iter().rev().find(is).and_then(|line| line.get(1..))
    }

    /// The `defaults` that hold for it: those that it names, or the last before it.
    pub(super) fn defaults<'a>(&self, sections: &'a [Section]) -> Option<&'a Section> {
        let named = self.args.iter().skip_while(|arg| *arg != "from").nth(1);
        let mut before = sections.iter().rev().filter(|s| s.kind == "defaults" && s.line < self.line);
        match named {
            Some(name) => before.find(|defaults| defaults.name() == name),
            None => before.next(),
        }
    }
}

/// The stats sockets of the configuration that are local ones; those of level admin first.
pub(super) fn sockets(sections: &[Section]) -> Vec<PathBuf> {
    let lines = sections.iter().filter(|section| section.kind == "global").flat_map(|section| &section.lines);
    let mut found: Vec<(bool, PathBuf)> = Vec::new();
    for line in lines {
        let [stats, socket, path, rest @ ..] = line.as_slice() else { continue };
        let path = path.strip_prefix("unix@").unwrap_or(path);
        if stats == "stats" && socket == "socket" && path.starts_with('/') {
            let admin = rest.windows(2).any(|pair| matches!(pair, [a, b] if a == "level" && b == "admin"));
            found.push((!admin, path.into()));
        }
    }
    found.sort_by_key(|(less, _)| *less);
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_haproxy_s() {
        for (line, expected) in [
            ("  bind :80 # all", vec!["bind", ":80"]),
            ("a\\ b 'c \\ \"d' \"e\\\"f\\g\" h\\#i", vec!["a b", "c \\ \"d", "e\"f\\g", "h#i"]),
            ("a\"b c\"d ''", vec!["ab cd", ""]),
            ("\"x\\ny\"", vec!["x\ny"]),
            ("# no", vec![]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn sections_know_their_lines_their_place_and_their_defaults() {
        let text = "global\r\n  stats socket /a level operator\n stats socket unix@/b mode 600 level admin\n\
                    defaults x\n mode http\ndefaults\n mode tcp\n.if defined(A)\nfrontend no\n.endif\n\
                    frontend www from x # here\n  bind :80\n\n  bind :81\nlisten l\n";
        let sections = sections(text);
        let www = sections.iter().find(|s| s.kind == "frontend").unwrap();
        assert_eq!((www.name(), www.line, www.lines.len()), ("www", 11, 2));
        assert!(text[..www.end].ends_with("from x # here"));
        assert_eq!(www.last("bind").unwrap(), [":81"]);
        assert_eq!(www.defaults(&sections).unwrap().last("mode").unwrap(), ["http"]);
        let listen = sections.iter().find(|s| s.kind == "listen").unwrap();
        assert_eq!(listen.defaults(&sections).unwrap().last("mode").unwrap(), ["tcp"]);
        assert_eq!(sockets(&sections), [PathBuf::from("/b"), PathBuf::from("/a")]);
    }
}
