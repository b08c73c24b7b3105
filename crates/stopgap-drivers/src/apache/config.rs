//! Apache's configuration as far as it matters to us: sections, and what stands in them.
//!
//! Which files it is made of, which modules are loaded and where virtual hosts begin is what Apache itself prints
//! ([`super::dump`]); the files are read as `ap_cfg_getline` and `ap_getword_conf` do. What is read here decides
//! nothing but where hooks and listeners are, and is bounded all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::dump::{Dump, Included};

/// `Name args…`, or `<Name args…>` with what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// In lower case.
    pub name: String,
    pub args: Vec<String>,
    pub section: Option<Vec<Directive>>,
    /// Its place: which file of [`Config::files`], the line where it ends (from 1, as Apache counts), and the
    /// offset of that line's end.
    pub file: usize,
    pub line: usize,
    pub end: usize,
}

/// A text that is not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: {what}")]
pub(super) struct Misread {
    path: String,
    line: usize,
    what: &'static str,
}

/// Deeper nesting than any configuration has.
const DEPTH_MAX: usize = 64;

/// A configuration, read.
pub(super) struct Config {
    /// As often as each is included, in Apache's order; the first is the main one.
    pub files: Vec<File>,
    trees: Vec<Vec<Directive>>,
    modules: BTreeSet<String>,
    defines: BTreeMap<String, String>,
}

/// One file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub path: String,
    pub text: String,
    /// Which of the files includes it, and on which line.
    parent: Option<(usize, usize)>,
}

impl Config {
    /// Reads every file that Apache has named; `text` gives the text of a path.
    pub(super) fn read<E: From<Misread>>(
        dump: &Dump,
        text: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Config, E> {
        let file = |included: &Included| {
            Ok(File { path: included.path.clone(), text: text(&included.path)?, parent: included.parent })
        };
        let files = dump.files.iter().map(file).collect::<Result<Vec<File>, E>>()?;
        let trees = files.iter().enumerate().map(|(n, file)| parse(file, n));
        let trees = trees.collect::<Result<_, Misread>>()?;
        Ok(Config { files, trees, modules: dump.modules.clone(), defines: dump.defines.clone() })
    }

    /// What stands at the server level, outside of any section that is not a condition on modules or names, in
    /// order, each include followed by what it includes.
    pub(super) fn server_level(&self) -> Vec<&Directive> {
        let mut found = Vec::new();
        self.collect(self.trees.first().map(Vec::as_slice).unwrap_or_default(), &mut found);
        found
    }

    /// The same for the inside of a section.
    pub(super) fn inside<'a>(&'a self, section: &'a Directive) -> Vec<&'a Directive> {
        let mut found = Vec::new();
        self.collect(section.section.as_deref().unwrap_or_default(), &mut found);
        found
    }

    /// The sections of virtual hosts that begin at this place: several where the file is included several times.
    pub(super) fn virtual_hosts(&self, path: &str, line: usize) -> Vec<&Directive> {
        let mut found = Vec::new();
        for (file, tree) in self.files.iter().zip(&self.trees) {
            if file.path == path {
                found.extend(virtual_hosts(tree).into_iter().filter(|section| section.line == line));
            }
        }
        found
    }

    pub(super) fn has_module(&self, name: &str) -> bool {
        self.modules.contains(name)
    }

    /// A directive's argument, with what is `Define`d put in for `${name}`. What the environment gives is not known
    /// here, and stays as it is.
    pub(super) fn value(&self, arg: &str) -> String {
        let mut value = String::new();
        let mut rest = arg;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, behind)) = after.split_once('}') else { break };
            value.push_str(before);
            match self.defines.get(name) {
                Some(text) => value.push_str(text),
                None => value.extend(["${", name, "}"]),
            }
            rest = behind;
        }
        value + rest
    }

    fn collect<'a>(&'a self, directives: &'a [Directive], found: &mut Vec<&'a Directive>) {
        for directive in directives {
            match &directive.section {
                Some(inner) if self.holds(directive) => self.collect(inner, found),
                _ => found.push(directive),
            }
            if matches!(directive.name.as_str(), "include" | "includeoptional") {
                let here = Some((directive.file, directive.line));
                // A file comes behind the one that includes it: this ends.
                for (file, tree) in self.files.iter().zip(&self.trees).skip(directive.file + 1) {
                    if file.parent == here {
                        self.collect(tree, found);
                    }
                }
            }
        }
    }

    /// Whether it is a condition that holds. What is conditional on a version, a file or a directive is taken for a
    /// section of its own: a hook in there does not count.
    fn holds(&self, section: &Directive) -> bool {
        let Some(arg) = section.args.first() else { return false };
        let (not, name) = match arg.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, arg.as_str()),
        };
        let is = match section.name.as_str() {
            "ifmodule" => {
                let of_source = name.strip_prefix("mod_").unwrap_or(name).strip_suffix(".c");
                let named = of_source.map_or(name.to_owned(), |name| format!("{name}_module"));
                self.modules.contains(&named)
            }
            "ifdefine" => self.defines.contains_key(name),
            _ => return false,
        };
        is != not
    }
}

/// The sections of virtual hosts of a tree, in other sections, too.
fn virtual_hosts(tree: &[Directive]) -> Vec<&Directive> {
    let mut found = Vec::new();
    for directive in tree {
        match &directive.section {
            Some(_) if directive.name == "virtualhost" => found.push(directive),
            Some(inner) => found.extend(virtual_hosts(inner)),
            None => (),
        }
    }
    found
}

fn parse(file: &File, number: usize) -> Result<Vec<Directive>, Misread> {
    let misread = |line, what| Misread { path: file.path.clone(), line, what };
    // Innermost last: what stands in each open section, with the section itself.
    let mut open: Vec<(Option<Directive>, Vec<Directive>)> = vec![(None, Vec::new())];
    let (mut line, mut end, mut whole) = (0, 0, String::new());
    for physical in file.text.split_inclusive('\n') {
        line += 1;
        let text = physical.trim_end_matches('\n').trim_end_matches('\r');
        end += physical.len();
        let line_end = end - (physical.len() - text.len());
        if let Some(text) = text.strip_suffix('\\').filter(|_| physical.ends_with('\n')) {
            whole.push_str(text);
            continue;
        }
        whole.push_str(text);
        let logical = std::mem::take(&mut whole);
        let logical = logical.trim();
        if logical.is_empty() || logical.starts_with('#') {
            continue;
        }
        if let Some(closed) = logical.strip_prefix("</") {
            let (Some((Some(mut section), inner)), true) = (open.pop(), !open.is_empty()) else {
                return Err(misread(line, "the end of a section that is not open"));
            };
            if !closed.trim_end_matches('>').trim().eq_ignore_ascii_case(&section.name) {
                return Err(misread(line, "the end of another section"));
            }
            section.section = Some(inner);
            if let Some((_, siblings)) = open.last_mut() {
                siblings.push(section);
            }
            continue;
        }
        let section = logical.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let mut words = words(section.unwrap_or(logical)).into_iter();
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        let directive =
            Directive { name, args: words.collect(), section: None, file: number, line, end: line_end };
        if section.is_some() && open.len() == DEPTH_MAX {
            return Err(misread(line, "sections nested too deeply"));
        } else if section.is_some() {
            open.push((Some(directive), Vec::new()));
        } else if let Some((_, siblings)) = open.last_mut() {
            siblings.push(directive);
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some((_, directives)), true) => Ok(directives),
        _ => Err(misread(line, "the file ends within a section")),
    }
}

/// As `ap_getword_conf`: words end at white space, quotes keep it, and a backslash keeps a quote or a backslash.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let mut word = String::new();
        let quote = Some(first).filter(|c| matches!(c, '"' | '\''));
        let mut chars = rest.char_indices().skip(usize::from(quote.is_some())).peekable();
        let mut after = rest.len();
        while let Some((at, c)) = chars.next() {
            match (c, quote) {
                ('\\', Some(_))
                    if chars.peek().is_some_and(|(_, next)| Some(*next) == quote || *next == '\\') =>
                {
                    word.extend(chars.next().map(|(_, next)| next));
                }
                (c, Some(quote)) if c == quote => {
                    after = at + c.len_utf8();
                    break;
                }
                (c, None) if c.is_ascii_whitespace() => {
                    after = at;
                    break;
                }
                (c, _) => word.push(c),
            }
        }
        words.push(word);
        rest = rest.get(after..).unwrap_or_default().trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)], dump: &str) -> Result<Config, Misread> {
        let dump = Dump::read(dump);
        Config::read(&dump, |path| Ok(files.iter().find(|(name, _)| *name == path).unwrap().1.to_owned()))
    }

    fn one(text: &str) -> Result<Config, Misread> {
        read(&[("/a.conf", text)], "Included configuration files:\n  (*) /a.conf\n")
    }

    fn printed(directives: &[&Directive]) -> String {
        directives.iter().map(|d| format!("{}{:?}@{} ", d.name, d.args, d.line)).collect()
    }

    #[test]
    fn lines_words_and_sections_are_apache_s() {
        let text = "# a \\\ncomment <x>\n  Listen 80\nAlias /a\\\n  \"/b \\\"c\" 'd\\e'\r\n\
                    <virtualhost *:80 >\n ServerName a # b\n</VirtualHost>\nLast";
        let config = one(text).unwrap();
        let level = config.server_level();
        assert_eq!(
            printed(&level),
            "listen[\"80\"]@3 alias[\"/a\", \"/b \\\"c\", \"d\\\\e\"]@5 virtualhost[\"*:80\"]@6 last[]@9 "
        );
        assert_eq!(printed(&config.inside(level[2])), "servername[\"a\", \"#\", \"b\"]@7 ");
        assert_eq!(&text[..level[2].end].lines().last().unwrap(), &"<virtualhost *:80 >");
        assert_eq!(config.virtual_hosts("/a.conf", 6).len(), 1);
    }

    #[test]
    fn what_is_not_a_configuration_is_named_with_its_line() {
        for (text, line, what) in
            [("a\n</b>", 2, "not open"), ("<a>\n", 1, "ends within"), ("<a>\n</b>\n", 2, "another section")]
        {
            let error = one(text).map(|_| ()).unwrap_err();
            assert!(error.line == line && error.what.contains(what), "{text:?}: {error}");
        }
        assert!(one(&"<a>\n".repeat(1_000)).map(|_| ()).unwrap_err().what.contains("deeply"));
    }

    #[test]
    fn includes_and_conditions_are_followed_as_apache_does() {
        let main = "Include \\\n b.conf\n<IfModule ssl_module>\nListen 443\n</IfModule>\n<IfModule !mod_ssl.c>\n\
                    Listen 1\n</IfModule>\n<IfDefine X>\nListen ${X}\n</IfDefine>\n<IfVersion >= 2>\nListen 2\n\
                    </IfVersion>\n<Directory />\nListen 3\nInclude b.conf\n</Directory>\n";
        let dump = "Included configuration files:\n  (*) /a.conf\n    (2) /b.conf\n      (1) /c.conf\n    \
                    (17) /b.conf\n      (1) /c.conf\nDefine: X=7\nDefine: Y\nLoaded Modules:\n ssl_module (shared)\n";
        let files = [("/a.conf", main), ("/b.conf", "IncludeOptional c*\nb"), ("/c.conf", "c")];
        let config = read(&files, dump).unwrap();
        let level = config.server_level();
        assert_eq!(
            printed(&level),
            "include[\"b.conf\"]@2 includeoptional[\"c*\"]@1 c[]@1 b[]@2 listen[\"443\"]@4 \
             ifmodule[\"!mod_ssl.c\"]@6 listen[\"${X}\"]@10 \
             ifversion[\">=\", \"2\"]@12 directory[\"/\"]@15 "
        );
        assert_eq!(config.value("a${X}:${ENV}${"), "a7:${ENV}${");
    }
}
